"""The journal on a real PostgreSQL: killed, hung, restored from a backup, or in use by another cluster."""

import contextlib
import logging
import shutil
import time

import psycopg
import pytest

from divisions import cli
from divisions.control import RolloutCommand
from divisions.errors import (
    ClusterError,
    JournalDamagedError,
    JournalFencedError,
    JournalHeldError,
    JournalUnavailableError,
    SettingsError,
)
from divisions.settings import Settings
from router.journal import copies
from router.journal.fence import Holder
from router.journal.journal import Journal
from router.journal.opening import database_of
from router.journal.postgres import PostgresDatabase
from router.journal.sqlite import SqliteDatabase
from tests.router.rollout_world import World, spec
from tests.servers import PASSWORD

WRITE_S = 1.5


@pytest.fixture
def url(postgres_server):
    return postgres_server.new_database()


@pytest.fixture
def world(tmp_path, url):
    it = World(tmp_path, make_database=lambda folder: PostgresDatabase(url, folder, write_s=WRITE_S))
    it.deploy_first()
    it.controller.start_rollout(spec("3.2"))
    it.until("STEP")
    yield it
    it.journal.close()


def sql(url, *statements):
    with psycopg.connect(url.replace("+psycopg", ""), autocommit=True) as connection:
        for statement in statements:
            cursor = connection.execute(statement)
        return cursor.fetchall() if cursor.description else []


def until_written(world, at_most_s=60.0):
    """Lets seconds pass in the world until the journal answers; the search for a connection takes real time."""
    ends_s = time.monotonic() + at_most_s
    while world.controller.status().journal_fault:
        assert time.monotonic() < ends_s, world.controller.status().journal_fault
        time.sleep(0.05)
        world.second()


# ---- A server that is gone, or hangs ---------------------------------------------------------------------------------


@pytest.mark.parametrize("end", ["freeze", "kill"])
def test_a_bad_canary_loses_its_traffic_while_the_server_is_away_and_it_is_written_later(world, postgres_server, end):
    before = [entry.kind.value for entry in world.journal.entries("churn")]
    getattr(postgres_server, end)()
    slowest_s, away_s = 0.0, 0
    try:
        world.latency_s["3.2"] = 0.02
        while world.weights()["3.2"]:
            started_s = time.monotonic()
            world.second()
            slowest_s, away_s = max(slowest_s, time.monotonic() - started_s), away_s + 1
            assert away_s < 15
        for _ in range(5):
            world.second()
        status = world.controller.status()
        assert status.journal_fault
        assert status.unwritten
        assert world.status().unwritten
        with pytest.raises(JournalUnavailableError, match="cannot be written"):
            world.controller.start_rollout(spec("3.3"))
    finally:
        postgres_server.thaw() if end == "freeze" else postgres_server.start()
    assert slowest_s < WRITE_S + 20, "one wait for the deadline, then none"
    until_written(world)
    world.until("ROLLED_BACK")
    kinds = [entry.kind.value for entry in world.journal.entries("churn")][len(before) :]
    assert [kind for kind in kinds if kind not in {"DECISION", "STEP_APPLIED"}] == [
        "ROLLBACK_INTENT",
        "ROLLBACK_APPLIED",
        "DRAINED",
    ]
    world.restart_controller()
    assert world.status().phase == "ROLLED_BACK"


def test_no_step_passes_while_the_server_is_away_and_an_idle_controller_says_so(world, postgres_server):
    weight_bp = world.status().actual_weight_bp
    postgres_server.kill()
    try:
        world.seconds(3)
        assert world.controller.status().journal_fault, "nothing was to be written: a beat has found it"
        world.seconds(40)
        assert (world.status().phase, world.status().actual_weight_bp) == ("STEP", weight_bp)
        with pytest.raises(JournalUnavailableError):
            world.controller.command(RolloutCommand("churn", "promote"))
    finally:
        postgres_server.start()
    until_written(world)
    world.until("PROMOTED")


def test_a_controller_that_starts_while_the_server_is_away_is_told_so_without_the_password(
    tmp_path, url, postgres_server, caplog
):
    caplog.set_level(logging.DEBUG)
    postgres_server.kill()
    try:
        with pytest.raises(JournalUnavailableError, match="does not answer") as caught:
            Journal(PostgresDatabase(url, tmp_path))
    finally:
        postgres_server.start()
    with pytest.raises(JournalUnavailableError, match="password authentication failed"):
        Journal(PostgresDatabase(url.replace(PASSWORD, "hunter2"), tmp_path))
    told = f"{caught.value} {caught.value.remedy} {caplog.text} {Settings(tmp_path, database=url)!r}"
    assert PASSWORD not in told
    assert "hunter2" not in caplog.text


# ---- Backups, and servers that have lost something -------------------------------------------------------------------


def back_up(url):
    tables = [row[0] for row in sql(url, "SELECT tablename FROM pg_tables WHERE schemaname = 'divisions'")]
    sql(url, "CREATE SCHEMA backup", *(f"CREATE TABLE backup.{name} AS TABLE divisions.{name}" for name in tables))
    return tables


