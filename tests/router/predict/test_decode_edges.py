"""Bodies exactly at their limits, the words of refusals, and rows of every kind."""

from __future__ import annotations

import math
import struct

import msgspec
import pytest

from divisions.entity_ids import MAX_ID_CHARACTERS
from divisions.errors import InvalidFeaturesError, MalformedRequestError, StoredFeaturesError
from divisions.schema import FLOAT32_MAX, Feature, FeatureKind, FeatureSchema, category_code, encode_value
from router.predict.decode import MAX_ROWS, EndpointDecoder, Row
from router.predict.jobs import Version
from router.predict.partial_replies import split_by_score
from router.predict.reply_templates import ReplyTemplate, millis

NUMBERS = FeatureSchema((Feature("a", FeatureKind.NUMERIC), Feature("b", FeatureKind.NUMERIC)))
MIXED = FeatureSchema(
    (
        Feature("plan", FeatureKind.CATEGORICAL, ("x", "y")),
        Feature("a", FeatureKind.NUMERIC),
        Feature("abroad", FeatureKind.BOOLEAN),
    )
)


def body(**members) -> bytes:
    return msgspec.json.encode(members)


@pytest.mark.parametrize(("length", "is_good"), [(1, True), (MAX_ID_CHARACTERS, True), (0, False), (257, False)])
def test_an_id_has_one_to_256_characters(length, is_good):
    assert MAX_ID_CHARACTERS == 256
    decoder = EndpointDecoder(NUMBERS)
    if is_good:
        assert decoder.decode(body(customer_id="k" * length), 1).key == "k" * length
        return
    with pytest.raises(InvalidFeaturesError):
        decoder.decode(body(customer_id="k" * length), 1)


@pytest.mark.parametrize(("rows", "is_good"), [(1, True), (3, True), (4, False), (0, False)])
def test_a_batch_has_one_row_up_to_the_most(rows, is_good):
    decoder = EndpointDecoder(NUMBERS)
    data = body(instances=[{"customer_id": "k"}] * rows)
    if is_good:
        assert len(decoder.decode(data, 3)) == rows
        return
    with pytest.raises(InvalidFeaturesError, match="4 rows are more than the 3" if rows else "`instances` is empty"):
        decoder.decode(data, 3)
    assert MAX_ROWS == 4_096


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({}, "a row names neither `customer_id` nor `features`"),
        ({"instances": [{}]}, "a row names neither"),
        ({"instances": [{"customer_id": "k"}], "customer_id": "k"}, "has either `instances` or `customer_id`"),
        ({"instances": [{"customer_id": "k"}], "features": {"a": 1, "b": 1}}, "has either `instances`"),
        ({"features": {"a": 1}}, "required field `b`"),
        ({"features": {"a": "x", "b": 1}}, "at `features.a`"),
    ],
)
def test_a_body_that_says_too_little_or_too_much_is_told_how(members, message):
    with pytest.raises(InvalidFeaturesError) as caught:
        EndpointDecoder(NUMBERS).decode(body(**members), 9)
    assert message in str(caught.value).replace("missing required", "required")


def test_a_number_beyond_any_float_is_malformed_and_a_large_one_does_not_fit():
    decoder = EndpointDecoder(NUMBERS)
    for exponent in (b"1e999", b"1E+400", b"-1e309"):
        with pytest.raises(MalformedRequestError, match="a number beyond any float"):
            decoder.decode(b'{"features":{"a":%s,"b":1}}' % exponent, 1)
    encode = decoder.encoder(NUMBERS)
    assert struct.unpack("<2f", encode((FLOAT32_MAX, -FLOAT32_MAX)))[0] == pytest.approx(FLOAT32_MAX)
    for values, culprit in (((1e39, 1.0), "a"), ((1.0, -1e39), "b"), ((None, 1e39), "b")):
        with pytest.raises(InvalidFeaturesError, match=f"feature '{culprit}' does not fit a 32-bit float"):
            encode(values)


def test_values_go_where_the_version_has_them():
    decoder = EndpointDecoder(MIXED)
    names = decoder.names
    reordered = FeatureSchema(tuple(reversed(MIXED.features)))
    values = {"plan": "y", "a": 2.5, "abroad": True}
    row = tuple(values[name] for name in names)
    assert struct.unpack("<3f", decoder.encoder(MIXED)(row)) == (2.0, 2.5, 1.0)
    assert struct.unpack("<3f", decoder.encoder(reordered)(row)) == (1.0, 2.5, 2.0)
    fewer = FeatureSchema(MIXED.features[1:])
    assert struct.unpack("<2f", decoder.encoder(fewer)(row)) == (2.5, 1.0)
    missing = struct.unpack("<3f", decoder.encoder(MIXED)((None, None, None)))
    assert all(map(math.isnan, missing))
    assert struct.unpack("<3f", decoder.encoder(MIXED)(("never seen", 0, False))) == (0.0, 0.0, 0.0)


