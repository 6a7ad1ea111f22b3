"""The table written down, offline and online."""

import datetime as dt
import json

import numpy as np
import pandas as pd

from divisions.online_store import OnlineStoreReader, OnlineStoreWriter, online_store_path
from divisions.pipeline.definition import Features
from divisions.schema import Feature, FeatureKind, FeatureSchema
from trainers.data.feature_store import features_of_others, read_offline, write_offline
from trainers.data.feature_table import build_feature_table
from trainers.data.ingest import RawEvents

KINDS = {
    "minutes": FeatureKind.NUMERIC,
    "calls": FeatureKind.NUMERIC,
    "plan": FeatureKind.CATEGORICAL,
    "active": FeatureKind.BOOLEAN,
}


def table():
    frame = pd.DataFrame(
        {
            "customer_id": ["a", "b", "c"],
            "event_time": pd.to_datetime([f"2025-01-14T00:00:0{i}.25Z" for i in range(3)]).astype(
                "datetime64[us, UTC]"
            ),
            "churn": np.array([0, 1, 0], dtype=np.int8),
            "minutes": [1.5, np.nan, 2.5],
            "calls": [1, 2, 3],
            "plan": pd.Series(["gold", "basic", None], dtype=object),
            "active": pd.Series([True, None, False], dtype=object),
        }
    )
    events = RawEvents("test://events", "", frame, KINDS, pd.DataFrame({"reason": []}), 3)
    return build_feature_table(events, Features(holdout_fraction=0.0, categorical=("plan",)), "churn")


def online_rows(made, home, also=()):
    return read_offline(write_offline(home, "p", "d", made, also), made.schema)


def test_stored_rows_are_encoded_as_in_training(tmp_path):
    made = table()
    path = online_store_path(tmp_path)
    assert OnlineStoreWriter(path, "churn").upsert(online_rows(made, tmp_path)) == 3
    reader = OnlineStoreReader(path, "churn")
    for entity, x_F in zip(made.entities, made.x, strict=True):
        stored = json.loads(reader.get(entity))
        assert set(stored) == set(made.schema.names)
        np.testing.assert_array_equal(np.array(made.schema.encode_row(stored), dtype=np.float32), x_F)
    reader.close()


def test_online_rows_are_plain_values_with_nulls(tmp_path):
    rows = online_rows(table(), tmp_path)
    assert rows[1].features == {"minutes": None, "calls": 2, "plan": "basic", "active": None}
    assert type(rows[0].features["calls"]) is int
    assert rows[0].event_time_s == dt.datetime(2025, 1, 14, 0, 0, 0, 250_000, tzinfo=dt.UTC).timestamp()


def test_the_offline_partition_is_replaced_whole(tmp_path):
    made = table()
    path = write_offline(tmp_path, "customer-churn-v3", "2025-01-14", made)
    assert path == tmp_path / "features" / "customer-churn-v3" / "partition=2025-01-14" / "part.parquet"
    assert write_offline(tmp_path, "customer-churn-v3", "", made) == path
    assert [entry.name for entry in path.parent.iterdir()] == ["part.parquet"]
    written = pd.read_parquet(path.parent.parent)
    assert written["customer_id"].tolist() == ["a", "b", "c"]
    assert written["churn"].tolist() == [0, 1, 0]
    assert set(made.schema.names) < set(written.columns)


def test_features_of_the_previous_version_are_stored_too(tmp_path):
    made = table()
    made.raw["region"] = pd.Series([1.0, "x", None], dtype=object)
    made.raw["age"] = ["7", "8", "?"]
    previous = FeatureSchema(
        (
            *made.schema.features,
            Feature("region", FeatureKind.CATEGORICAL),
            Feature("age", FeatureKind.NUMERIC),
            Feature("gone", FeatureKind.NUMERIC),
        )
    )
    also = features_of_others(made, previous)
    assert [feature.name for feature in also] == ["region", "age"]
    rows = online_rows(made, tmp_path, also)
    assert [row.features["region"] for row in rows] == ["1", "x", None]
    assert [row.features["age"] for row in rows] == [7.0, 8.0, None]
    assert features_of_others(made, None) == ()
