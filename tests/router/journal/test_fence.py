"""Only one controller may write: the older one's every write fails, on both databases."""

import sqlite3

import pytest

from divisions.control import RolloutCommand
from divisions.errors import JournalFencedError, JournalHeldError
from router.http import problem
from router.journal import fence
from router.journal.fence import Held, Holder
from router.journal.journal import Journal, Kind
from tests.router.journal.test_journal import record
from tests.router.rollout_world import World, spec, version

WRITES = {
    "append": lambda journal: journal.append(Kind.CREATED, record(), at_s=1.0, epoch=1, note="late"),
    "save_version": lambda journal: journal.save_version("churn", version("9.9")),
    "reserve_epoch": lambda journal: journal.reserve_epoch(99),
    "count_start": lambda journal: journal.count_start(),
}


@pytest.mark.parametrize("write", WRITES)
def test_every_write_of_an_older_controller_fails_and_changes_nothing(tmp_path, make_database, write):
    older = Journal(make_database(tmp_path), holder=Holder("", "older"))
    older.append(Kind.CREATED, record(), at_s=1.0, epoch=1, note="first")
    newer = Journal(make_database(tmp_path), holder=Holder("", "newer"))
    for _ in range(2):
        with pytest.raises(JournalFencedError, match=r"another controller \(newer\) took term 2 .* had 1 and ends"):
            WRITES[write](older)
    newer.append(Kind.STARTED, record("3.2"), at_s=2.0, epoch=2, note="second")
    assert [entry.note for entry in newer.entries("churn")] == ["first", "second"]
    assert (newer.versions("churn"), newer.epoch, newer.starts) == ([], 0, 0)
    newer.close()
    again = Journal(make_database(tmp_path))
    assert [entry.note for entry in again.entries("churn")] == ["first", "second"]


def test_an_older_controller_that_comes_back_changes_no_weight_and_says_that_it_must_end(tmp_path, make_database):
    older = World(tmp_path, make_database=make_database)
    older.deploy_first()
    older.controller.start_rollout(spec("3.2"))
    older.until("STEP")
    newer = World(tmp_path, make_database=make_database)
    newer.table = older.table
    newer.seconds(5)
    table = older.controller.table
    assert not older.controller.is_fenced
    for command in ("abort", "pause", "promote"):
        with pytest.raises(JournalFencedError) as caught:
            older.controller.command(RolloutCommand("churn", command))
        assert problem.status_of(caught.value) == 503
    assert older.controller.is_fenced
    assert older.controller.table == table, "it publishes nothing, not even the safe direction"
    assert newer.status().phase == "STEP"
    newer.until("PROMOTED")


def test_an_older_controller_with_kept_entries_does_not_write_them_when_it_comes_back(tmp_path, make_database):
    older = World(tmp_path, make_database=make_database)
    older.deploy_first()
    older.controller.start_rollout(spec("3.2"))
    older.until("STEP")
    older.is_disk_full = True
    older.controller.command(RolloutCommand("churn", "abort"))
    newer = World(tmp_path, make_database=make_database)
    before = newer.journal.entries("churn")
    older.is_disk_full = False
    with pytest.raises(JournalFencedError):
        older.controller.tick()
    assert older.controller.is_fenced
    assert newer.journal.entries("churn") == before


def test_an_idle_controller_on_a_server_learns_within_a_beat_that_it_was_replaced(tmp_path, make_database):
    older = World(tmp_path, make_database=make_database)
    older.deploy_first()
    World(tmp_path, make_database=make_database)
    if not older.journal.may_be_behind:
        return  # A file has no beats: a controller that writes nothing does no harm.
    with pytest.raises(JournalFencedError):
        older.seconds(5)
    assert older.controller.is_fenced


def test_a_journal_that_cannot_be_written_at_the_start_gives_the_term_with_the_first_write(tmp_path, make_database):
    Journal(make_database(tmp_path)).close()
    is_full = True

    def before_write(kind):
        if is_full:
            raise sqlite3.OperationalError("database or disk is full")

    late = Journal(make_database(tmp_path), before_write)
    is_full = False
    late.reserve_epoch(7)
    is_full = True
    early = Journal(make_database(tmp_path), before_write)
    is_full = False
    Journal(make_database(tmp_path)).reserve_epoch(8)
    with pytest.raises(JournalFencedError):
        early.reserve_epoch(9)


def held(**changes):
    values = {"term": 3, "token": "t", "holder": Holder("a", "process 1 on x"), "beats": 5, "seen_s": 1000.0}
    return Held(**values | changes)


@pytest.mark.parametrize(
    ("now_s", "cluster", "is_watched"),
    [(1001.0, "b", True), (1001.0, "a", False), (1000.0 + fence.LONG_SILENT_S, "b", False), (5.0, "b", True)],
)
def test_only_a_holder_of_another_cluster_that_was_seen_lately_is_watched(now_s, cluster, is_watched):
    """A clock that was set back makes it look younger, and is no reason to take it for dead."""
    assert fence.is_to_be_watched(held(), Holder(cluster), now_s) == is_watched


def test_nobody_is_watched_in_a_new_journal_or_in_a_file():
    assert not fence.is_to_be_watched(held(term=0), Holder("b"), 1001.0)
    assert not fence.is_to_be_watched(held(holder=Holder()), Holder("b"), 1001.0)


@pytest.mark.parametrize("change", [{"beats": 6}, {"term": 4}, {"token": "u"}])
def test_any_sign_of_life_refuses_the_other_cluster(change):
    fence.refuse_living(held(), held(), "the journal")
    with pytest.raises(JournalHeldError, match=r"in use by the controller of another cluster \(process 1 on x\)") as it:
        fence.refuse_living(held(), held(**change), "the journal")
    assert "?schema=NAME" in it.value.remedy


def test_a_lease_is_longer_than_three_beats():
    assert fence.LEASE_S > 3 * fence.BEAT_S
