"""The journal's tables: those of a new journal are those that the migrations make, and old journals are read."""

import contextlib
import shutil
import sqlite3
import sys
import tarfile
from pathlib import Path

import pytest
from sqlalchemy import insert, inspect

from divisions.errors import ClusterError, JournalDamagedError
from router.journal import copies, schema, tables
from router.journal.journal import Journal
from router.journal.sqlite import SqliteDatabase
from router.journal.verify import verify
from tests.router.rollout_world import World

FIXTURE = Path(__file__).parents[2] / "fixtures" / "home-0.tar.xz"


def columns_of(connection, name):
    """Every column of every table: name, kind, whether it may be empty, whether it is in the key."""
    inspector = inspect(connection)
    return {
        table: [
            (each["name"], str(each["type"]), each["nullable"], each["name"] in keys)
            for each in inspector.get_columns(table, name)
        ]
        for table in sorted(inspector.get_table_names(name))
        for keys in [set(inspector.get_pk_constraint(table, name)["constrained_columns"])]
    }


def schema_name(database):
    return getattr(getattr(database, "_url", None), "schema", None)


def test_migrations_make_the_tables_of_a_new_journal(tmp_path, make_database):
    """From the first format to the last, on both databases."""
    (tmp_path / "new").mkdir()
    (tmp_path / "old").mkdir()
    new, old = make_database(tmp_path / "new"), make_database(tmp_path / "old")
    Journal(new).close()
    Journal(old).close()
    with _connection_of(old) as connection:
        tables.metadata.drop_all(connection)
        if schema_name(old):
            connection.exec_driver_sql(f'SET LOCAL search_path TO "{schema_name(old)}"')
        schema.migrate(connection, "", schema_name(old))
        verify(connection)
    with new.view() as connection:
        expected = columns_of(connection, schema_name(new))
    with old.view() as connection:
        assert columns_of(connection, schema_name(old)) == expected
    assert set(expected) == set(tables.metadata.tables)
    make_database(tmp_path / "old").trust()  # The head is of the journal that was there first.
    Journal(make_database(tmp_path / "old")).reserve_epoch(3)


@contextlib.contextmanager
def _connection_of(database):
    if isinstance(database, SqliteDatabase):
        with database._engine.connect() as connection, connection.begin():
            yield connection
    else:
        connection = database._connect()
        from router.journal.postgres import OPEN_S, _limit

        _limit(connection, OPEN_S)
        with connection.begin():
            yield connection
        connection.close()


@pytest.fixture
def old_home(tmp_path):
    """The home that the release before wrote."""
    home = tmp_path / "home"
    home.mkdir()
    with tarfile.open(FIXTURE) as archive:
        archive.extractall(home, members=[each for each in archive if each.name.startswith("journal")], filter="data")
    return home


def test_the_journal_of_the_release_before_is_brought_up_to_date_and_goes_on(old_home):
    with contextlib.closing(sqlite3.connect(old_home / "journal.db")) as db:
        (epoch,) = db.execute("SELECT value FROM meta WHERE name = 'epoch'").fetchone()
        names = [row[0] for row in db.execute("SELECT version FROM version ORDER BY rowid")]
        notes = [row[0] for row in db.execute("SELECT note FROM journal ORDER BY seq")]
    (endpoint,) = Journal(SqliteDatabase(old_home / "journal.db")).replay()
    journal = Journal(SqliteDatabase(old_home / "journal.db"))
    assert (journal.epoch, journal.versions(endpoint)) == (epoch, names)
    assert [entry.note for entry in journal.entries(endpoint)] == notes
    journal.reserve_epoch(epoch + 1)
    journal.close()
    assert SqliteDatabase(old_home / "journal.db").check() is not None


def test_the_journal_of_the_release_before_is_checked_by_its_own_checksums_first(old_home):
    with contextlib.closing(sqlite3.connect(old_home / "journal.db", isolation_level=None)) as db:
        db.execute("UPDATE journal SET note = 'x' WHERE seq = 1")
    for _ in range(2):
        with pytest.raises(JournalDamagedError, match="entry 1 is not as it was written"):
            Journal(SqliteDatabase(old_home / "journal.db"))


def test_a_kill_between_the_migration_and_its_head_is_no_damage(old_home):
    head = (old_home / "journal.head").read_bytes()
    Journal(SqliteDatabase(old_home / "journal.db")).close()
    (old_home / "journal.head").write_bytes(head)
    with contextlib.closing(sqlite3.connect(old_home / "journal.db", isolation_level=None)) as db:
        (writes,) = db.execute("SELECT writes FROM seal").fetchone()
    assert SqliteDatabase(old_home / "journal.db").check().writes == writes


def test_a_copy_of_the_release_before_is_listed_and_put_back(old_home, tmp_path, make_database):
    copy = tmp_path / "copy.db"
    shutil.copy(old_home / "journal.db", copy)
    (tmp_path / "other").mkdir()
    database = make_database(tmp_path / "other")
    found = copies.restore(database, tmp_path / "aside", copy)
    assert found.writes > 0
    assert Journal(make_database(tmp_path / "other")).replay()


def test_alembic_is_imported_only_when_there_is_something_to_do(tmp_path, monkeypatch):
    for name in [name for name in sys.modules if name.partition(".")[0] == "alembic"]:
        monkeypatch.delitem(sys.modules, name)
    World(tmp_path)
    World(tmp_path)
    assert "alembic" not in sys.modules


def test_a_journal_of_a_later_release_is_refused_on_both_databases(tmp_path, make_database):
    database = make_database(tmp_path)
    journal = Journal(database)
    with database.write() as connection:
        connection.execute(tables.alembic_version.update().values(version_num="0099"))
    journal.close()
    with pytest.raises(ClusterError, match="has format 0099, this release reads formats up to 0003"):
        Journal(make_database(tmp_path))


def test_a_journal_with_two_formats_is_damaged(tmp_path, make_database):
    database = make_database(tmp_path)
    journal = Journal(database)
    with database.write() as connection:
        connection.execute(insert(tables.alembic_version).values(version_num="0002"))
    journal.close()
    with pytest.raises(JournalDamagedError, match="its format is missing"):
        Journal(make_database(tmp_path))
