"""Bodies as AWS's own examples send them, as rows; and what is refused."""

from __future__ import annotations

import csv
import io

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from divisions.errors import InvalidFeaturesError, MalformedRequestError
from divisions.schema import Feature, FeatureKind, FeatureSchema
from router.predict.decode import EndpointDecoder
from router.sagemaker import bodies
from router.sagemaker.bodies import Form, accepted_form, form_of, read_csv, read_json, read_lines, render_scores

SCHEMA = FeatureSchema(
    (
        Feature("minutes", FeatureKind.NUMERIC),
        Feature("plan", FeatureKind.CATEGORICAL, ("basic", "gold")),
        Feature("abroad", FeatureKind.BOOLEAN),
    )
)
LARGER = FeatureSchema((*SCHEMA.features, Feature("calls", FeatureKind.NUMERIC)))
DECODER = EndpointDecoder(SCHEMA)
WITH_CANARY = EndpointDecoder(SCHEMA, LARGER)
ROW = (1.5, "gold", True)


def values(rows):
    return [row.values for row in (rows if isinstance(rows, list) else [rows])]


def test_csv_is_read_in_the_endpoints_order_with_missing_values():
    body = b"1.5,gold,true\r\n,,\n2,basic,0\n3,,nan\n"
    assert values(read_csv(body, DECODER, 3)) == [ROW, (None, None, None), (2.0, "basic", False), (3.0, None, None)]


def test_a_first_line_of_names_gives_the_order():
    body = b"\xef\xbb\xbfabroad,minutes,plan\ntrue,1.5,gold\n"
    assert values(read_csv(body, DECODER, 3)) == [ROW]


def test_features_that_only_a_canary_has_may_be_named_or_left_out():
    assert values(read_csv(b"1.5,gold,true\n", WITH_CANARY, 3)) == [(*ROW, None)]
    assert values(read_csv(b"calls,minutes,plan,abroad\n7,1.5,gold,true\n", WITH_CANARY, 3)) == [(*ROW, 7.0)]
    assert values(read_json(b'[[1.5,"gold",true]]', WITH_CANARY, 3)[0]) == [(*ROW, None)]


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"", "no rows"),
        (b"minutes,plan,abroad\n", "no rows"),
        (b"1,gold\n", "row 1 has 2 values, and the endpoint takes 3"),
        (b"1,gold,true\n1,gold,true,5\n", "row 2 has 4 values"),
        (b"x,gold,true\n", "row 1: the value of 'minutes' is no numeric"),
        (b"1,gold,maybe\n", "row 1: the value of 'abroad' is no boolean"),
        (b"inf,gold,true\n", "'minutes' is no numeric"),
        (b"minutes,plan\n1,gold\n", "lacks abroad"),
        (b"minutes,plan,abroad,minutes\n1,gold,true,1\n", "twice"),
        (b"customer_id,minutes,plan,abroad\n5,1,gold,true\n", "`customer_id`, which is no feature"),
        (b"\n".join([b"1,gold,true"] * 5), "5 rows are more than the 4"),
    ],
)
def test_csv_that_does_not_fit_is_refused_with_the_row(body, says, monkeypatch):
    monkeypatch.setattr(bodies, "MAX_ROWS", 4)
    with pytest.raises(InvalidFeaturesError, match=says):
        read_csv(body, DECODER, 3)


@pytest.mark.parametrize("body", [b'"1,gold,true\n', b'"1"2,gold,true\n', b"\xff,gold,true\n"])
def test_what_is_no_csv_is_malformed(body):
    with pytest.raises(MalformedRequestError, match="not well-formed CSV"):
        read_csv(body, DECODER, 3)


@given(
    st.lists(
        st.tuples(
            st.none() | st.floats(allow_nan=False, allow_infinity=False, width=32),
            st.none() | st.text(st.characters(codec="utf-8", exclude_characters="\0\r"), min_size=1, max_size=8),
            st.none() | st.booleans(),
        ),
        min_size=1,
        max_size=6,
    ).filter(lambda rows: not {"minutes", "plan", "abroad", "customer_id"}.issuperset(map(str, rows[0])))
)
def test_csv_means_the_same_as_json(rows):
    text = io.StringIO(newline="")
    csv.writer(text).writerows([["" if each is None else each for each in row] for row in rows])
    assert values(read_csv(text.getvalue().encode(), DECODER, 3)) == rows
    assert values(read_json(msgspec.json.encode({"instances": rows}), DECODER, 3)[0]) == rows


