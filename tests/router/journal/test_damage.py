"""Damage to the journal is refused at start, and a kept copy brings it back."""

import contextlib
import random
import shutil
import sqlite3
from pathlib import Path

import pytest

from divisions import cli
from divisions.control import RolloutCommand
from divisions.errors import ClusterError, DivisionsError, JournalDamagedError
from router.journal import copies as journal_copies
from router.journal.copies import MAX_COPIES, check, make_copy, restore
from router.journal.journal import Journal
from router.journal.sqlite import SqliteDatabase, verify_file
from tests.router.rollout_world import World, spec

FLIPS = 150
"""Per file: a sample of some thousand bits."""


def database_in(folder):
    return SqliteDatabase(folder / "journal.db")


@pytest.fixture
def home(tmp_path):
    """A home whose controller was killed in the middle of a second rollout, with all of it in the write-ahead log."""
    folder = tmp_path / "home"
    folder.mkdir()
    world = World(folder)
    world.deploy_first()
    world.controller.start_rollout(spec("3.2"))
    world.until("STEP")
    world.seconds(15)
    killed = tmp_path / "killed"
    shutil.copytree(folder, killed)
    world.journal.close()
    return killed


def contents(path):
    """Everything that a controller reads."""
    journal = Journal(SqliteDatabase(path))
    try:
        snapshots = [journal.snapshot("churn", record.rollout.number) for record in journal.replay().values()]
        versions = [journal.version("churn", name) for name in journal.versions("churn")]
        return journal.replay(), journal.epoch, journal.starts, journal.rollbacks(), versions, snapshots
    finally:
        journal.close()


def flip(path, bit):
    data = bytearray(path.read_bytes())
    data[bit // 8] ^= 1 << bit % 8
    path.write_bytes(data)


@pytest.mark.parametrize("name", ["journal.db", "journal.db-wal", "journal.head"])
def test_a_flipped_bit_never_gives_another_state_in_silence(home, tmp_path, name):
    closed = tmp_path / "closed"
    shutil.copytree(home, closed)
    before = contents(closed / "journal.db")  # and merges the log
    source = closed if name == "journal.db" else home
    generator = random.Random(name)
    size = 8 * (source / name).stat().st_size
    refused = 0
    for number in range(FLIPS):
        folder = tmp_path / f"flip-{number}"
        shutil.copytree(source, folder)
        flip(folder / name, generator.randrange(size))
        after = before
        try:
            after = contents(folder / "journal.db")
        except JournalDamagedError:
            refused += 1
        assert after == before
        shutil.rmtree(folder)
    assert refused > FLIPS // 10 or name == "journal.head"


def pause_and_resume(world):
    for name in ("pause", "resume"):
        world.controller.command(RolloutCommand("churn", name))


def damage_record(path):
    flip(path, 8 * path.read_bytes().index(b"churn-predictor"))


def cut_wal(home):
    path = home / "journal.db-wal"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def lose_wal(home):
    (home / "journal.db-wal").unlink()


def damage_header(home):
    with (home / "journal.db-wal").open("r+b") as file:
        file.write(b"\0" * 32)


def empty(home):
    for name in ("journal.db-wal", "journal.db-shm"):
        (home / name).unlink()
    (home / "journal.db").write_bytes(b"")


def lose(home):
    for name in ("journal.db", "journal.db-wal", "journal.db-shm"):
        (home / name).unlink()


def lose_head(home):
    (home / "journal.head").unlink()


def forge_old_format(home):
    with sqlite3.connect(home / "journal.db") as db:
        db.execute("UPDATE meta SET value = 1 WHERE name = 'schema'")
        db.execute("DROP TABLE alembic_version")


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (cut_wal, "last .* writes are missing"),
        (lose_wal, "is damaged"),
        (damage_header, "is damaged"),
        (empty, "is empty, but there was one"),
        (lose, "is missing, but there was one"),
        (lose_head, "journal.head is missing"),
        (forge_old_format, "its format is not as it was written"),
    ],
)
def test_each_damage_is_refused_with_the_remedy(home, damage, words):
    damage(home)
    with pytest.raises(JournalDamagedError, match=words) as caught:
        Journal(SqliteDatabase(home / "journal.db"))
    assert "divisions journal restore" in caught.value.remedy
    with pytest.raises(JournalDamagedError):
        Journal(SqliteDatabase(home / "journal.db"))  # A second try is refused too: the first has not hidden anything.


@pytest.mark.parametrize(
    "table", ["journal", "version", "snapshot", "meta", "seal", "anchor", "controller", "alembic_version"]
)
def test_a_row_that_was_changed_or_removed_with_sqlite_itself_is_found(home, table):
    for change in (f"DELETE FROM {table} WHERE rowid = (SELECT max(rowid) FROM {table})",):
        with sqlite3.connect(home / "journal.db") as db:
            db.execute(change)
        with pytest.raises(JournalDamagedError):
            verify_file(home / "journal.db")


def test_what_a_kill_leaves_behind_is_whole(home):
    assert verify_file(home / "journal.db").writes > 10
    (replayed,) = Journal(SqliteDatabase(home / "journal.db")).replay().values()
    assert replayed.rollout.spec.version.version == "3.2"