def restore_backup(url, tables):
    sql(url, *(f"DELETE FROM divisions.{each}; INSERT INTO divisions.{each} TABLE backup.{each}" for each in tables))


def test_an_older_backup_under_a_running_controller_counts_as_away(world, url):
    tables = back_up(url)
    world.seconds(12)
    restore_backup(url, tables)
    with pytest.raises(JournalUnavailableError, match="older backup of it was restored"):
        world.controller.command(RolloutCommand("churn", "promote"))
    answer = world.controller.command(RolloutCommand("churn", "abort"))
    world._follow_table()
    assert (answer.phase, world.weights()["3.2"]) == ("ROLLING_BACK", 0)


def test_an_older_backup_is_refused_at_the_start_where_the_head_is(world, url, tmp_path):
    tables = back_up(url)
    world.seconds(12)
    world.journal.close()
    restore_backup(url, tables)
    with pytest.raises(JournalDamagedError, match=r"its last \d+ writes are missing; an older backup was restored"):
        world.start_controller()
    (found,) = copies.check(PostgresDatabase(url, tmp_path))
    assert "older backup" in found.fault
    copies.restore(PostgresDatabase(url, tmp_path), tmp_path / "aside")
    world.start_controller()
    assert world.status().phase == "STEP"


@pytest.mark.parametrize("seconds_lost", [0, 3, 40])
def test_without_a_head_gateways_show_an_older_backup_and_epochs_never_go_back(world, url, tmp_path, seconds_lost):
    """The controller starts on another machine. It must not publish a number that a gateway has already."""
    tables = back_up(url)
    world.latency_s["3.2"] = 0.02
    world.until("ROLLED_BACK")
    epoch = world.table.epoch
    world.journal.close()
    restore_backup(url, tables)
    shutil.rmtree(tmp_path / "journal-server")
    world.latency_s.clear()
    world.clock.advance(10.0)
    world.start_controller()
    assert world.status().phase == "STEP"
    gateway, world.table = world.table, None
    world.is_stale = True  # the gateway is cut off, while the controller publishes tables
    for number in range(seconds_lost):
        world.silent ^= {"3.1"} if number % 8 == 0 else set()
        world.second()
    world.silent.clear()
    world.is_stale, world.table = False, gateway
    for _ in range(30):
        world.second()
        assert world.weights().get("3.2", 0) == 0
        assert world.table.epoch >= epoch
    assert world.table.epoch > epoch
    assert world.status().phase == "ROLLED_BACK"


def test_a_database_that_was_emptied_is_refused(world, url):
    world.journal.close()
    sql(url, "DROP SCHEMA divisions CASCADE")
    with pytest.raises(JournalDamagedError, match="is missing, but there was one"):
        world.start_controller()


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE divisions.journal SET note = 'x' WHERE seq = 3",
        "DELETE FROM divisions.journal WHERE seq = (SELECT max(seq) FROM divisions.journal)",
        "UPDATE divisions.version SET spec = 'x'",
        "UPDATE divisions.snapshot SET body = 'x'",
        "UPDATE divisions.meta SET value = 1 WHERE name = 'epoch'",
        "DELETE FROM divisions.seal",
        "DELETE FROM divisions.anchor",
        "DELETE FROM divisions.controller",
        "DROP TABLE divisions.alembic_version",
        "DROP TABLE divisions.journal",
    ],
)
def test_each_damage_is_refused_and_a_copy_brings_it_back(world, url, tmp_path, damage):
    world.seconds(12)
    database = PostgresDatabase(url, tmp_path)
    assert copies.make_copy(database).parent == tmp_path / "journal-server" / "journal-copies"
    assert copies.make_copy(database) is None
    world.journal.close()
    sql(url, damage)
    with pytest.raises((JournalDamagedError, ClusterError)) as caught:
        world.start_controller()
    assert str(tmp_path / "journal-server") in caught.value.remedy or "rights" in caught.value.remedy
    found, copy = copies.check(PostgresDatabase(url, tmp_path))
    assert found.fault
    assert not copy.fault
    assert copies.restore(database, tmp_path / "aside") == copy
    world.start_controller()
    world.until("PROMOTED")


