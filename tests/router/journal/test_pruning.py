"""Nothing in the journal grows for ever, and what is forgotten changes no answer."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.control.controller import Controller
from router.journal import copies, pruning
from router.journal.journal import Journal, Kind
from router.journal.pruning import KEEP_ENTRIES, KEEP_VERSIONS, plan
from router.journal.seal import Contents
from tests.router.journal.test_journal import record
from tests.router.rollout_world import World, spec, version


@pytest.fixture
def few(monkeypatch):
    monkeypatch.setattr(pruning, "KEEP_ENTRIES", 20)
    monkeypatch.setattr(pruning, "KEEP_VERSIONS", 3)


def answers(journal):
    return journal.replay(), journal.rollbacks(), journal.epoch, journal.starts


def test_after_many_rollouts_the_journal_is_small_and_answers_the_same(tmp_path, make_database, few):
    """Every other rollout is rolled back; another endpoint was quiet all the time."""
    world = World(tmp_path, make_database=make_database)
    world.deploy_first("1.0")
    quiet = msgspec.structs.replace(record("9.1"), endpoint="quiet")
    world.journal.append(Kind.CREATED, quiet, at_s=1.0, epoch=1, note="of old")
    most = 0
    for number in range(12):
        label = f"2.{number}"
        world.latency_s[label] = 0.02 if number % 2 else 0.0008
        world.controller.start_rollout(spec(label))
        world.until("ROLLED_BACK" if number % 2 else "PROMOTED", at_most_s=300)
        world.seconds(12)
        most = max(most, len(world.journal.entries("churn")))
    before = answers(world.journal)
    assert sum(before[1].values()) == 6, "no rollback is forgotten"
    assert before[0]["quiet"] == quiet
    assert most <= 2 * (20 + 2) + 20
    assert len(world.journal.versions("churn")) <= 2 * 3 + 3
    assert copies.make_copy(make_database(tmp_path)) is not None
    world.restart_controller()
    assert answers(world.journal)[:3] == before[:3]
    assert make_database(tmp_path).check() is not None


def test_versions_in_use_stay_and_the_last_ones(tmp_path, make_database, few):
    journal = Journal(make_database(tmp_path))
    journal.save_version("churn", version("3.1"))
    journal.append(Kind.CREATED, record("3.1"), at_s=1.0, epoch=1, note="")
    for number in range(6):
        journal.save_version("churn", version(f"4.{number}"))
    assert journal.prune()
    assert journal.versions("churn") == ["3.1", "4.3", "4.4", "4.5"]
    assert not journal.prune()
    journal.close()
    again = Journal(make_database(tmp_path))
    assert again.versions("churn") == ["3.1", "4.3", "4.4", "4.5"]
    assert again.version("churn", "4.0") is None


def test_a_rollback_with_two_intents_is_counted_once_wherever_it_is_cut(tmp_path, make_database, few):
    world = World(tmp_path, make_database=make_database)
    world.deploy_first()
    world.latency_s["3.2"] = 0.02
    world.controller.start_rollout(spec("3.2"))
    world.until("ROLLED_BACK")
    journal = world.journal
    (rolled,) = [entry for entry in journal.entries("churn") if entry.kind is Kind.ROLLBACK_INTENT]
    final = journal.replay()["churn"]
    for number in range(60):
        kind = Kind.ROLLBACK_INTENT if number == 30 else Kind.HELD
        journal.append(kind, final, at_s=9.0, epoch=rolled.epoch, note="again")
        journal.prune()
        assert sum(journal.rollbacks().values()) == 1, number


def test_pruning_waits_until_twice_as_much_is_there_and_is_then_done_by_the_controller(tmp_path, few):
    world = World(tmp_path)
    assert isinstance(world.controller, Controller)
    assert not world.journal.prune()
    for _ in range(100):
        world.journal.append(Kind.HELD, record(), at_s=1.0, epoch=1, note="")
    world.seconds(11)
    assert len(world.journal.entries("churn")) == 20


@given(st.integers(0, 5_000), st.integers(0, 5_000), st.integers(0, 130), st.integers(1, 3))
def test_a_plan_keeps_what_it_promises(gone, there, num_versions, num_endpoints):
    versions = {
        (f"e{endpoint}", f"v{number}"): (number, b"")
        for endpoint in range(num_endpoints)
        for number in range(num_versions)
    }
    contents = Contents(last_seq=gone + there, anchor_seq=gone, versions=versions)
    found = plan(contents)
    is_long = there > 2 * (KEEP_ENTRIES + (num_endpoints if num_versions else 0))
    has_many = num_versions > 2 * KEEP_VERSIONS
    if not is_long and not has_many:
        assert found is None
        return
    assert contents.last_seq - found.seq == (KEEP_ENTRIES if is_long else there)
    assert len(versions) - len(found.versions) == num_endpoints * (KEEP_VERSIONS if has_many else num_versions)


def test_the_numbers_are_those_of_the_documentation():
    from pathlib import Path

    text = " ".join((Path(__file__).parents[3] / "docs" / "journal.md").read_text().split())
    assert f"the last {KEEP_ENTRIES:,} entries stay" in text
    assert f"the {KEEP_VERSIONS} that were deployed last" in text
