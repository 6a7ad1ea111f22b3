"""A journal that cannot be written: a canary that fails loses its traffic at once, and nothing raises a weight."""

import contextlib
import resource
import sqlite3
import subprocess

import pytest

from divisions.control import RolloutCommand
from divisions.errors import JournalUnavailableError
from router.http import problem
from router.journal.journal import Journal
from router.journal.sqlite import SqliteDatabase
from router.journal.writer import EPOCH_LEAP
from tests.router.rollout_world import World, spec

FULL = "database or disk is full"


@pytest.fixture
def world(tmp_path, make_database):
    it = World(tmp_path, make_database=make_database)
    it.deploy_first()
    it.controller.start_rollout(spec("3.2"))
    it.until("STEP")
    return it


def entries(world):
    return [entry.kind.value for entry in world.journal.entries("churn")]


def test_a_bad_canary_loses_its_traffic_as_soon_as_with_a_good_disk(tmp_path):
    seconds = {}
    for is_disk_full in (False, True):
        folder = tmp_path / str(is_disk_full)
        folder.mkdir()
        it = World(folder)
        it.deploy_first()
        it.controller.start_rollout(spec("3.2"))
        it.until("STEP")
        it.is_disk_full = is_disk_full
        it.latency_s["3.2"] = 0.02
        seconds[is_disk_full] = it.until("ROLLING_BACK")
        assert it.weights() == {"3.1": 10_000, "3.2": 0}
        assert it.status().explanation.guard == "latency"
    assert seconds[True] == seconds[False]


@pytest.mark.parametrize("command", ["abort", "rollback"])
def test_abort_and_rollback_are_carried_out_and_say_that_they_are_not_on_disk(world, command):
    world.is_disk_full = True
    answer = world.controller.command(RolloutCommand("churn", command))
    world._follow_table()
    assert (answer.phase, answer.actual_weight_bp) == ("ROLLING_BACK", 0)
    assert world.weights() == {"3.1": 10_000, "3.2": 0}
    assert FULL in answer.unwritten
    assert "since" in answer.unwritten
    status = world.controller.status()
    assert FULL in status.journal_fault
    assert status.unwritten == 1


def test_what_was_kept_is_written_as_soon_as_the_disk_is_free_and_replicas_stop_only_then(world):
    before = entries(world)
    world.is_disk_full = True
    world.controller.command(RolloutCommand("churn", "abort"))
    world.seconds(30)
    assert world.status().phase == "DRAINING"
    assert "churn-predictor-v3.2" in world.controller.wanted()
    assert entries(world) == before
    world.is_disk_full = False
    world.seconds(2)
    status = world.controller.status()
    assert (status.journal_fault, status.unwritten, world.status().unwritten) == ("", 0, "")
    assert world.status().phase == "ROLLED_BACK"
    assert entries(world)[len(before) :] == ["ROLLBACK_INTENT", "ROLLBACK_APPLIED", "DRAINED"]
    assert "churn-predictor-v3.2" not in world.controller.wanted()
    world.restart_controller()
    assert world.status().phase == "ROLLED_BACK"
    assert world.journal.epoch >= world.table.epoch


def test_no_step_passes_while_the_journal_cannot_be_written_and_it_passes_afterwards(world):
    weight_bp = world.status().actual_weight_bp
    world.is_disk_full = True
    world.seconds(60)
    assert (world.status().phase, world.status().actual_weight_bp) == ("STEP", weight_bp)
    world.is_disk_full = False
    world.until("PROMOTED")


@pytest.mark.parametrize("command", ["promote", "resume"])
def test_a_command_that_needs_the_disk_is_refused_by_cause_and_remedy(world, command):
    if command == "resume":
        world.controller.command(RolloutCommand("churn", "pause"))
    before = world.status()
    world.is_disk_full = True
    with pytest.raises(JournalUnavailableError, match=FULL) as caught:
        world.controller.command(RolloutCommand("churn", command))
    assert "until then weights can fall, but not rise" in caught.value.remedy
    assert problem.status_of(caught.value) == 503
    assert world.status() == before


def test_a_new_rollout_is_refused_and_changes_nothing(world):
    world.until("PROMOTED")
    world.is_disk_full = True
    with pytest.raises(JournalUnavailableError, match=FULL):
        world.controller.start_rollout(spec("3.3"))
    assert world.status().canary_version == "3.2"
    assert world.status().evidence.threshold, "the last rollout's evidence is still there"


def test_a_pause_is_carried_out_without_the_disk(world):
    world.is_disk_full = True
    assert world.controller.command(RolloutCommand("churn", "pause")).phase == "HOLD"
    world.seconds(3)
    world.is_disk_full = False
    world.seconds(2)
    world.restart_controller()
    assert world.status().phase == "HOLD"