def test_the_commands_check_and_restore(world, url, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("DIVISIONS_HOME", str(tmp_path))
    monkeypatch.setenv("DIVISIONS_DATABASE", url)
    copies.make_copy(PostgresDatabase(url, tmp_path))
    world.journal.close()
    assert cli.execute(["journal", "check"]) == 0
    assert capsys.readouterr().out.count("whole") == 2
    sql(url, "UPDATE divisions.journal SET note = 'x' WHERE seq = 3")
    assert cli.execute(["journal", "check"]) == 1
    assert cli.execute(["journal", "restore"]) == 0
    assert cli.execute(["journal", "check"]) == 0
    assert PASSWORD not in "".join(capsys.readouterr())


# ---- Who may use it --------------------------------------------------------------------------------------------------


def test_a_second_cluster_is_refused_while_the_first_one_lives_and_takes_over_when_it_does_not(tmp_path, url):
    first = Journal(PostgresDatabase(url, tmp_path), holder=Holder("first", "process 1 on a"))
    with pytest.raises(JournalHeldError, match=r"the controller of another cluster \(process 1 on a\)"):
        Journal(PostgresDatabase(url, tmp_path), holder=Holder("second"), sleep=lambda seconds: first.beat())
    first.reserve_epoch(3)
    second = Journal(PostgresDatabase(url, tmp_path), holder=Holder("second"), sleep=lambda seconds: None)
    with pytest.raises(JournalFencedError):
        first.beat()
    again = Journal(PostgresDatabase(url, tmp_path), holder=Holder("second"), sleep=pytest.fail)
    assert again.epoch == 3
    with pytest.raises(JournalFencedError):
        second.beat()


def test_two_clusters_with_a_schema_each_share_a_database(tmp_path, url):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        journal = Journal(
            PostgresDatabase(f"{url}?schema={name}", tmp_path / name), holder=Holder(name), sleep=pytest.fail
        )
        journal.reserve_epoch(ord(name))
    assert Journal(PostgresDatabase(f"{url}?schema=a", tmp_path / "a"), holder=Holder("a")).epoch == ord("a")
    shutil.copytree(tmp_path / "a" / "journal-server", tmp_path / "c" / "journal-server")
    with pytest.raises(JournalDamagedError, match="are of another journal"):
        Journal(PostgresDatabase(f"{url}?schema=b", tmp_path / "c"), holder=Holder("b"))


def test_a_living_cluster_keeps_its_journal_from_a_restore(tmp_path, url):
    living = Journal(PostgresDatabase(url, tmp_path), holder=Holder("first", "process 1 on a"))
    database = PostgresDatabase(url, tmp_path)
    database.copy_to(tmp_path / "copy.db")
    with pytest.raises(JournalHeldError):
        database.replace_by(tmp_path / "copy.db", tmp_path / "aside", sleep=lambda seconds: living.beat())
    living.reserve_epoch(2)


def test_the_user_needs_no_right_to_make_a_schema_that_is_there(tmp_path, url):
    sql(
        url,
        "CREATE ROLE limited LOGIN PASSWORD 'limited'",
        "CREATE SCHEMA mine AUTHORIZATION limited",
    )
    limited = url.replace(f"divisions:{PASSWORD}", "limited:limited")
    try:
        Journal(PostgresDatabase(f"{limited}?schema=mine", tmp_path)).close()
        with pytest.raises(ClusterError, match="permission denied"):
            Journal(PostgresDatabase(f"{limited}?schema=other", tmp_path / "b"))
    finally:
        sql(url, "DROP OWNED BY limited CASCADE", "DROP ROLE limited")


def test_a_journal_of_a_home_is_moved_to_a_server(tmp_path, url):
    world = World(tmp_path)
    world.deploy_first()
    before = (world.journal.replay(), world.journal.epoch, world.journal.versions("churn"))
    world.journal.close()
    with pytest.raises(ClusterError, match="is new, but this home has the journal") as caught:
        Journal(PostgresDatabase(url, tmp_path))
    assert f"divisions journal restore {tmp_path / 'journal.db'}" in caught.value.remedy
    copies.restore(PostgresDatabase(url, tmp_path), tmp_path / "aside", tmp_path / "journal.db")
    moved = Journal(PostgresDatabase(url, tmp_path))
    assert (moved.replay(), moved.epoch, moved.versions("churn")) == before
    assert SqliteDatabase(tmp_path / "journal.db").check() is not None, "the home's journal stays as it was"


# ---- Sessions --------------------------------------------------------------------------------------------------------


def test_every_write_waits_for_the_disk_though_the_database_says_otherwise(tmp_path, url):
    name = url.rpartition("/")[2]
    sql(url, f'ALTER DATABASE "{name}" SET synchronous_commit TO off')
    database = PostgresDatabase(url, tmp_path)
    Journal(database).count_start()
    with database.read() as connection:
        assert connection.exec_driver_sql("SHOW synchronous_commit").scalar() == "on"
        assert connection.exec_driver_sql("SHOW idle_in_transaction_session_timeout").scalar() == "5s"


def test_a_row_that_another_session_locks_costs_a_write_and_no_more(tmp_path, url):
    journal = Journal(PostgresDatabase(url, tmp_path, write_s=WRITE_S))
    with contextlib.closing(psycopg.connect(url.replace("+psycopg", ""))) as other:
        other.execute("SELECT * FROM divisions.controller FOR UPDATE")
        with pytest.raises(JournalUnavailableError):
            journal.reserve_epoch(1)
        other.rollback()
    ends_s = time.monotonic() + 60
    while journal.epoch != 2:
        with contextlib.suppress(JournalUnavailableError):
            journal.reserve_epoch(2)
        assert time.monotonic() < ends_s
        time.sleep(0.05)


@pytest.mark.parametrize("text", ["mysql://a:hunter2@b/c", "hunter2", "postgresql://h/d?schema=a;b"])
def test_a_url_that_makes_no_sense_is_refused_without_its_password(tmp_path, text):
    with pytest.raises(SettingsError) as caught:
        database_of(Settings(tmp_path, database=text))
    assert "hunter2" not in str(caught.value)