def test_a_journal_without_checksums_is_read_and_sealed(home, tmp_path):
    path = home / "journal.db"
    before = contents(path)
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as db:
        for statement in (
            "DROP TABLE seal",
            "DROP TABLE anchor",
            "DROP TABLE controller",
            "DROP TABLE alembic_version",
            "ALTER TABLE version DROP COLUMN number",
            "DELETE FROM meta WHERE name = 'journal'",
            "ALTER TABLE journal DROP COLUMN chain",
            "ALTER TABLE version DROP COLUMN sum",
            "ALTER TABLE snapshot DROP COLUMN sum",
            "UPDATE journal SET seq = seq + 1000",
            "UPDATE meta SET value = 1 WHERE name = 'schema'",
        ):
            db.execute(statement)
    (home / "journal.head").unlink()
    assert contents(path) == before
    assert verify_file(path) is not None
    with contextlib.closing(sqlite3.connect(path)) as db:
        db.execute("VACUUM")  # Otherwise the first place of the text may be a page that is free.
    damage_record(path)
    with pytest.raises(JournalDamagedError):
        contents(path)


def test_copies_are_whole_are_bounded_and_are_made_only_of_changes(home):
    world = World(home)
    assert make_copy(database_in(home)) is not None
    assert make_copy(database_in(home)) is None
    world.journal.reserve_epoch(10_000)
    assert make_copy(database_in(home)) is None, "an epoch is no decision"
    for _ in range(MAX_COPIES + 3):
        pause_and_resume(world)
        assert make_copy(database_in(home)) is not None
    journal, *copies = check(database_in(home))
    assert len(copies) == MAX_COPIES
    assert {found.fault for found in (journal, *copies)} == {""}
    assert [found.writes for found in copies] == sorted({found.writes for found in copies}, reverse=True)
    assert copies[0].writes == journal.writes
    assert (copies[0].path.stat().st_mode & 0o077, list(copies[0].path.parent.glob("*-wal"))) == (0, [])


def test_the_newest_whole_copy_is_restored_and_the_damage_is_kept(home):
    world = World(home)
    world.second()
    first = make_copy(database_in(home))
    pause_and_resume(world)
    second = make_copy(database_in(home))
    world.journal.close()
    damage_record(second)
    (home / "journal.db").write_bytes(b"")
    assert [bool(found.fault) for found in check(database_in(home))] == [True, True, False]
    chosen = restore(database_in(home), home / "aside")
    assert chosen.path == first
    assert (home / "aside" / "journal.db").exists()
    assert (home / "aside" / "journal.head").exists()
    again = World(home)
    assert again.status().canary_version == "3.2"
    again.seconds(3)


def test_a_journal_that_is_whole_but_for_its_head_is_restored_from_itself(home):
    before = verify_file(home / "journal.db").writes
    lose_head(home)
    assert restore(database_in(home), home / "aside").writes == before
    assert verify_file(home / "journal.db").writes == before


def test_without_a_whole_copy_nothing_is_touched(home):
    empty(home)
    names = sorted(path.name for path in home.iterdir())
    with pytest.raises(ClusterError, match="no whole copy"):
        restore(database_in(home), home / "aside")
    assert sorted(path.name for path in home.iterdir()) == names


def test_a_canary_of_a_restored_journal_gets_no_traffic_back(tmp_path):
    """The copy is of the first step; the rollout was rolled back later. Gateways know the later table."""
    world = World(tmp_path)
    world.deploy_first()
    world.controller.start_rollout(spec("3.2"))
    world.until("STEP")
    make_copy(database_in(tmp_path))
    world.latency_s["3.2"] = 0.02
    world.until("ROLLED_BACK")
    world.journal.close()
    (tmp_path / "journal.db").write_bytes(b"")
    restore(database_in(tmp_path), tmp_path / "aside")
    world.start_controller()
    world.latency_s.clear()
    assert world.status().phase == "STEP"
    for _ in range(25):
        world.second()
        assert world.weights().get("3.2", 0) == 0
    assert world.status().phase == "ROLLED_BACK"


def test_the_commands_check_and_restore(home, monkeypatch, capsys):
    monkeypatch.setenv("DIVISIONS_HOME", str(home))
    make_copy(database_in(home))
    assert cli.execute(["journal", "check"]) == 0
    assert capsys.readouterr().out.count("whole") == 2
    cut_wal(home)
    assert cli.execute(["journal", "check"]) == 1
    assert "damaged: the journal" in capsys.readouterr().out
    assert cli.execute(["journal", "restore"]) == 0
    assert "restored" in capsys.readouterr().out
    assert cli.execute(["journal", "check", "-o", "json"]) == 0
    assert cli.execute(["journal", "restore", str(home / "none.db")]) == 1


def test_a_head_that_cannot_be_written_is_caught_up_before_the_next_write(tmp_path):
    journal = Journal(SqliteDatabase(tmp_path / "journal.db"))
    journal.reserve_epoch(1)
    (tmp_path / "journal.head").rename(tmp_path / "moved")
    (tmp_path / "journal.head").mkdir()
    journal.reserve_epoch(2)  # The entry is on disk, its head is not.
    with pytest.raises(DivisionsError, match="cannot be written"):
        journal.reserve_epoch(3)
    (tmp_path / "journal.head").rmdir()
    (tmp_path / "moved").rename(tmp_path / "journal.head")
    verify_file(tmp_path / "journal.db")
    journal.reserve_epoch(3)
    assert verify_file(tmp_path / "journal.db").writes == 3


def test_the_copies_folder_is_private(home):
    assert make_copy(database_in(home)).parent == Path(home) / journal_copies.COPIES
    assert (home / journal_copies.COPIES).stat().st_mode & 0o077 == 0


def test_a_journal_without_entries_is_not_copied(tmp_path):
    Journal(SqliteDatabase(tmp_path / "journal.db")).count_start()
    assert make_copy(database_in(tmp_path)) is None
    assert not (tmp_path / journal_copies.COPIES).exists()
