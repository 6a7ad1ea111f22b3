import datetime as dt

import pyarrow as pa
import pytest

from divisions.errors import ArtifactStoreError
from divisions.settings import S3Settings
from trainers.outcomes.join import COLUMNS, join, read_log


def log(*rows: tuple[float, str, str | None, str, float]) -> pa.Table:
    columns = list(zip(*rows, strict=True)) or [()] * 5
    times = [dt.datetime.fromtimestamp(at_s, dt.UTC) for at_s in columns[0]]
    kinds = [pa.timestamp("us", "UTC"), pa.string(), pa.string(), pa.string(), pa.float32()]
    return pa.table(
        {name: pa.array(each, kind) for name, each, kind in zip(COLUMNS, [times, *columns[1:]], kinds, strict=True)}
    )


def found(joined) -> list[tuple[str, float, float, float]]:
    return [
        (str(version), float(at_s), float(label), round(float(score), 3))
        for version, at_s, label, score in zip(
            joined.versions_N, joined.times_N, joined.labels_N, joined.scores_N, strict=True
        )
    ]


def counts(joined) -> tuple[int, int, int, int]:
    return joined.joined, joined.unknown, joined.early, joined.ambiguous


LOG = log(
    (10.0, "r-1", "c-1", "3.1", 0.25),
    (20.0, "r-2", "c-1", "3.1", 0.5),
    (30.0, "r-3", "c-1", "3.2", 0.75),
    (40.0, "r-4", "c-2", "3.1", 0.125),
    (50.0, "r-5", None, "3.1", 0.375),
    (60.0, "r-6", "c-3", "3.1", 0.1),
    (60.0, "r-6", "c-4", "3.1", 0.2),
)


def test_a_customers_last_prediction_of_each_version_counts():
    joined = join(LOG, [("entity", "c-1", True, 100.0)])
    assert found(joined) == [("3.1", 20.0, 1.0, 0.5), ("3.2", 30.0, 1.0, 0.75)]
    assert counts(joined) == (1, 0, 0, 0)


def test_what_was_predicted_after_the_outcome_says_nothing():
    joined = join(LOG, [("entity", "c-1", True, 15.0), ("entity", "c-2", False, 39.0)])
    assert found(joined) == [("3.1", 10.0, 1.0, 0.25)]
    assert counts(joined) == (1, 0, 1, 0)


def test_an_outcome_without_a_time_belongs_to_the_last_prediction():
    assert found(join(LOG, [("entity", "c-2", False, None)])) == [("3.1", 40.0, 0.0, 0.125)]


def test_an_outcome_of_a_request_belongs_to_its_row_and_not_to_one_of_several():
    outcomes = [("request", "r-5", True, None), ("request", "r-6", True, None), ("request", "r-9", True, None)]
    joined = join(LOG, outcomes)
    assert found(joined) == [("3.1", 50.0, 1.0, 0.375)]
    assert counts(joined) == (1, 1, 0, 1)
    of_customers = join(LOG, [("entity", "c-3", True, None), ("entity", "c-4", False, None)])
    assert [each[2:] for each in found(of_customers)] == [(1.0, 0.1), (0.0, 0.2)]


def test_a_prediction_counts_once_though_its_request_and_its_customer_have_an_outcome():
    joined = join(LOG, [("entity", "c-2", False, None), ("request", "r-4", True, None)])
    assert found(joined) == [("3.1", 40.0, 1.0, 0.125)], "the request's is the nearer one"


def test_without_outcomes_or_without_a_log_there_is_nothing():
    assert found(join(LOG, [])) == []
    assert counts(join(log(), [("entity", "c-1", True, None)])) == (0, 1, 0, 0)


def test_a_log_that_is_not_there_is_empty_and_one_that_is_damaged_is_named(tmp_path):
    assert read_log(str(tmp_path), "churn", S3Settings()).num_rows == 0
    (tmp_path / "churn" / "date=2026-01-01").mkdir(parents=True)
    (tmp_path / "churn" / "date=2026-01-01" / "1.parquet").write_text("no Parquet")
    with pytest.raises(ArtifactStoreError, match="the prediction log in"):
        read_log(str(tmp_path), "churn", S3Settings())