def test_new_replicas_are_routed_to_while_the_journal_is_away(world):
    world.is_disk_full = True
    world.silent.add("3.1")
    world.seconds(10)
    without = {len(route.replicas) for route in world.table.endpoints[0].versions}
    world.silent.clear()
    world.seconds(3)
    assert {len(route.replicas) for route in world.table.endpoints[0].versions} == {2}
    assert without, "silent replicas stay as a last resort"


def test_a_rollback_that_never_reached_the_disk_is_not_undone_by_a_restart(world):
    """The journal replays a step; gateways have a table that it does not know. So the canary is rolled back again."""
    known = world.journal.epoch
    world.is_disk_full = True
    world.controller.command(RolloutCommand("churn", "abort"))
    world._follow_table()
    assert world.table.epoch >= known + EPOCH_LEAP
    world.is_disk_full = False
    world.restart_controller()
    assert world.status().phase == "STEP", "so says the journal"
    for _ in range(30):
        world.second()
        assert world.weights().get("3.2", 0) == 0
    assert world.status().phase == "ROLLED_BACK"
    assert world.status().explanation.guard == "journal"
    assert "a rollback may be missing" in world.status().message
    world.controller.start_rollout(spec("3.2"))  # That was no fault of the version: no --force is needed.


def test_a_restart_on_a_full_disk_goes_on_too(world):
    world.is_disk_full = True
    world.controller.command(RolloutCommand("churn", "abort"))
    world.second()
    world.restart_controller()
    for _ in range(30):
        world.second()
        assert world.weights().get("3.2", 0) == 0
    assert world.status().phase == "DRAINING"


def test_a_real_limit_of_file_size_is_told_like_a_full_disk(tmp_path):
    """No stand-in: SQLite itself cannot make its files longer."""
    world = World(tmp_path)
    world.deploy_first()
    world.controller.start_rollout(spec("3.2"))
    world.until("STEP")
    with contextlib.closing(sqlite3.connect(tmp_path / "journal.db")) as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1, hard))
    try:
        answer = world.controller.command(RolloutCommand("churn", "abort"))
        world._follow_table()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert world.weights()["3.2"] == 0
    assert answer.unwritten
    world.seconds(12)
    assert (world.status().phase, world.status().unwritten) == ("ROLLED_BACK", "")


def test_every_error_of_the_database_names_the_file(tmp_path):
    database = SqliteDatabase(tmp_path / "journal.db")
    journal = Journal(database)
    with database.read() as connection:
        connection.exec_driver_sql("PRAGMA query_only=ON")
    with pytest.raises(JournalUnavailableError, match=r"journal\.db cannot be written: attempt to write a readonly"):
        journal.reserve_epoch(5)
    assert sqlite3.Error not in JournalUnavailableError.__mro__


def test_an_abort_before_the_first_weight_is_not_forgotten_either(tmp_path):
    world = World(tmp_path)
    world.deploy_first()
    world.silent.add("3.2")
    world.controller.start_rollout(spec("3.2"))
    world.until("WARMING")
    world.is_disk_full = True
    world.controller.command(RolloutCommand("churn", "abort"))
    world._follow_table()
    world.is_disk_full = False
    world.restart_controller()
    world.silent.clear()
    for _ in range(30):
        world.second()
        assert world.weights().get("3.2", 0) == 0
    assert world.status().phase == "ROLLED_BACK"


@pytest.fixture
def small_disk(tmp_path):
    """A tmpfs of 2 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", folder], check=False).returncode != 0:
        pytest.skip("mounting needs root")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


def fill(folder):
    with (folder / "filler").open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(4096))


def test_a_slow_canary_on_a_full_disk_has_no_traffic_after_15_s_and_that_is_written_later(
    small_disk,
):
    world = World(small_disk)
    world.deploy_first()
    world.controller.start_rollout(spec("3.2"))
    world.until("STEP")
    fill(small_disk)
    world.latency_s["3.2"] = 0.02
    for _ in range(15):
        world.second()
    assert world.weights() == {"3.1": 10_000, "3.2": 0}
    status = world.controller.status()
    assert FULL in status.journal_fault
    assert status.unwritten
    (small_disk / "filler").unlink()
    world.seconds(2)
    assert world.controller.status().journal_fault == ""
    world.restart_controller()
    world.until("ROLLED_BACK")
    assert "ROLLBACK_INTENT" in entries(world)


def test_a_controller_starts_again_on_a_disk_that_is_full(small_disk):
    world = World(small_disk)
    world.deploy_first()
    world.controller.start_rollout(spec("3.2"))
    world.until("STEP")
    fill(small_disk)
    world.restart_controller()
    world.controller.command(RolloutCommand("churn", "abort"))
    world.seconds(20)
    assert world.weights()["3.2"] == 0
    (small_disk / "filler").unlink()
    world.seconds(2)
    world.until("ROLLED_BACK")
