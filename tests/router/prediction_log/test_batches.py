import math
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from divisions.prediction_log import LogPolicy, pseudonym
from divisions.schema import Feature, FeatureKind, FeatureSchema
from router.prediction_log.batches import BatchMaker
from tests.router.prediction_log.logged import SCHEMA, Entry, entry, opened, rows_of

KEY = b"key"
VALUES = st.fixed_dictionaries(
    {
        "minutes": st.none() | st.floats(width=32, allow_nan=False, allow_infinity=False) | st.integers(-1000, 1000),
        "plan": st.none() | st.sampled_from(["basic", "gold", "platinum", ""]),
        "abroad": st.none() | st.booleans(),
    }
)


@given(st.lists(VALUES, min_size=1, max_size=5))
def test_a_logged_row_encoded_again_is_the_row_that_the_model_saw(rows):
    sent = [struct.pack("<3f", *SCHEMA.encode_row(row)) for row in rows]
    one = Entry(b"r", [None] * len(rows), 1.0, b"".join(sent), [0.5] * len(rows))
    features = BatchMaker(opened(), KEY).batch([rows_of(0.0, one)]).to_pylist()
    again = [struct.pack("<3f", *SCHEMA.encode_row(row["features"])) for row in features]
    for before, after in zip(sent, again, strict=True):
        assert [*map(str, struct.unpack("<3f", before))] == [*map(str, struct.unpack("<3f", after))]


def test_a_row_of_the_log_has_all_that_was_answered():
    (row,) = BatchMaker(opened(), KEY).batch([rows_of(1_000_000_000.0, entry(7, key="c-1"))]).to_pylist()
    assert row.pop("time").timestamp() == 1_000_000_007.0
    assert math.isclose(row.pop("score"), 0.007, rel_tol=1e-6)
    assert row == {
        "request_id": "r-7",
        "row": 0,
        "entity": "c-1",
        "model": "churn-predictor",
        "version": "3.1",
        "features": {"minutes": 7.0, "plan": "gold", "abroad": True},
    }


@pytest.mark.parametrize("name", ["minutes", "plan", "abroad", "customer_id", "request_id"])
def test_nothing_of_a_column_that_is_left_out_is_in_the_batch(name):
    batch = BatchMaker(opened(LogPolicy(leave_out=(name,))), KEY).batch([rows_of(0.0, entry(7, rows=2, key="c-1"))])
    row = batch.to_pylist()[1]
    assert {"customer_id": row["entity"], "request_id": row["request_id"], **row["features"]}.get(name) is None
    others = {"customer_id": "c-1", "request_id": "r-7", "minutes": 7.0, "plan": "gold", "abroad": True}.keys() - {name}
    assert all(
        {"customer_id": row["entity"], "request_id": row["request_id"], **row["features"]}[each] for each in others
    )


@pytest.mark.parametrize(
    ("name", "text"),
    [("minutes", "7.0"), ("plan", "gold"), ("abroad", "True"), ("customer_id", "c-1"), ("request_id", "r-7")],
)
def test_a_hashed_column_has_pseudonyms(name, text):
    batch = BatchMaker(opened(LogPolicy(hash=(name,))), KEY).batch([rows_of(0.0, entry(7, key="c-1"))])
    (row,) = batch.to_pylist()
    found = {"customer_id": row["entity"], "request_id": row["request_id"], **row["features"]}
    assert found[name] == pseudonym(KEY, text)


def test_a_model_whose_features_are_all_left_out_is_logged_all_the_same():
    schema = FeatureSchema((Feature("minutes", FeatureKind.NUMERIC),))
    maker = BatchMaker(opened(LogPolicy(leave_out=("minutes",)), schema), KEY)
    one = Entry(b"r", ["c"], 1.0, struct.pack("<f", 1.0), [0.25])
    assert maker.batch([rows_of(0.0, one)]).to_pylist()[0]["score"] == 0.25


def test_an_id_that_is_no_unicode_ends_nothing():
    parts = [rows_of(0.0, entry(1)), rows_of(0.0, entry(2)._replace(request_id=b"\xff"))]
    ids = [row["request_id"] for row in BatchMaker(opened(), KEY).batch(parts).to_pylist()]
    assert ids == ["r-1", "\N{REPLACEMENT CHARACTER}"]


def test_parts_keep_their_order_and_each_its_time():
    parts = [rows_of(0.0, entry(1, rows=2, key="a")), rows_of(100.5, entry(2), entry(3, key="b"))]
    found = BatchMaker(opened(), KEY).batch(parts).to_pylist()
    rows = [(row["request_id"], row["row"], row["entity"], row["time"].timestamp()) for row in found]
    assert rows == [("r-1", 0, "a", 1.0), ("r-1", 1, "a", 1.0), ("r-2", 0, None, 102.5), ("r-3", 0, "b", 103.5)]
    assert [row["features"]["minutes"] for row in found] == [1.0, 1.0, 2.0, 3.0]
