"""The kinds of the previous version: kept where no value is lost, refused otherwise, and a declaration wins."""

import json

import duckdb
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from divisions.errors import InputError
from divisions.pipeline.definition import Features
from divisions.schema import Feature, FeatureKind, FeatureSchema
from divisions.settings import S3Settings
from trainers.data.file_formats import FileKind
from trainers.data.ingest import read_events
from trainers.data.known_kinds import NOTHING_KNOWN, KnownKinds, first_misfit, settled_kind
from trainers.data.raw_columns import Form, RawColumn
from trainers.data.row_groups import RowGroup

NUMERIC, CATEGORICAL, BOOLEAN = FeatureKind.NUMERIC, FeatureKind.CATEGORICAL, FeatureKind.BOOLEAN


def known(**kinds):
    return KnownKinds("3.1", kinds)


def misfit_of(values, kind):
    """The first misfit among JSON values, each with a type of its own."""
    connection = duckdb.connect()
    connection.execute("CREATE TABLE rows (id BIGINT, flaw VARCHAR, v0 VARCHAR)")
    connection.executemany(
        "INSERT INTO rows VALUES (?, NULL, ?)", [(i, json.dumps(value)) for i, value in enumerate(values)]
    )
    group = RowGroup("rows", {"area": RawColumn("v0", Form.JSON)}, FileKind.JSON_LINES, len(values), "a.jsonl")
    return first_misfit(connection, [group], "area", kind)


def read(path, known_kinds, **features):
    return read_events(
        str(path), s3=S3Settings(), allow_buckets=(), features=Features(**features), label="churn", known=known_kinds
    )


def write(path, area):
    frame = pd.DataFrame(
        {
            "customer_id": [f"c-{i}" for i in range(len(area))],
            "event_time": pd.date_range("2025-01-14", periods=len(area), freq="s", tz="UTC"),
            "area": area,
            "churn": [i % 2 == 0 for i in range(len(area))],
        }
    )
    if path.suffix == ".csv":
        frame.to_csv(path, index=False)
    else:
        frame.to_parquet(path)
    return path


def test_kinds_come_from_the_previous_versions_schema():
    schema = FeatureSchema((Feature("area", CATEGORICAL, ("408",)), Feature("minutes", NUMERIC)))
    assert KnownKinds.of("3.1", schema) == known(area=CATEGORICAL, minutes=NUMERIC)


def test_numbers_of_a_csv_stay_the_text_that_they_were_in_parquet(tmp_path):
    first = read(write(tmp_path / "one.parquet", ["408", "415"] * 4), NOTHING_KNOWN)
    assert (first.kinds["area"], first.notes) == (CATEGORICAL, ())
    alone = read(write(tmp_path / "two.csv", ["408", "415"] * 4), NOTHING_KNOWN)
    assert alone.kinds["area"] is NUMERIC
    second = read(tmp_path / "two.csv", known(area=CATEGORICAL))
    assert second.kinds["area"] is CATEGORICAL
    assert second.frame["area"].tolist() == ["408", "415"] * 4
    (note,) = second.notes
    for word in ("'area'", "numeric", "categorical", "3.1", "features.categorical"):
        assert word in note


def test_leading_zeros_survive_in_a_column_that_was_text(tmp_path):
    events = read(write(tmp_path / "two.csv", ["0408", "0415"] * 4), known(area=CATEGORICAL))
    assert events.frame["area"].tolist() == ["0408", "0415"] * 4


def test_text_of_numbers_stays_the_numbers_that_they_were(tmp_path):
    events = read(write(tmp_path / "two.parquet", ["408", "415.5"] * 4), known(area=NUMERIC))
    assert events.kinds["area"] is NUMERIC
    assert events.frame["area"].tolist() == [408.0, 415.5] * 4
    assert events.num_quarantined == 0


def test_a_flip_that_would_lose_a_value_is_refused_with_column_both_kinds_and_keys(tmp_path):
    path = write(tmp_path / "two.parquet", ["408", "basic"] * 4)
    with pytest.raises(InputError) as caught:
        read(path, known(area=NUMERIC))
    text = str(caught.value)
    for word in ("'area'", "categorical", "numeric", "3.1", "'basic'", "features.categorical: [area]"):
        assert word in text
    assert "features.numeric: [area]" in text


def test_a_leading_zero_is_a_loss_for_a_number(tmp_path):
    with pytest.raises(InputError, match="'0408' cannot be read as numeric"):
        read(write(tmp_path / "two.parquet", ["0408", "415"] * 4), known(area=NUMERIC))


@pytest.mark.parametrize("kind", ["numeric", "categorical"])
def test_a_declaration_wins_and_a_change_is_told(tmp_path, kind):
    other = NUMERIC if kind == "categorical" else CATEGORICAL
    events = read(write(tmp_path / "two.csv", ["408", "415"] * 4), known(area=other), **{kind: ("area",)})
    assert events.kinds["area"] == kind
    (note,) = events.notes
    assert f"features.{kind}" in note
    assert f"was {other}" in note
    assert "cannot be served beside it" in note


def test_a_declaration_of_the_known_kind_needs_no_note(tmp_path):
    events = read(write(tmp_path / "two.csv", ["408", "415"] * 4), known(area=NUMERIC), numeric=("area",))
    assert events.notes == ()


def test_times_in_a_column_that_was_a_number_are_refused(tmp_path):
    path = write(tmp_path / "two.parquet", list(pd.date_range("2025-01-14", periods=4)))
    with pytest.raises(InputError, match="neither number, text nor boolean, but was numeric"):
        read(path, known(area=NUMERIC))


def test_an_empty_column_says_nothing_about_its_kind(tmp_path):
    events = read(write(tmp_path / "two.parquet", [None] * 4), known(area=NUMERIC))
    assert "area" not in events.kinds
    (note,) = events.notes
    assert "is no feature: it is all null" in note


def test_a_column_that_is_new_gets_the_kind_of_its_values():
    assert settled_kind("area", NUMERIC, pytest.fail, known(other=CATEGORICAL), "x") == (NUMERIC, "")


@pytest.mark.parametrize(
    ("kind", "values", "misfit"),
    [
        (BOOLEAN, (1, 0, "yes", "No", True), None),
        (BOOLEAN, (1, 2), "2"),
        (CATEGORICAL, (1, 2.5, "x", True), None),
        (CATEGORICAL, ("x", ["y"]), '["y"]'),
        (NUMERIC, (1, "2", " 3 ", None, "-.5", "1e3", "0", "0.5", "-0"), None),
        (NUMERIC, (1, True), "true"),
        (NUMERIC, ("00",), "00"),
        (NUMERIC, ("12345678901234567",), "12345678901234567"),
        (NUMERIC, ("1e99",), "1e99"),
    ],
)
def test_a_misfit_is_a_value_that_would_change(kind, values, misfit):
    assert misfit_of(values, kind) == misfit


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(-(10**15) + 1, 10**15 - 1), min_size=1, max_size=20))
def test_whole_numbers_never_misfit_as_text_or_number(numbers):
    assert misfit_of(list(map(str, numbers)), NUMERIC) is None
    assert misfit_of(numbers, CATEGORICAL) is None
