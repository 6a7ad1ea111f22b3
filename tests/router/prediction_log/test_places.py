import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from divisions.prediction_log import LogPolicy
from divisions.settings import S3Settings
from router.prediction_log import places
from tests.router.prediction_log.logged import entry, log

TABLE = pa.table({"score": [0.5, 0.25]})


def test_a_file_is_whole_in_its_folder_and_nothing_stays_aside(tmp_path):
    places.put(TABLE, str(tmp_path), "churn/date=2026-01-01/a.parquet", S3Settings())
    assert pq.read_table(tmp_path / "churn/date=2026-01-01/a.parquet", partitioning=None) == TABLE
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["a.parquet"]


def test_the_same_file_brought_twice_is_there_once(tmp_path):
    for _ in range(2):
        places.put(TABLE, str(tmp_path), "churn/a.parquet", S3Settings())
    assert pq.read_table(tmp_path / "churn").num_rows == 2


def test_a_full_disk_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(places, "MIN_FREE_BYTES", 1 << 60)
    with pytest.raises(OSError, match="No space left"):
        places.put(TABLE, str(tmp_path), "churn/a.parquet", S3Settings())
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_a_file_that_cannot_be_renamed_does_not_stay_aside(tmp_path):
    (tmp_path / "a.parquet").mkdir()
    with pytest.raises(OSError, match=r"a\.parquet"):
        places.put(TABLE, str(tmp_path), "a.parquet", S3Settings())
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_only_texts_that_repeat_have_a_dictionary(tmp_path):
    log(tmp_path, LogPolicy(10_000), entry(1, rows=5, key="c-1"), entry(2, key="c-2"))
    (path,) = (tmp_path / "predictions" / "churn").rglob("*.parquet")
    group = pq.ParquetFile(path).metadata.row_group(0)
    columns = [group.column(number) for number in range(group.num_columns)]
    found = {each.path_in_schema for each in columns if each.has_dictionary_page}
    assert found == {"entity", "model", "version", "features.plan"}
