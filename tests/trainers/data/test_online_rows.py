"""The rows of an offline file, as the online store keeps them: what a request with the same values would give."""

import datetime as dt
import math

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from divisions.errors import InputError
from divisions.schema import FLOAT32_MAX, Feature, FeatureKind, FeatureSchema, encode_value
from divisions.stored_values import read_as
from trainers.data import online_rows
from trainers.data.online_rows import stored_rows

TIME = dt.datetime(2025, 1, 14, 7, 30, 0, 123_456, tzinfo=dt.UTC)
NAMES = ["minutes", "Minutes", "a 'quoted' \"name\"", "{}", "é\\", "class", "label"]
numbers = st.none() | st.floats() | st.integers(-(2**53), 2**53).map(float) | st.sampled_from([-0.0, 5e-324, 3.5e38])
texts = st.none() | st.text() | st.sampled_from(["", " ", "null", "NaN", '"', "\\", "\x00", "\x7f\u2028", "7.0", "007"])


def write(path, columns, entities=("c-1",), times=None):
    times = pa.array(times or [TIME] * len(entities), pa.timestamp("us", "UTC"))
    pq.write_table(pa.table({"customer_id": list(entities), "event_time": times, **columns}), path)
    return path


NO_FEATURES = FeatureSchema(())


def read(path, schema=NO_FEATURES):
    return [
        (entity, at_s, msgspec.json.decode(features))
        for batch in stored_rows(path, schema)
        for entity, features, at_s in batch
    ]


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    folder = tmp_path_factory.mktemp("it's [a] folder*") / "partition=2025"
    folder.mkdir()
    return folder / "newest.parquet"


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(numbers, texts, st.none() | st.booleans()), min_size=1, max_size=20), st.data())
def test_a_stored_value_gives_what_a_request_with_the_value_gives(path, values, data):
    names = data.draw(st.permutations(NAMES))[:3]
    types = (pa.float64(), pa.string(), pa.bool_())
    columns = {
        name: pa.array(column, kind) for name, column, kind in zip(names, zip(*values, strict=True), types, strict=True)
    }
    entities = [f"c-{index}" for index in range(len(values))]
    kinds = (FeatureKind.NUMERIC, FeatureKind.CATEGORICAL, FeatureKind.BOOLEAN)
    for (entity, at_s, stored), row, name in zip(read(write(path, columns, entities)), values, entities, strict=True):
        assert (entity, at_s) == (name, TIME.timestamp())
        assert list(stored) == names
        for feature_name, kind, value in zip(names, kinds, row, strict=True):
            found = read_as(kind, stored[feature_name])
            if kind is FeatureKind.NUMERIC and value is not None and not abs(value) <= FLOAT32_MAX:
                assert found is None, "training took it for missing"
                continue
            assert found == value
            feature = Feature(feature_name, kind, ("", "7.0"))
            np.testing.assert_array_equal(encode_value(feature, found), encode_value(feature, value))


@given(st.integers(-(10**15), 10**17))
@settings(max_examples=30, deadline=None)
def test_event_times_are_the_seconds_that_python_has_for_them(path, microseconds):
    time = pa.scalar(microseconds, pa.timestamp("us", "UTC"))
    ((_, at_s, _),) = read(write(path, {"x": [1.0]}, times=[time]))
    assert at_s == microseconds / 1e6


def test_the_label_and_folders_are_no_features_and_rows_without_entity_are_left_out(path):
    write(path, {"churn": [1, 0], "minutes": [1.0, 2.0]}, ["c-1", None])
    assert read(path) == [("c-1", TIME.timestamp(), {"minutes": 1.0})]


@pytest.mark.parametrize(("entities", "expected"), [([7, None], "7"), ([7.0, math.nan], "7"), (["7.0", None], "7.0")])
def test_ids_are_spelt_as_in_training(path, entities, expected):
    assert [entity for entity, _, _ in read(write(path, {"x": [1.0, 2.0]}, entities))] == [expected]


def test_integers_and_decimals_of_older_files_are_numbers(path):
    columns = {"whole": pa.array([2**53 + 1]), "exact": pa.array([1], pa.decimal128(9, 2)), "none": pa.nulls(1)}
    ((_, _, stored),) = read(write(path, columns))
    assert stored == {"whole": 2**53 + 1, "exact": 1.0, "none": None}


def test_a_value_that_is_no_number_is_missing_also_where_the_others_are_small(path):
    rows = read(write(path, {"x": [0.0, math.nan, math.inf]}, ["a", "b", "c"]))
    assert [features["x"] for _, _, features in rows] == [0.0, None, None]
    rows = read(write(path, {"x": [0.0, math.nan]}, ["a", "b"]))
    assert [features["x"] for _, _, features in rows] == [0.0, None]


def test_a_large_file_comes_in_batches_and_whole(path, monkeypatch):
    monkeypatch.setattr(online_rows, "BATCH_ROWS", 7)
    write(path, {"x": [float(number) for number in range(100)]}, [str(number) for number in range(100)])
    batches = list(stored_rows(path, NO_FEATURES))
    assert [len(batch) for batch in batches] == [7] * 14 + [2]
    assert {entity for batch in batches for entity, _, _ in batch} == {str(number) for number in range(100)}


def test_many_features_are_stored(path):
    columns = {f"f{number}": [float(number)] for number in range(2_000)}
    ((_, _, stored),) = read(write(path, columns))
    assert stored == {name: value for name, (value,) in columns.items()}


@pytest.mark.parametrize(
    ("columns", "why"),
    [
        ({"days": [dt.date(2025, 1, 1)]}, "'days' is neither number, text nor boolean"),
        ({"items": [[1, 2]]}, "no plain values"),
    ],
)
def test_columns_that_no_request_can_have_are_an_error(path, columns, why):
    with pytest.raises(InputError, match=why):
        read(write(path, columns))


def test_files_that_cannot_be_read_are_named(path, tmp_path):
    with pytest.raises(InputError, match="lacks the columns user, at"):
        read(write(path, {}), FeatureSchema((), entity="user", event_time="at"))
    (tmp_path / "part.parquet").write_bytes(b"PAR1 and no more")
    for name in ("part.parquet", "gone.parquet"):
        with pytest.raises(InputError, match=rf"{name} cannot be read: .*[^\n]"):
            read(tmp_path / name)
