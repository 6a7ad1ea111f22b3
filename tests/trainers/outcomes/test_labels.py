import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from divisions.errors import InputError
from divisions.pipeline.definition import DataFormat, Label
from divisions.settings import S3Settings
from trainers.outcomes.labels import Columns, Outcome, read_labels


def read(path, columns=None, label=None):
    columns = columns or Columns("customer_id", "churn", "ended")
    return read_labels(str(path), columns, label or Label(), s3=S3Settings(), allow_buckets=(), form=DataFormat())


DIRTY = """customer_id;churn;ended
1;yes;2026-01-10
2.0; NO ;2026-01-11 12:00:00
1;yes;2026-01-05
3;yes;2026-01-10
3;no;2026-01-11
;yes;2026-01-10
4;;2026-01-10
5;perhaps;2026-01-10
6;yes;yesterday
"""


def test_what_is_dirty_is_told_and_left_out(tmp_path):
    (tmp_path / "labels.csv").write_text(DIRTY)
    found = read(tmp_path / "labels.csv")
    assert found.outcomes == (Outcome("1", True, 1_767_571_200.0), Outcome("2", False, 1_768_132_800.0))
    assert (found.rows, found.without_id, found.without_label, found.without_time) == (9, 1, 2, 1)
    assert (found.repeated, found.conflicting) == (2, 1)


def test_parquet_without_a_time_is_read_too(tmp_path):
    path = tmp_path / "labels.parquet"
    pq.write_table(pa.table({"id": [7, 8], "left": [True, False]}), path)
    assert read(path, Columns("id", "left")).outcomes == (Outcome("7", True, None), Outcome("8", False, None))


def test_words_of_the_users_own_are_those_of_the_pipeline_file(tmp_path):
    (tmp_path / "labels.csv").write_text("customer_id,churn\n1,Churned\n2,Stayed\n")
    columns = Columns("customer_id", "churn")
    with pytest.raises(InputError, match="neither yes/no, true/false nor 1/0"):
        read(tmp_path / "labels.csv", columns)
    found = read(tmp_path / "labels.csv", columns, Label(positive=("churned",)))
    assert [each.is_positive for each in found.outcomes] == [True, False]


def test_a_label_of_lists_or_objects_is_told_as_that(tmp_path):
    """As `DataFrame.to_json` writes a table by default: one object for each column."""
    (tmp_path / "labels.json").write_text('{"customer_id": {"0": "1", "1": "2"}, "churn": {"0": "yes", "1": "no"}}')
    pq.write_table(pa.table({"customer_id": ["1", "2"], "churn": [["yes"], ["no"]]}), tmp_path / "labels.parquet")
    for name in ("labels.json", "labels.parquet"):
        with pytest.raises(InputError, match=r"'churn' of .* has no single values, but lists or objects"):
            read(tmp_path / name, Columns("customer_id", "churn"))


def test_a_column_that_is_not_there_is_named(tmp_path):
    (tmp_path / "labels.csv").write_text("customer,churn\n1,yes\n")
    with pytest.raises(InputError, match="no column 'customer_id', only customer, churn"):
        read(tmp_path / "labels.csv")
