"""The column report of a run: from the rows of its feature table."""

import numpy as np
import pandas as pd
import pytest

from divisions.pipeline.definition import Features
from divisions.settings import S3Settings
from trainers.data.column_facts import SAMPLE_ROWS
from trainers.data.column_report import report_columns
from trainers.data.preparation import PreparationTask, prepare


def frame(rows=400):
    index = np.arange(rows)
    return pd.DataFrame(
        {
            "customer_id": [f"c-{i}" for i in index],
            "event_time": pd.Timestamp("2025-01-14", tz="UTC"),
            "place": index[::-1] + 1,  # it counts, but not in the order of the rows
            "amount": np.where(index % 4 == 0, np.nan, index % 7),
            "plan": [("gold", "pro")[i % 2] for i in index],
            "roams": index % 3 == 0,
            "churn": index % 5 == 0,
        }
    )


def task(path, **features):
    return PreparationTask(str(path), Features(**features), "churn", 0, S3Settings(), ())


def test_a_run_reports_each_column_with_its_kind_and_why(tmp_path):
    frame().to_parquet(tmp_path / "a.parquet")
    prepared = prepare(task(tmp_path, categorical=("plan",)))
    facts = {column.name: column for column in prepared.columns}
    assert [(name, one.kind, one.why) for name, one in facts.items()] == [
        ("place", "numeric", "inferred: 100 % of its values are numbers"),
        ("amount", "numeric", "inferred: 100 % of its values are numbers"),
        ("plan", "categorical", "declared in features.categorical"),
        ("roams", "boolean", "inferred: 100 % of its values are true or false"),
    ]
    amount = facts["amount"]
    assert (amount.missing, amount.distinct, amount.minimum, amount.median, amount.maximum) == (100, 7, 0, 3, 6)
    assert (facts["plan"].examples, facts["roams"].distinct) == (("gold", "pro"), 2)
    assert facts["place"].suspicion == "row number"
    assert any(note.startswith("column 'place' left out: it counts the rows") for note in prepared.table.notes)


def test_a_large_table_is_sampled_but_its_missing_values_are_all_counted(tmp_path):
    rows = 2 * SAMPLE_ROWS + 1
    frame(rows).to_parquet(tmp_path / "a.parquet")
    prepared = prepare(task(tmp_path))
    facts = {column.name: column for column in prepared.columns}
    assert facts["amount"].missing == (rows + 3) // 4
    assert facts["amount"].distinct == 7
    assert facts["place"].distinct == pytest.approx(rows, rel=0.1)
    assert (facts["place"].minimum, facts["place"].maximum, facts["place"].suspicion) == (1, rows, "row number")


def test_nothing_is_reported_of_nothing(tmp_path):
    frame().to_parquet(tmp_path / "a.parquet")
    table = prepare(task(tmp_path)).table
    assert report_columns(table.take(np.zeros(len(table), dtype=bool)), {}, {}) == ()
