import math
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from divisions.prediction_log import LogPolicy, pseudonym
from divisions.schema import Feature, FeatureKind, FeatureSchema
from router.prediction_log.batches import BatchMaker
from tests.router.prediction_log.logged import APP, SCHEMA, entry, opened

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
    one = (APP, b"r", list(range(len(rows))), [None] * len(rows), 1.0, b"".join(sent), [0.5] * len(rows))
    features = BatchMaker(opened(), KEY).batch([one], 0.0).to_pylist()
    again = [struct.pack("<3f", *SCHEMA.encode_row(row["features"])) for row in features]
    for before, after in zip(sent, again, strict=True):
        assert [*map(str, struct.unpack("<3f", before))] == [*map(str, struct.unpack("<3f", after))]


def test_a_row_of_the_log_has_all_that_was_answered():
    (row,) = BatchMaker(opened(), KEY).batch([entry(7, key="c-1")], 1_000_000_000.0).to_pylist()
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
    batch = BatchMaker(opened(LogPolicy(leave_out=(name,))), KEY).batch([entry(7, rows=2, key="c-1")], 0.0)
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
    batch = BatchMaker(opened(LogPolicy(hash=(name,))), KEY).batch([entry(7, key="c-1")], 0.0)
    (row,) = batch.to_pylist()
    found = {"customer_id": row["entity"], "request_id": row["request_id"], **row["features"]}
    assert found[name] == pseudonym(KEY, text)


def test_a_model_whose_features_are_all_left_out_is_logged_all_the_same():
    schema = FeatureSchema((Feature("minutes", FeatureKind.NUMERIC),))
    maker = BatchMaker(opened(LogPolicy(leave_out=("minutes",)), schema), KEY)
    one = (APP, b"r", [0], ["c"], 1.0, struct.pack("<f", 1.0), [0.25])
    assert maker.batch([one], 0.0).to_pylist()[0]["score"] == 0.25


def test_an_id_that_is_no_unicode_ends_nothing():
    one = (APP, b"\xff", [0], ["\ud800"], 1.0, struct.pack("<3f", 1, 1, 1), [0.25])
    assert BatchMaker(opened(), KEY).batch([one], 0.0).to_pylist()[0]["entity"] == "?"
