from __future__ import annotations

import contextlib
import math

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from divisions.errors import InvalidFeaturesError, MalformedRequestError, RequestError
from divisions.schema import Feature, FeatureKind, FeatureSchema
from router.predict.decode import EndpointDecoder, Row

SCHEMA = FeatureSchema(
    (
        Feature("class", FeatureKind.CATEGORICAL, ("x", "y")),
        Feature("total day minutes", FeatureKind.NUMERIC),
        Feature("abroad", FeatureKind.BOOLEAN),
    )
)
rows = st.fixed_dictionaries(
    {
        "class": st.none() | st.sampled_from(["x", "y", "never seen"]),
        "total day minutes": st.none()
        | st.floats(width=32, allow_nan=False, allow_infinity=False)
        | st.integers(-9, 9),
        "abroad": st.none() | st.booleans(),
    }
)


def body(**members: object) -> bytes:
    return msgspec.json.encode(members)


@given(rows)
def test_a_request_is_packed_as_the_schema_encodes_it(row):
    decoder = EndpointDecoder(SCHEMA)
    decoded = decoder.decode(body(customer_id="c", features=row), 10)
    packed = np.frombuffer(decoder.encoder(SCHEMA)(decoded.values), "<f4")
    assert isinstance(decoded, Row)
    assert decoded.key == "c"
    np.testing.assert_array_equal(packed, np.array(SCHEMA.encode_row(row), np.float32))


@given(rows)
def test_what_the_online_store_keeps_is_packed_alike_and_may_hold_more(row):
    decoder = EndpointDecoder(SCHEMA)
    values = decoder.decode_stored(msgspec.json.encode({**row, "state": "KS"}))
    packed = np.frombuffer(decoder.encoder(SCHEMA)(values), "<f4")
    np.testing.assert_array_equal(packed, np.array(SCHEMA.encode_row(row), np.float32))


@given(st.binary(max_size=200))
def test_any_bytes_are_decoded_or_refused(data):
    with contextlib.suppress(RequestError):
        EndpointDecoder(SCHEMA).decode(data, 10)


GOOD = {"class": "x", "total day minutes": 1.5, "abroad": True}


@pytest.mark.parametrize(
    ("data", "kind", "text"),
    [
        (b"{", MalformedRequestError, "not well-formed JSON"),
        (b'{"customer_id":"\xff"}', MalformedRequestError, "not well-formed JSON"),
        (b'{"features":{"class":null,"total day minutes":NaN,"abroad":null}}', MalformedRequestError, "JSON"),
        (b'{"features":{"class":null,"total day minutes":1e999,"abroad":null}}', MalformedRequestError, "any float"),
        (b'{"features":{"class":null,"total day minutes":' + b"9" * 5000 + b"}}", InvalidFeaturesError, "range"),
        (
            body(features={**GOOD, "total day minutes": 3.5e38}),
            InvalidFeaturesError,
            "'total day minutes' does not fit",
        ),
        (body(features={**GOOD, "total day minutes": "1"}), InvalidFeaturesError, "Expected `float | null`"),
        (body(features={**GOOD, "abroad": 1}), InvalidFeaturesError, "Expected `bool | null`"),
        (body(features={"class": "x", "abroad": True}), InvalidFeaturesError, "`total day minutes`"),
        (body(features={**GOOD, "<script>": 1}), InvalidFeaturesError, "does not know"),
        (body(customer_id="c" * 257), InvalidFeaturesError, "256"),
        (body(), InvalidFeaturesError, "neither"),
        (body(instances=[]), InvalidFeaturesError, "empty"),
        (body(instances=[{"customer_id": "c"}] * 11), InvalidFeaturesError, "11 rows"),
        (body(customer_id="c", instances=[{"customer_id": "c"}]), InvalidFeaturesError, "not both"),
        (b'{"features":' + b"[" * 100_000, MalformedRequestError, "nested"),
        (b'{"x":' + b'{"a":' * 50_000 + b"1" + b"}" * 50_001, MalformedRequestError, "nested"),
        (b'{"features":[],', MalformedRequestError, "not well-formed JSON"),
    ],
)
def test_bad_bodies_are_refused_with_a_reason(data, kind, text):
    def decode_and_pack() -> None:
        decoder = EndpointDecoder(SCHEMA)
        rows = decoder.decode(data, 10)
        for row in [rows] if isinstance(rows, Row) else rows:
            decoder.encoder(SCHEMA)(row.values)

    with pytest.raises(kind) as caught:
        decode_and_pack()
    assert text in str(caught.value)
    assert "script" not in str(caught.value)


