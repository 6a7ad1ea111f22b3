"""Row numbers are found by their names and by counting; data that resembles them stays."""

import duckdb
import pytest

from trainers.data.file_formats import FileKind
from trainers.data.raw_columns import Form, RawColumn
from trainers.data.row_groups import ROW_BITS, RowGroup
from trainers.data.row_numbers import MIN_ROWS, find_row_numbers


def group_of(connection, relation, names, files):
    """A group whose files hold so many rows each; each name's numbers are given row by row."""
    ids = [(file << ROW_BITS) + row for file, count in enumerate(files) for row in range(1, count + 1)]
    columns = ", ".join(f"v{index} DOUBLE" for index in range(len(names)))
    connection.execute(f"CREATE TABLE {relation} (id BIGINT, flaw VARCHAR, {columns})")
    for index, row_id in enumerate(ids):
        values = [numbers[index] for numbers in names.values()]
        marks = ", ".join("?" * len(values))
        connection.execute(f"INSERT INTO {relation} VALUES (?, NULL, {marks})", [row_id, *values])
    raw = {name: RawColumn(f"v{index}", Form.FLOAT) for index, name in enumerate(names)}
    return RowGroup(relation, raw, FileKind.PARQUET, len(ids), "a.parquet")


def found(files=(MIN_ROWS,), **names):
    connection = duckdb.connect()
    return find_row_numbers(connection, [group_of(connection, "rows", names, files)], list(names))


@pytest.mark.parametrize(
    ("numbers", "is_one"),
    [
        (range(MIN_ROWS), True),
        (range(1, MIN_ROWS + 1), True),
        (range(2, MIN_ROWS + 2), False),
        (range(MIN_ROWS, 0, -1), False),
        ([*range(MIN_ROWS - 1), MIN_ROWS], False),
        ([*range(MIN_ROWS - 1), None], False),
        ([i + 0.5 for i in range(MIN_ROWS)], False),
    ],
)
def test_a_column_that_counts_from_0_or_1_numbers_the_rows(numbers, is_one):
    assert found(minutes=list(numbers)) == ["minutes"] * is_one


def test_too_few_rows_may_count_by_chance():
    assert found((MIN_ROWS - 1,), month=list(range(MIN_ROWS - 1))) == []


def test_each_file_may_start_anew_or_go_on():
    assert found((30, 30), x1y=[*range(30), *range(30)]) == ["x1y"]
    assert found((30, 30), x1y=list(range(60))) == ["x1y"]
    assert found((30, 30), x1y=[*range(30), *range(31, 60), 61]) == []


def test_a_column_must_count_in_every_group():
    connection = duckdb.connect()
    groups = [
        group_of(connection, "one", {"number": list(range(60))}, (60,)),
        group_of(connection, "two", {"number": [i % 7 for i in range(60)]}, (60,)),
    ]
    assert find_row_numbers(connection, groups, ["number"]) == []
    assert find_row_numbers(connection, groups[:1], ["number"]) == ["number"]


@pytest.mark.parametrize(
    "name", ["index", "level_0", "RowNumber", "row_id", "Row Number", "_c0", "row.names", "...1", "Sr. No."]
)
def test_a_usual_name_needs_different_whole_numbers_only(name):
    assert found((4,), **{name: [7, 3, 9, 0]}) == [name]
    assert found((4,), **{name: [7, 3, 7, 0]}) == []
    assert found((4,), **{name: [7, 3, 9.5, 0]}) == []


@pytest.mark.parametrize("name", ["__index_level_0__", "Unnamed: 0", "Unnamed: 0.1"])
def test_pandas_names_of_an_index_without_a_name_are_enough(name):
    assert found((3,), **{name: [7, 7, None]}) == [name]


def test_only_the_asked_columns_are_named():
    connection = duckdb.connect()
    group = group_of(connection, "rows", {"a'b\"": list(range(60)), "b": list(range(60))}, (60,))
    assert find_row_numbers(connection, [group], ["a'b\""]) == ["a'b\""]
