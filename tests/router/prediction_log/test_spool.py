import errno
import os

import pytest

from router.prediction_log import spool
from router.prediction_log.batches import BatchMaker
from tests.router.prediction_log.logged import entry, opened, rows_of

TARGET = "/place\nchurn/date=2026-01-01/1.parquet"


def batch(*numbers: int) -> bytes:
    return bytes(BatchMaker(opened(), b"key").batch([rows_of(0.0, *[entry(number) for number in numbers])]).serialize())


def new_file(folder, name="gw-1"):
    return spool.create(folder, name, BatchMaker(opened(), b"key").schema, TARGET)


def minutes(table) -> list[float]:
    return [row["minutes"] for row in table["features"].to_pylist()]


def test_rows_come_back_with_the_place_where_they_belong(tmp_path):
    file = new_file(tmp_path)
    file.append(batch(1, 2), 2)
    file.append(batch(3), 1)
    table, target = file.read()
    assert (minutes(table), target, file.rows) == ([1.0, 2.0, 3.0], TARGET, 3)
    assert file.size == file.path.stat().st_size


def test_a_file_whose_writer_lives_is_not_taken_over(tmp_path):
    file = new_file(tmp_path)
    assert list(spool.adopt(tmp_path)) == []
    file.close()
    (adopted,) = spool.adopt(tmp_path)
    assert list(spool.adopt(tmp_path)) == [], "nor by two"
    adopted.remove()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("cut", [1, 7, 100])
def test_what_is_whole_counts_when_a_writer_died_in_the_middle_of_a_batch(tmp_path, cut):
    file = new_file(tmp_path)
    file.append(batch(1), 1)
    file.append(batch(2), 1)
    os.truncate(file.path, file.size - cut)
    table, target = file.read()
    assert (minutes(table), target) == ([1.0], TARGET)


@pytest.mark.parametrize("size", [0, 5, 300])
def test_a_file_without_a_whole_row_has_none(tmp_path, size):
    file = new_file(tmp_path)
    file.append(batch(1), 1)
    os.truncate(file.path, size)
    assert file.read()[0] is None


def test_a_disk_that_gets_full_in_the_middle_leaves_the_file_as_it_was(tmp_path):
    file = new_file(tmp_path)
    file.append(batch(1), 1)

    def half(descriptor: int, data: bytes) -> int:
        if len(data) < len(batch(2)):
            raise OSError(errno.ENOSPC, "No space left on device")
        return os.write(descriptor, data[:40])

    with pytest.raises(OSError, match="No space left"):
        file.append(batch(2), 1, half)
    file.append(batch(3), 1)
    assert minutes(file.read()[0]) == [1.0, 3.0]


def test_the_last_of_a_disk_is_left_to_others(tmp_path, monkeypatch):
    file = new_file(tmp_path)
    monkeypatch.setattr(spool, "MIN_FREE_BYTES", 1 << 60)
    with pytest.raises(OSError, match="No space left"):
        file.append(batch(1), 1)
    assert file.read()[0] is None
    with pytest.raises(OSError, match="No space left"):
        new_file(tmp_path, "gw-2")
    assert [path.name for path in tmp_path.iterdir()] == ["gw-1.arrows"], "no file without a head"


def test_only_the_owner_can_read_the_spool(tmp_path):
    file = new_file(tmp_path / "spool")
    assert file.path.stat().st_mode & 0o777 == 0o600
    assert file.path.parent.stat().st_mode & 0o777 == 0o700
