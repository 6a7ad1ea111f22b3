"""Tables of thousands of columns: what is asked of the engine must not grow with the columns, one query for each."""

from __future__ import annotations

import datetime as dt
from types import SimpleNamespace

import duckdb
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

from divisions.pipeline.definition import Features, Label
from divisions.schema import FeatureKind
from divisions.settings import S3Settings
from trainers.data import newest_rows
from trainers.data.engine import Limits, open_engine
from trainers.data.file_facts import count_present
from trainers.data.ingest import Reading
from trainers.data.preparation import PreparationTask, Prepared, prepare

ROWS = 120
CONTENTS = {
    "numbers": lambda index: [(row * 7 + index) % 13 + 0.5 for row in range(ROWS)],
    "texts": lambda index: [f"v{(row + index) % 5}" for row in range(ROWS)],
    "empty": lambda _: [None] * ROWS,
}


class Counting:
    """A connection of DuckDB that counts what is asked of it."""

    def __init__(self, connection, asked: list[str]):
        self._connection, self._asked = connection, asked

    def __getattr__(self, name):
        found = getattr(self._connection, name)
        if name not in {"execute", "sql"}:
            return found

        def ask(query, *rest):
            self._asked.append(query)
            done = found(query, *rest)
            return self if done is self._connection else done

        return ask


@pytest.fixture
def asked(monkeypatch) -> list[str]:
    asked: list[str] = []
    connect = duckdb.connect
    monkeypatch.setattr(duckdb, "connect", lambda **options: Counting(connect(**options), asked))
    return asked


def prepared(folder, kind: str, columns: int, write) -> Prepared:
    table = {
        "customer_id": [f"c-{row}" for row in range(ROWS)],
        "event_time": [dt.datetime(2025, 1, 13, tzinfo=dt.UTC)] * ROWS,
        "churn": [row % 3 == 0 for row in range(ROWS)],
        "known": [float(row % 11) for row in range(ROWS)],
        **{f"x{index}": pa.array(CONTENTS[kind](index)) for index in range(columns)},
    }
    folder.mkdir()
    write(pa.table(table), folder / f"events.{write.__name__.removeprefix('write_').replace('table', 'parquet')}")
    features = Features(label=Label("churn"))
    reading = Reading(limits=Limits(num_threads=1), is_latest_only=True, newest=folder / "newest")
    return prepare(PreparationTask(str(folder), features, "churn", 0, S3Settings(), (), reading=reading))


@pytest.mark.parametrize(
    ("kind", "write"),
    [("numbers", pq.write_table), ("numbers", pyarrow.csv.write_csv), ("empty", pyarrow.csv.write_csv)],
    ids=["numbers in parquet", "numbers in csv", "nothing in csv"],
)
def test_more_columns_are_not_more_queries(tmp_path, asked, kind, write):
    few = prepared(tmp_path / "few", kind, 10, write)
    num_few = len(asked)
    asked.clear()
    many = prepared(tmp_path / "many", kind, 80, write)
    assert len(asked) == num_few
    is_kept = kind == "numbers"
    assert (few.table.schema.num_columns, many.table.schema.num_columns) == (1 + 10 * is_kept, 1 + 80 * is_kept)


def test_nor_are_more_columns_of_typed_texts(tmp_path, asked):
    prepared(tmp_path / "few", "texts", 10, pq.write_table)
    num_few = len(asked)
    asked.clear()
    many = prepared(tmp_path / "many", "texts", 80, pq.write_table)
    assert len(asked) == num_few
    assert [one.kind for one in many.table.schema.features] == [FeatureKind.NUMERIC] + [FeatureKind.CATEGORICAL] * 80


class Footer:
    """The footer of a Parquet file, which counts how often a column is looked at."""

    def __init__(self, null_counts: list[dict[str, int | None]]):
        self._groups, self.looks, self.num_row_groups = null_counts, 0, len(null_counts)

    def row_group(self, number):
        group = list(self._groups[number].items())

        def column(index):
            self.looks += 1
            name, nulls = group[index]
            statistics = None if nulls is None else SimpleNamespace(has_null_count=True, null_count=nulls)
            return SimpleNamespace(path_in_schema=name, statistics=statistics, num_values=10)

        return SimpleNamespace(num_columns=len(group), column=column)


def test_a_footer_is_read_once_for_all_columns():
    footer = Footer([{f"x{index}": index % 10 for index in range(300)}] * 2)
    assert count_present(footer) == {f"x{index}": 2 * (10 - index % 10) for index in range(300)}
    assert footer.looks == 600


def test_a_column_of_which_one_group_says_nothing_is_not_counted():
    assert count_present(Footer([{"a": 1, "b": None}, {"a": 2, "b": 3}])) == {"a": 17}


def test_wide_tables_get_more_memory_unless_the_limit_is_declared():
    found = []
    for limits in (Limits(is_elastic=True), Limits(memory_gb=1.0)):
        with open_engine(limits) as engine:
            for columns in (20, 3_000):
                engine.make_room(columns)
                setting = "SELECT current_setting('memory_limit')"
                found.append(engine.connection.execute(setting).fetchall()[0][0])
    usual, wide, declared, declared_wide = found
    assert usual == declared == declared_wide
    assert wide != usual


def test_the_newest_rows_of_a_wide_table_are_written_in_small_groups(tmp_path, monkeypatch):
    monkeypatch.setattr(newest_rows, "_GROUP_CELLS", 9_000)
    columns = {f"x{index}": FeatureKind.NUMERIC for index in range(3)}
    with open_engine(Limits(num_threads=1)) as engine:
        values = ", ".join(f"range::DOUBLE AS f{index}" for index in range(3))
        engine.connection.execute(
            f"CREATE TABLE chosen AS SELECT 'c' AS entity, now() AS happened, true AS is_newest, {values}"
            " FROM range(10000)"
        )
        newest_rows.copy_newest(engine.connection, columns, tmp_path / "newest.parquet")
    footer = pq.read_metadata(tmp_path / "newest.parquet")
    assert footer.num_rows == 10_000
    assert max(footer.row_group(number).num_rows for number in range(footer.num_row_groups)) < 10_000