@pytest.mark.parametrize(
    "document",
    [
        {"instances": [[1.5, "gold", True]]},
        {"instances": [{"features": [1.5, "gold", True]}]},
        {"instances": [{"data": {"features": {"values": [1.5, "gold", True]}}}]},
        {"features": [1.5, "gold", True]},
        [[1.5, "gold", True]],
        [1.5, "gold", True],
        [{"features": [1.5, "gold", True]}],
    ],
)
def test_the_bodies_of_awss_own_algorithms_are_taken(document):
    rows, is_plain = read_json(msgspec.json.encode(document), DECODER, 3)
    assert is_plain
    assert values(rows) == [ROW]


def test_a_predict_request_stays_one():
    named = {"minutes": 1.5, "plan": "gold", "abroad": True}
    rows, is_plain = read_json(msgspec.json.encode({"customer_id": "c", "features": named}), DECODER, 3)
    assert (rows.key, rows.values, is_plain) == ("c", ROW, False)


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b'{"instances": []}', "empty"),
        (b'{"rows": [[1]]}', "does not know"),
        (b'{"instances": [[1.5, "gold"]]}', "row 1 has 2 values"),
        (b'{"instances": [["x", "gold", true]]}', "row 1: the value of 'minutes' is no numeric"),
        (b'{"instances": [[1, 2, true]]}', "'plan' is no categorical"),
        (b'{"instances": [[true, "gold", true]]}', "'minutes' is no numeric"),
        (b'{"instances": [[1, "gold", 1]]}', "'abroad' is no boolean"),
        (b'{"instances": [[%s, "gold", true]]}' % (b"9" * 400), "no numeric"),
        (b'{"instances": [[1.5, "gold", true], 3]}', "instances"),
        (b"3", "object"),
    ],
)
def test_json_that_does_not_fit_is_refused(body, says):
    with pytest.raises(InvalidFeaturesError, match=says):
        read_json(body, DECODER, 3)


@pytest.mark.parametrize("body", [b"", b"{", b"[1e999]", b"[" * 100_000, b'["\xff"]'])
def test_what_is_no_json_is_malformed(body):
    with pytest.raises(MalformedRequestError):
        read_json(body, DECODER, 3)


def test_json_lines_mix_both_forms_and_name_the_line_that_is_wrong():
    body = (
        b'[1.5,"gold",true]\n\n{"features":{"minutes":2,"plan":null,"abroad":false}}\r\n{"features":[1.5,"gold",true]}'
    )
    assert values(read_lines(body, DECODER, 3)) == [ROW, (2.0, None, False), ROW]
    for wrong, kind in ((b"{", MalformedRequestError), (b"[1]", InvalidFeaturesError)):
        with pytest.raises(kind, match="line 2: "):
            read_lines(b'[1.5,"gold",true]\n' + wrong, DECODER, 3)
    with pytest.raises(InvalidFeaturesError, match="line 1 has 2 rows"):
        read_lines(b'[[1.5,"gold",true],[1.5,"gold",true]]', DECODER, 3)


def test_media_types():
    assert form_of(b"Text/CSV; charset=utf-8") is Form.CSV
    assert form_of(b"application/jsonlines") is form_of(b"application/x-jsonlines") is Form.LINES
    assert form_of(b"application/x-npy") is None
    assert accepted_form(b"image/png, text/csv;q=0.5, application/json") is Form.CSV
    assert accepted_form(b"*/*") is accepted_form(b"") is None


def test_scores_in_each_form():
    assert render_scores(Form.CSV, [0.125, 1e-9]) == b"0.125\n1e-09\n"
    assert render_scores(Form.LINES, [0.125, 1e-9]) == b'{"score":0.125}\n{"score":1e-09}\n'
    assert msgspec.json.decode(render_scores(Form.JSON, [0.125, 1.0])) == {
        "predictions": [{"score": 0.125}, {"score": 1.0}]
    }
