"""Rows as arrays: to Arrow and back, and to data frames, without a value lost."""

import datetime as dt
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.trainers.data.rows import ROLES, column_of, rows_of
from trainers.data import picked_rows
from trainers.data.arrow_arrays import array_of, texts_of, values_of
from trainers.data.customer_rows import CustomerRows, Flags, Numbers, Texts

_values = st.one_of(
    st.lists(st.none() | st.booleans(), max_size=70),
    st.lists(st.none() | st.floats(allow_nan=False), max_size=70),
    st.lists(st.none() | st.sampled_from(["", "é", "gold", "NA"]), max_size=70),
)


@given(_values)
def test_a_column_has_its_values_in_arrow(values):
    column = column_of(values)
    assert column.to_arrow().to_pylist() == values
    assert column.is_present_N.tolist() == [value is not None for value in values]


@given(st.lists(st.lists(st.none() | st.integers(-(2**62), 2**62), max_size=20), max_size=4), st.integers(0, 9))
def test_values_of_chunks_that_begin_anywhere(chunks, start):
    column = pa.chunked_array([pa.array(chunk, pa.int64()).slice(start) for chunk in chunks], pa.int64())
    values_N, is_valid_N = values_of(column, np.int64)
    assert [value if known else None for value, known in zip(values_N.tolist(), is_valid_N.tolist(), strict=True)] == (
        column.to_pylist()
    )


@given(st.lists(st.text(max_size=5), max_size=20), st.lists(st.booleans(), max_size=20))
def test_texts_and_nulls_of_arrow(texts, valid):
    assert texts_of(texts).to_pylist() == texts
    numbers_N = np.arange(len(valid))
    found = array_of(numbers_N, pa.int64(), np.array(valid, bool)).to_pylist()
    assert found == [number if known else None for number, known in enumerate(valid)]


@given(st.lists(st.none() | st.sampled_from(["a", "b", "é", picked_rows.MISFIT_TEXT]), min_size=1), st.integers(0, 30))
def test_few_and_many_texts_are_numbered_alike(texts, cut):
    column = pa.chunked_array([pa.array(texts[:cut], pa.string()), pa.array(texts[cut:], pa.string())])
    few = picked_rows._texts(column)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(picked_rows, "_SMALL", 0)
        many = picked_rows._texts(column)
    assert few[0].texts == many[0].texts
    assert few[0].codes_N.tolist() == many[0].codes_N.tolist()
    assert few[1] == many[1] == texts.count(picked_rows.MISFIT_TEXT)
    kept = [None if text == picked_rows.MISFIT_TEXT else text for text in texts]
    assert few[0].to_arrow().to_pylist() == kept


def rows():
    return CustomerRows(
        ("b", "a", "b"),
        np.array(["2025-01-03", "2025-01-02", "2025-01-01"], "datetime64[us]"),
        np.array([1, 0, 0], np.int8),
        {"n": Numbers(np.array([1.0, 2.0, np.nan])), "f": Flags(np.array([1, -1, 0], np.int8)),
         "t": Texts(np.array([0, 1, -1], np.int32), ("x", "y"))},
    )  # fmt: skip


def test_the_latest_row_of_each_customer_in_order():
    latest = rows().latest()
    assert (latest.entities, latest.columns["n"].values_N.tolist()) == (("a", "b"), [2.0, 1.0])
    assert latest.is_latest
    assert latest.latest() is latest
    before = rows().latest(dt.datetime(2025, 1, 2, tzinfo=dt.UTC))
    assert (before.entities, before.columns["t"].to_arrow().to_pylist()) == (("a", "b"), ["y", None])
    assert len(before.latest(dt.datetime(2020, 1, 1, tzinfo=dt.UTC))) == 0


def test_rows_survive_parquet_and_data_frames(tmp_path):
    pq.write_table(rows().to_arrow(ROLES, ["n", "f", "t"]), tmp_path / "a.parquet", store_schema=False)
    read = pq.read_table(tmp_path / "a.parquet")
    assert read["t"].type == pa.string()
    assert read.to_pydict()["t"] == ["x", "y", None]
    assert read.schema.field("event_time").type == pa.timestamp("us", "UTC")
    frame = rows().to_pandas(ROLES)
    assert frame["f"].tolist() == [True, None, False]
    assert rows_of(frame).to_arrow(ROLES, ["n", "f", "t"]).equals(rows().to_arrow(ROLES, ["n", "f", "t"]))


def test_a_small_input_is_prepared_without_pandas(tmp_path):
    """It takes longer to import than all else together."""
    lines = [f"c-{i},2025-01-14,{('gold', 'pro')[i % 3 % 2]},{i % 7},{i % 2}" for i in range(200)]
    (tmp_path / "a.csv").write_text("\n".join(["customer_id,event_time,plan,minutes,churn", *lines]))
    code = (
        "import sys\n"
        "from divisions.pipeline.definition import Features\n"
        "from divisions.settings import S3Settings\n"
        "from trainers.data.preparation import PreparationTask, prepare\n"
        f"task = PreparationTask({str(tmp_path)!r}, Features(), 'churn', 0, S3Settings(), ())\n"
        "assert len(prepare(task).table) == 200\n"
        "print(*({'pandas', 'pyarrow.compute'} & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.stdout.strip(), done.returncode) == ("", 0), done.stderr