def test_a_value_is_encoded_by_its_kind():
    plan, number, flag = MIXED.features
    assert [category_code(plan.categories, text) for text in ("x", "y", "z")] == [1.0, 2.0, 0.0]
    assert (encode_value(number, 7), encode_value(flag, True), encode_value(flag, False)) == (7.0, 1.0, 0.0)
    assert math.isnan(encode_value(number, math.nan))
    for size in (FLOAT32_MAX, -FLOAT32_MAX):
        assert encode_value(number, size) == size
        with pytest.raises(InvalidFeaturesError, match="does not fit"):
            encode_value(number, size * 1.01)
    assert (NUMBERS.entity, NUMBERS.label, NUMBERS.event_time) == ("customer_id", "churn", "event_time")


@pytest.mark.parametrize(("rows", "is_missing"), [
    (Row("k", None), True), (Row("k", (1.0, 2.0)), False),
    ([Row("k", (1.0, 2.0)), Row("l", None)], True), ([Row("k", (1.0, 2.0))], False),
])  # fmt: skip
def test_rows_of_an_id_alone_need_a_look_up(rows, is_missing):
    assert EndpointDecoder(NUMBERS).has_missing_features(rows) is is_missing


def test_a_damaged_stored_row_and_one_of_another_kind_are_told_apart():
    decoder = EndpointDecoder(NUMBERS)
    assert decoder.decode_stored(b'{"a":1,"b":2,"c":"x"}') == (1.0, 2.0)
    assert decoder.decode_stored(b'{"a":"1.5","b":null}') == (1.5, None)
    with pytest.raises(StoredFeaturesError, match="are damaged"):
        decoder.decode_stored(b"[1]")
    with pytest.raises(StoredFeaturesError, match="'a' for this entity is a str, and cannot be read as numeric"):
        decoder.decode_stored(b'{"a":"many","b":2}')


@pytest.mark.parametrize(
    ("us", "text"),
    [(0, b"0.000"), (1, b"0.001"), (999, b"0.999"), (1_000, b"1.000"), (9_999, b"9.999"), (10_000, b"10.000"),
     (10_001, b"10.001"), (1_234_567, b"1234.567")],
)  # fmt: skip
def test_times_are_milliseconds_with_three_digits(us, text):
    assert millis(us) == text


@pytest.mark.parametrize("entity_length", [0, 100, 800, 860, 900, 1_000, 2_000])
def test_a_reply_has_exactly_the_length_that_it_says(entity_length):
    form = ReplyTemplate(b"customer_id", b"churn", Version("m-v1", b"m", b"3.1"))
    entity = b'"' + b"x" * entity_length + b'"'
    for total_us, compute_us, queued in ((500, 200, b"0.300"), (100, 200, b"0.000")):
        reply = form.fill(b"r-1", total_us, compute_us, b"", entity, 0.123456789)
        head, _, document = reply.partition(b"\r\n\r\n")
        assert b"content-length: %d" % len(document) in head
        assert b"queue;dur=%s, compute;dur=0.200" % queued in head
        assert msgspec.json.decode(document)["churn_probability"] == 0.12345679


def test_a_score_that_is_no_number_fails_its_own_job_alone():
    from divisions import wire
    from tests.router.predict.test_jobs_edges import job

    jobs = [job(2), job(1), job(3)]
    scores = [0.1, 0.2, math.inf, 0.4, 0.5, 0.6]
    reply = wire.Reply(1, wire.Status.PARTIAL, 6, 0, 0, struct.pack("<6f", *scores))
    good, bad = split_by_score(jobs, reply)
    assert bad == [jobs[1]]
    assert [(each, part.rows) for each, part in good] == [(jobs[0], 2), (jobs[2], 3)]
    assert struct.unpack("<3f", good[1][1].payload) == pytest.approx((0.4, 0.5, 0.6))
    nothing = wire.Reply(1, wire.Status.PARTIAL, 6, 0, 0, struct.pack("<6f", *[math.nan] * 6))
    assert split_by_score(jobs, nothing) == ([], jobs)


def test_of_numbers_too_large_the_first_that_does_not_fit_is_named():
    decoder = EndpointDecoder(NUMBERS)
    row = decoder.decode(body(customer_id="k", features={"a": FLOAT32_MAX, "b": 1e39}), 1)
    with pytest.raises(InvalidFeaturesError, match="feature 'b' does not fit"):
        decoder.encoder(NUMBERS)(row.values)


@pytest.mark.parametrize("name", ["minutes", "monkey", "key"])
def test_a_value_of_another_type_is_told_with_its_place_whatever_the_feature_is_called(name):
    decoder = EndpointDecoder(FeatureSchema((Feature(name, FeatureKind.NUMERIC),)))
    with pytest.raises(
        InvalidFeaturesError, match=rf"Expected `float \| null`, got `str` - at `instances\[1\]\.features\.{name}`"
    ):
        decoder.decode(body(instances=[{"features": {name: 1}}, {"features": {name: "x"}}]), 5)
