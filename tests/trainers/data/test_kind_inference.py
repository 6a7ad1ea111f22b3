"""The kind of a column that nobody declared, by the values in files of each format."""

import csv
import json

import pandas as pd
import pytest

from divisions.pipeline.definition import Features
from divisions.schema import FeatureKind
from divisions.settings import S3Settings
from trainers.data.ingest import read_events
from trainers.data.kind_inference import Counts, kind_of


def kinds_of(path):
    return read_events(str(path), s3=S3Settings(), allow_buckets=(), features=Features(), label="churn").kinds


def records(values):
    return [
        {"customer_id": f"c-{i}", "event_time": "2025-01-14", "churn": i % 2, "x": value}
        for i, value in enumerate(values)
    ]


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([1, 2.5, None], FeatureKind.NUMERIC),
        ([True, None, False], FeatureKind.BOOLEAN),
        (["415", "408"], FeatureKind.CATEGORICAL),
        ([1, "a", 2, "b"], FeatureKind.CATEGORICAL),
        ([*[1] * 99, "x"], FeatureKind.NUMERIC),
        ([*[1] * 90, *["?"] * 10], FeatureKind.NUMERIC),
        ([[1], [2]], None),
        ([None, None], None),
        (["", "N/A"], None),
    ],
)
def test_json_values_say_what_they_are(tmp_path, values, kind):
    path = tmp_path / "a.jsonl"
    path.write_text("\n".join(json.dumps(record) for record in records(values)))
    assert kinds_of(path).get("x") is kind


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (["415", "408"], FeatureKind.NUMERIC),
        (["yes", "no"], FeatureKind.CATEGORICAL),
        (["true", "False"], FeatureKind.BOOLEAN),
        ([*["1"] * 99, "x"], FeatureKind.NUMERIC),
        ([*["1"] * 90, *["x"] * 10], FeatureKind.CATEGORICAL),
        (["1", "2", "N/A", "NA", "", " ", "None", "?"], FeatureKind.NUMERIC),
        (["fiber", "None", "None"], FeatureKind.CATEGORICAL),
        (["", ""], None),
    ],
)
def test_text_of_csv_may_mean_a_number_or_a_boolean(tmp_path, values, kind):
    path = tmp_path / "a.csv"
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, ["customer_id", "event_time", "churn", "x"])
        writer.writeheader()
        writer.writerows(records(values))
    assert kinds_of(path).get("x") is kind


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([1, 2, 3], FeatureKind.NUMERIC),
        ([0.5, None, 1.0], FeatureKind.NUMERIC),
        ([True, False, True], FeatureKind.BOOLEAN),
        (["a", None, "b"], FeatureKind.CATEGORICAL),
        (["1", "2", "3"], FeatureKind.CATEGORICAL),
        ([b"a", b"b", b"a"], FeatureKind.CATEGORICAL),
        (list(pd.to_datetime(["2025-01-14"] * 3)), None),
        ([[1], [2], [3]], None),
        ([None, None, None], None),
    ],
)
def test_a_column_of_parquet_has_the_kind_of_its_type(tmp_path, values, kind):
    path = tmp_path / "a.parquet"
    pd.DataFrame(records(values)).to_parquet(path)
    assert kinds_of(path).get("x") is kind


def test_values_that_differ_are_text_and_a_stray_one_is_not_counted():
    assert kind_of(Counts(numbers=95, texts=5)) is FeatureKind.NUMERIC
    assert kind_of(Counts(numbers=94, texts=6)) is FeatureKind.CATEGORICAL
    assert kind_of(Counts(numbers=94, texts=6, soft=6)) is FeatureKind.NUMERIC
    assert kind_of(Counts(texts=6, soft=6)) is FeatureKind.CATEGORICAL
    assert kind_of(Counts(texts=95, others=5)) is FeatureKind.CATEGORICAL
    assert kind_of(Counts()) is None
