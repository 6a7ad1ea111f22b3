"""Commits whose answer is lost: found out, made once, taken back if the caller was told that they failed."""

import contextlib
import sqlite3

import pytest

from divisions.control import RolloutCommand
from divisions.errors import JournalUnavailableError
from router.journal.journal import Journal, Kind
from tests.router.journal.test_journal import record
from tests.router.journal_databases import KINDS, make_for
from tests.router.rollout_world import World, spec, version


class Unreliable:
    """A database whose commits may be made and not answered (``is_made``), or neither."""

    def __init__(self, database, is_lost):
        self._database = database
        self._is_lost = is_lost

    def __getattr__(self, name):
        return getattr(self._database, name)

    @contextlib.contextmanager
    def write(self, limit_s=None):
        fate = self._is_lost()
        with contextlib.ExitStack() as stack:
            yield stack.enter_context(self._database.write(limit_s))
            if fate == "never made":
                raise sqlite3.OperationalError("the connection was lost")
        if fate == "made":
            raise sqlite3.OperationalError("the answer was lost")


class Fates:
    """The fate of each transaction, by its number; others are well."""

    def __init__(self):
        self.number = 0
        self.of = {}

    def __call__(self):
        self.number += 1
        return self.of.get(self.number, "")

    def next_is(self, fate, after=1):
        self.of[self.number + after] = fate


@pytest.fixture
def fates():
    return Fates()


@pytest.fixture
def journal(tmp_path, make_database, fates):
    return Journal(Unreliable(make_database(tmp_path), fates))


def append(journal, note, label="3.1"):
    journal.append(Kind.CREATED, record(label), at_s=1.0, epoch=1, note=note)


def notes(journal):
    return [entry.note for entry in journal.entries("churn")]


@pytest.mark.parametrize("fate", ["made", "never made"])
def test_the_same_entry_tried_again_is_there_once(journal, fates, fate, tmp_path, make_database):
    append(journal, "first")
    fates.next_is(fate)
    with pytest.raises(JournalUnavailableError, match="lost"):
        append(journal, "second")
    append(journal, "second")
    append(journal, "third")
    assert notes(journal) == ["first", "second", "third"]
    journal.close()
    assert notes(Journal(make_database(tmp_path))) == ["first", "second", "third"]


@pytest.mark.parametrize("fate", ["made", "never made"])
@pytest.mark.parametrize("next_fate", ["", "made", "never made"])
def test_an_entry_whose_caller_was_told_that_it_failed_is_taken_back(
    journal, fates, fate, next_fate, tmp_path, make_database
):
    append(journal, "first")
    fates.next_is(fate)
    with pytest.raises(JournalUnavailableError):
        append(journal, "given up")
    fates.next_is(next_fate)
    with contextlib.suppress(JournalUnavailableError):
        append(journal, "second")
    if next_fate:
        append(journal, "second")
    append(journal, "third")
    assert notes(journal) == ["first", "second", "third"]
    journal.close()
    assert notes(Journal(make_database(tmp_path))) == ["first", "second", "third"]


@pytest.mark.parametrize("write", ["reserve_epoch", "save_version"])
def test_other_writes_that_were_made_stay_whatever_comes_next(journal, fates, write, tmp_path, make_database):
    fates.next_is("made")
    with pytest.raises(JournalUnavailableError):
        journal.reserve_epoch(7) if write == "reserve_epoch" else journal.save_version("churn", version("3.1"))
    append(journal, "next")
    journal.close()
    again = Journal(make_database(tmp_path))
    assert (again.epoch, again.versions("churn")) == ((7, []) if write == "reserve_epoch" else (0, ["3.1"]))
    assert notes(again) == ["next"]


@pytest.mark.parametrize("fate", ["made", "never made"])
def test_a_term_whose_answer_was_lost_is_held_all_the_same(tmp_path, make_database, fate):
    fates = Fates()
    Journal(make_database(tmp_path)).close()
    fates.next_is(fate)
    journal = Journal(Unreliable(make_database(tmp_path), fates))
    append(journal, "first")
    assert notes(journal) == ["first"]


class Losing:
    """A scenario in which one commit, or each so-many-th, has a bad fate."""

    def __init__(self, folder, make_database, is_lost):
        folder.mkdir()
        self.fates = Fates()
        self.world = World(folder, make_database=lambda place: Unreliable(make_database(place), self.fates))
        self.world.deploy_first()
        self.first = self.fates.number + 1
        self.fates.of = is_lost(self.first)

    def play(self, end):
        world = self.world
        world.latency_s["3.2"] = 0.02 if end == "ROLLED_BACK" else 0.0008
        for _ in range(20):
            with contextlib.suppress(JournalUnavailableError):
                if world.status().canary_version != "3.2":
                    world.controller.start_rollout(spec("3.2"))
        weights = []
        for _ in range(400):
            if world.status().phase == end and not world.controller.status().journal_fault:
                break
            world.second()
            weight_bp = world.weights().get("3.2", 0)
            if (weights or [0])[-1] != weight_bp:
                weights.append(weight_bp)
        assert world.status().phase == end
        kinds = [(entry.kind.value, entry.generation) for entry in world.journal.entries("churn")]
        world.restart_controller()
        assert world.status().phase == end
        return weights, [kind for kind, _ in kinds if kind not in {"STEP_APPLIED", "DECISION", "RETIRED"}]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("end", ["PROMOTED", "ROLLED_BACK"])
def test_each_commit_of_a_rollout_may_lose_its_answer(tmp_path, request, kind, end):
    make_database = make_for(kind, request)
    calm = Losing(tmp_path / "calm", make_database, lambda first: {})
    expected = calm.play(end)
    total = calm.fates.number - calm.first
    step = 1 if kind == "sqlite" else 4
    for point in range(0, total, step):
        lost = Losing(tmp_path / f"{point}", make_database, lambda first, at=point: {first + at: "made"})
        assert lost.play(end) == expected, point
        lost.world.journal.close()


@pytest.mark.parametrize("every", [2, 3, 5])
def test_an_abort_is_in_force_whatever_becomes_of_its_commits(tmp_path, make_database, every):
    it = Losing(tmp_path / "world", make_database, lambda first: {})
    it.world.controller.start_rollout(spec("3.2"))
    it.world.until("STEP")
    at = it.fates.number
    it.fates.of = {at + number: ("made", "never made")[number // every % 2] for number in range(1, 60, every)}
    it.world.controller.command(RolloutCommand("churn", "abort"))
    for _ in range(30):
        it.world.second()
        assert it.world.weights()["3.2" if "3.2" in it.world.weights() else "3.1"] in {0, 10_000}
    it.fates.of = {}
    it.world.until("ROLLED_BACK")
    kinds = [entry.kind.value for entry in it.world.journal.entries("churn")]
    assert kinds.count("ROLLBACK_INTENT") == 1