@pytest.mark.parametrize(
    ("written", "key"),
    [
        (b"7", "7"),
        (b"7.0", "7"),
        (b"7e0", "7"),
        (b'"7"', "7"),
        (b'"7.0"', "7.0"),
        (b'"007"', "007"),
        (b"0", "0"),
        (b"-12", "-12"),
        (b"15634602", "15634602"),
        (b"9007199254740993", "9007199254740993"),
        (b"123456789012345678901234567890", "123456789012345678901234567890"),
    ],
)
def test_a_whole_number_is_the_same_customer_as_its_text(written, key):
    decoder = EndpointDecoder(SCHEMA)
    one = decoder.decode(b'{"customer_id":%s}' % written, 10)
    assert (one.key, one.values) == (key, None)
    (row,) = decoder.decode(
        b'{"instances":[{"customer_id":%s,"features":%s}]}' % (written, msgspec.json.encode(GOOD)), 10
    )
    assert row.key == key
    assert row.values is not None


@pytest.mark.parametrize("written", [b"true", b"7.5", b"1e-3", b"9007199254740993.0", b"1e300", b"[7]", b"9" * 257])
def test_an_id_that_is_no_whole_number_is_refused_by_its_name(written):
    for data in (b'{"customer_id":%s}', b'{"instances":[{"customer_id":%s}]}'):
        with pytest.raises(InvalidFeaturesError, match="customer_id"):
            EndpointDecoder(SCHEMA).decode(data % written, 10)


def test_a_canary_may_bring_features_and_drop_others():
    canary = FeatureSchema((Feature("abroad", FeatureKind.BOOLEAN), Feature("age", FeatureKind.NUMERIC)))
    decoder = EndpointDecoder(SCHEMA, canary)
    old = decoder.decode(body(features=GOOD), 10)
    new = decoder.decode(body(features={**GOOD, "age": 30}), 10)
    pack = decoder.encoder(canary)
    assert np.frombuffer(pack(new.values), "<f4").tolist() == [1.0, 30.0]
    first, second = np.frombuffer(pack(old.values), "<f4").tolist()
    assert first == 1.0
    assert math.isnan(second)


def test_a_canary_that_changes_a_features_kind_is_refused():
    canary = FeatureSchema((Feature("abroad", FeatureKind.NUMERIC),))
    with pytest.raises(InvalidFeaturesError, match="'abroad' is numeric in this version"):
        EndpointDecoder(SCHEMA, canary).encoder(canary)


def test_a_stored_row_of_other_kinds_is_read_by_the_schema():
    decoder = EndpointDecoder(SCHEMA)
    stored = {"class": 408, "total day minutes": "12.5", "abroad": "No", "more": [1]}
    assert decoder.decode_stored(msgspec.json.encode(stored)) == ("408", 12.5, False)
    assert decoder.decode_stored(msgspec.json.encode({"class": True})) == ("true", None, None)


@pytest.mark.parametrize("stored", [b'{"total day minutes": "<script>"}', b'{"abroad": 7}', b'{"class": {"a": 1}}'])
def test_a_stored_value_that_fits_no_reading_names_the_feature_and_the_key(stored):
    (name,) = msgspec.json.decode(stored)
    kind = {one.name: one.kind for one in SCHEMA.features}[name]
    with pytest.raises(InvalidFeaturesError, match=f"'{name}'.*cannot be read as {kind}.*features.{kind}") as caught:
        EndpointDecoder(SCHEMA).decode_stored(stored)
    assert "script" not in str(caught.value)


@pytest.mark.parametrize("stored", [b"", b"[1]", b"{", b'{"abroad": \xff}'])
def test_a_damaged_stored_row_says_so(stored):
    with pytest.raises(InvalidFeaturesError, match="damaged"):
        EndpointDecoder(SCHEMA).decode_stored(stored)


@pytest.mark.parametrize("where", ["alone", "instances"])
@pytest.mark.parametrize(
    ("field", "entity", "text"),
    [
        ("customer_id", "CustomerId", "`customer_id`, which must be `CustomerId`"),
        ("CustomerID", "customer_id", "`CustomerID`, which must be `customer_id`"),
        ("customer_id", "user", "field `customer_id` that the endpoint does not know"),
        ("Feature s", "user", "`Feature s`, which must be `features`"),
        ("<script>", "user", "the body has a field that the endpoint does not know"),
        ("password_hunter2", "user", "the body has a field that the endpoint does not know"),
    ],
)
def test_a_wrong_id_field_is_told_with_the_right_one(field, entity, text, where):
    schema = FeatureSchema(SCHEMA.features, entity=entity)
    row = {field: "1"}
    data = msgspec.json.encode(row if where == "alone" else {"instances": [row]})
    with pytest.raises(InvalidFeaturesError) as caught:
        EndpointDecoder(schema).decode(data, 10)
    assert text in str(caught.value)
    assert f"`{entity}`" in str(caught.value)
    assert "script" not in str(caught.value)
    assert "hunter2" not in str(caught.value)
