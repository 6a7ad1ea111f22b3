"""The journal: what was written is there after a kill, and a file that is none is refused by name."""

import sqlite3

import msgspec
import pytest

from divisions.errors import ClusterError, JournalDamagedError
from router.journal.journal import Journal, Kind
from router.journal.sqlite import SqliteDatabase
from router.rollouts import records
from tests.router.rollout_world import spec, version


def record(label="3.1", before=None):
    return records.begun(before, spec(label), salt="s", is_direct=False, at_s=1.0, now_s=2.0)


def test_replay_gives_the_last_record_of_every_endpoint(tmp_path, make_database):
    journal = Journal(make_database(tmp_path))
    first, second = record(), record("3.2")
    other = msgspec.structs.replace(record("9.1"), endpoint="fraud")
    for entry in (first, other, second):
        journal.append(Kind.CREATED, entry, at_s=5.0, epoch=1, note="created")
    journal.close()
    assert Journal(make_database(tmp_path)).replay() == {"churn": second, "fraud": other}


def test_entries_keep_their_order_and_words(tmp_path, make_database):
    journal = Journal(make_database(tmp_path))
    journal.append(Kind.CREATED, record(), at_s=5.0, epoch=3, note="3.1 created")
    journal.append(Kind.STEP_INTENT, record(), at_s=6.0, epoch=4, note="20 %")
    entries = journal.entries("churn")
    assert [(entry.kind, entry.epoch, entry.note) for entry in entries] == [
        (Kind.CREATED, 3, "3.1 created"),
        (Kind.STEP_INTENT, 4, "20 %"),
    ]
    assert journal.entries("fraud") == []


def test_every_write_is_synchronous_and_in_the_write_ahead_log(tmp_path):
    database = SqliteDatabase(tmp_path / "journal.db")
    Journal(database).count_start()
    with database.read() as connection:
        assert connection.exec_driver_sql("PRAGMA synchronous").one() == (2,)
        assert connection.exec_driver_sql("PRAGMA journal_mode").one() == ("wal",)


def test_versions_are_remembered_for_a_way_back(tmp_path, make_database):
    journal = Journal(make_database(tmp_path))
    journal.save_version("churn", version("3.1"))
    journal.save_version("churn", version("3.2"))
    assert journal.version("churn", "3.1") == version("3.1")
    assert journal.version("churn", "9.9") is None
    assert journal.versions("churn") == ["3.1", "3.2"]
    assert journal.app_names() == {"churn-predictor-v3.1", "churn-predictor-v3.2"}


def test_epochs_and_starts_survive(tmp_path, make_database):
    journal = Journal(make_database(tmp_path))
    journal.reserve_epoch(41)
    assert journal.count_start() == 1
    journal.close()
    journal = Journal(make_database(tmp_path))
    assert journal.epoch == 41
    assert journal.count_start() == 2


def test_a_file_that_is_no_journal_is_refused_by_name(tmp_path):
    path = tmp_path / "journal.db"
    path.write_bytes(b"this is not a database, whatever its name says" * 100)
    with pytest.raises(JournalDamagedError, match=r"journal\.db is damaged: it cannot be read: file is not a database"):
        Journal(SqliteDatabase(path))


def test_a_journal_of_another_format_is_refused(tmp_path):
    Journal(SqliteDatabase(tmp_path / "journal.db")).close()
    with sqlite3.connect(tmp_path / "journal.db") as db:
        db.execute("UPDATE alembic_version SET version_num = '0099'")
    with pytest.raises(ClusterError, match="format 0099, this release reads formats up to 0003"):
        Journal(SqliteDatabase(tmp_path / "journal.db"))


@pytest.mark.parametrize("when_s", [0.0, 1e9])
def test_a_new_rollout_lets_go_of_what_was_kept_for_the_last_one(when_s):
    kept = msgspec.structs.replace(record(), retiring=(records.Retiring(version("3.0"), 2e9),))
    assert set(records.wanted_versions(kept, when_s)) == {"churn-predictor-v3.0", "churn-predictor-v3.1"}
    assert set(records.wanted_versions(record("3.2", kept), when_s)) == {"churn-predictor-v3.2"}
