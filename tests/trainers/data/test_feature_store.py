"""The table written down, offline and online."""

import datetime as dt
import json
import os

import numpy as np
import pandas as pd

from divisions.online_store import OnlineStoreReader, online_store_path
from divisions.online_stores import SqliteStore
from divisions.pipeline.definition import Features
from divisions.schema import Feature, FeatureKind, FeatureSchema
from tests.trainers.data.rows import column_of, events_of
from trainers.data.feature_store import features_of_others, newest_draft, quarantine_draft, write_offline
from trainers.data.feature_table import build_feature_table
from trainers.data.online_features import fill_online_store
from trainers.data.online_rows import stored_rows

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
    return build_feature_table(events_of(frame, KINDS), Features(holdout_fraction=0.0, categorical=("plan",)), "churn")


def rows_of(path, schema):
    return {name: (at_s, json.loads(features)) for batch in stored_rows(path, schema) for name, features, at_s in batch}


def test_stored_rows_are_encoded_as_in_training(tmp_path):
    made = table()
    path = write_offline(tmp_path, "customer-churn-v3", "2025-01-14", made)
    assert fill_online_store(SqliteStore(online_store_path(tmp_path)), "churn", path, made.schema).num_changed == 3
    reader = OnlineStoreReader(online_store_path(tmp_path), "churn")
    for entity, x_F in zip(made.entities, made.x, strict=True):
        stored = json.loads(reader.get(entity))
        assert set(stored) == set(made.schema.names)
        np.testing.assert_array_equal(np.array(made.schema.encode_row(stored), dtype=np.float32), x_F)
    reader.close()


def test_online_rows_are_plain_values_with_nulls(tmp_path):
    made = table()
    rows = rows_of(write_offline(tmp_path, "p", "d", made), made.schema)
    assert rows["b"][1] == {"minutes": None, "calls": 2, "plan": "basic", "active": None}
    assert type(rows["a"][1]["calls"]) is int
    assert rows["a"][0] == dt.datetime(2025, 1, 14, 0, 0, 0, 250_000, tzinfo=dt.UTC).timestamp()


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
    made.rows.columns["region"] = column_of([1.0, 2.5, None])
    made.rows.columns["age"] = column_of(["7", "8", "?"])
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
    rows = rows_of(write_offline(tmp_path, "p", "d", made, also), made.schema)
    assert [features["region"] for _, features in rows.values()] == ["1", "2.5", None]
    assert [features["age"] for _, features in rows.values()] == [7.0, 8.0, None]
    assert features_of_others(made, None) == ()


def test_drafts_of_killed_runs_are_removed_after_a_day(tmp_path):
    folder = tmp_path / "features" / "churn"
    folder.mkdir(parents=True)
    for name, age_s in (
        (".newest-old.draft", 86_500),
        (".newest-young.draft", 86_300),
        (".quarantine-old.draft", 86_500),
        ("part.parquet", 86_500),
    ):
        (folder / name).touch()
        os.utime(folder / name, (1e9 - age_s, 1e9 - age_s))
    draft = newest_draft(tmp_path, "churn", "r", 1e9)
    assert (draft, quarantine_draft(draft)) == (folder / ".newest-r.draft", folder / ".quarantine-r.draft")
    assert sorted(one.name for one in folder.iterdir()) == [".newest-young.draft", "part.parquet"]
    assert newest_draft(tmp_path, "other", "r", 1e9).parent.name == "other"
