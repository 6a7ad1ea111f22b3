"""The benchmark of preparation: all systems find the same customers in the same events."""

import duckdb
import numpy as np
import pytest

from benchmarks.preparation.growth import main as growth
from benchmarks.preparation.growth import medians, row_of, run_worker
from benchmarks.preparation.plain_duckdb import table_queries
from benchmarks.preparation.raw_input import AS_OF, NUM_COLUMNS, write_events
from benchmarks.preparation.worker import SYSTEMS, Measured, Work


@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_all_systems_make_one_row_for_each_customer_up_to_the_day(tmp_path, form):
    source = tmp_path / f"events.{form}"
    write_events(source, 4_000, 300, seed=3, threads=2)
    (columns,) = duckdb.execute(f"SELECT count(*) FROM (DESCRIBE FROM '{source}')").fetchone()
    (expected,) = duckdb.execute(
        f"SELECT count(DISTINCT customer_id) FROM '{source}' WHERE event_time <= '2024-12-01'"
    ).fetchone()
    assert columns == NUM_COLUMNS + 3
    for system in SYSTEMS:
        found = run_worker(Work(system, str(source), str(tmp_path), 2, 1.0))
        assert found.customers == expected
        assert found.wall_s > 0 < found.cpu_s
        assert 0.02 < found.peak_gb < 2


def test_times_are_medians_and_memory_is_the_greatest():
    runs = [Measured(3, 5, 1, 9), Measured(1, 6, 2, 9), Measured(2, 7, 1.5, 9)]
    assert medians(runs) == Measured(2, 6, 2, 9)
    others = {"duckdb": [Measured(1, 4, 1, 9)], "duckdb table": [Measured(2, 5, 1, 9)]}
    row = row_of("csv", 10, 2_000_000_000, {"divisions": runs, **others})
    assert (row.wall_ratio, row.cpu_ratio, row.file_gb, row.rows_per_s) == (2, 1.5, 2, 5)
    assert (row.table_wall_ratio, row.table_cpu_ratio) == (1, 1.2)


@pytest.mark.parametrize("other", ["duckdb", "duckdb table"])
def test_systems_that_find_different_customers_are_not_compared(other):
    found = {name: [Measured(1, 1, 1, 8 if name == other else 9)] for name in SYSTEMS}
    with pytest.raises(RuntimeError, match="9 customers, but DuckDB has 8"):
        row_of("csv", 10, 1, found)


def test_the_table_of_plain_duckdb_is_the_numbers_of_the_same_rows(tmp_path):
    source = tmp_path / "events.parquet"
    write_events(source, 2_000, 200, seed=1, threads=1)
    statements, training = table_queries(source, tmp_path / "newest.parquet", AS_OF)
    with duckdb.connect() as connection:
        for statement in statements:
            connection.execute(statement).fetchall()
        found = connection.execute(f"FROM ({training})").df().set_index("customer_id")
        rows = connection.execute(f"FROM '{tmp_path}/newest.parquet'").df().set_index("customer_id").loc[found.index]
    assert found.index.is_monotonic_increasing
    assert 0.1 < found["is_held"].mean() < 0.3
    assert (found["churn"] == rows["churn"]).all()
    assert np.allclose(found["amount_1"], rows["amount_1"], equal_nan=True)
    for text, code in zip(rows["plan_2"], found["plan_2"], strict=True):
        assert (text is None) == np.isnan(code) or sorted(set(rows["plan_2"].dropna()))[int(code)] == text


def test_sizes_that_are_no_numbers_are_refused(capsys):
    assert growth(["--sizes", "many"]) == 2
    assert "--sizes must be numbers" in capsys.readouterr().err


def test_a_worker_that_fails_says_why(tmp_path):
    with pytest.raises(RuntimeError, match="duckdb failed on"):
        run_worker(Work("duckdb", str(tmp_path / "absent.parquet"), str(tmp_path), 1, 1.0))
