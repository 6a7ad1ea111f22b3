"""Which rollouts are compared, how an analysis follows their steps, and what is known after a restart."""

from __future__ import annotations

import msgspec
import pytest

from divisions.clock import ManualClock
from divisions.status import Evidence
from router.control.analyses import Analyses, arms
from router.evidence.histogram import empty
from router.evidence.windows import VersionCounts
from router.journal.journal import Journal
from router.journal.sqlite import SqliteDatabase
from router.journal.writer import JournalWriter
from router.rollouts import canary
from router.rollouts.canary import Timer
from router.rollouts.monitor import Arms, Monitor
from tests.router.rollouts.test_records import BAKE, GOING_BACK, SHADOW, STEP, WARMING, record

BOTH = Arms("churn-predictor-v3.1", "churn-predictor-v3.2")


@pytest.mark.parametrize(
    ("state", "compared"),
    [
        (canary.start(0.0), None),
        (WARMING, None),
        (SHADOW, BOTH),
        (STEP, BOTH),
        (BAKE, BOTH),
        (canary.Held(STEP, ""), BOTH),
        (canary.Held(WARMING, ""), None),
        (canary.Promoted(), None),
        (canary.RollingBack("", 2_000, Timer(0.0)), BOTH),
        *[(state, None) for state in GOING_BACK],
    ],
)
def test_versions_are_compared_while_the_canary_has_requests(state, compared):
    assert arms(record(state)) == compared
    assert arms(record(state, stable=None)) is None


class It:
    """Analyses over a journal; `again` is what a restarted controller has."""

    def __init__(self, folder) -> None:
        self.journal = Journal(SqliteDatabase(folder / "journal.db", is_synchronous=False))
        self.again()

    def again(self) -> None:
        self.monitor = Monitor()
        self.analyses = Analyses(self.journal, JournalWriter(self.journal, ManualClock()), self.monitor)


@pytest.fixture
def it(tmp_path):
    made = It(tmp_path)
    yield made
    made.journal.close()


def counted(requests: int) -> VersionCounts:
    made = VersionCounts(requests, 0, empty())
    made.counts[200] = requests
    return made


def observe(analysis, ticks) -> None:
    for tick in ticks:
        analysis.observe(tick, counted(3_000).counts, counted(80), counted(20))


def test_a_step_begins_with_the_next_second(it):
    it.analyses.enter_step(record(STEP), 100.7)
    analysis = it.monitor.analysis("churn")
    observe(analysis, range(30, 103))
    assert analysis.judgement(103.0).step_s == 2.0
    it.analyses.enter_step(record(canary.Stepping(1, Timer(0.0))), 110.0)
    assert it.monitor.analysis("churn") is analysis
    assert (analysis.judgement(111.0).step_index, analysis.judgement(111.0).step_s) == (1, 0.0)


def test_a_restart_goes_on_with_the_step_that_was_saved(it):
    it.analyses.enter_step(record(STEP), 0.0)
    observe(it.monitor.analysis("churn"), range(10, 80))
    it.analyses.save(record(STEP))
    seconds = it.monitor.analysis("churn").judgement(80.0).step_s
    assert seconds > 0
    it.again()
    it.analyses.resume({"churn": record(STEP)}, 200.0)
    assert it.monitor.analysis("churn").judgement(200.0).step_s == seconds
    assert it.monitor.analysis("churn").evidence().ticks == 70
    it.again()
    later = record(canary.Stepping(1, Timer(0.0)))
    it.analyses.resume({"churn": later}, 200.0)
    judgement = it.monitor.analysis("churn").judgement(200.0)
    assert (judgement.step_index, judgement.step_s) == (1, 0.0), "the snapshot is of an earlier step"
    assert it.monitor.analysis("churn").evidence().ticks == 70


def test_a_restart_without_a_snapshot_begins_anew(it):
    it.analyses.resume({"churn": record(STEP)}, 200.0)
    assert it.monitor.analysis("churn").evidence().ticks == 0
    it.again()
    it.analyses.resume({"churn": record(WARMING)}, 200.0)
    assert it.monitor.analysis("churn") is None


def test_the_evidence_of_what_is_over_is_kept_for_its_own_rollout(it):
    it.analyses.enter_step(record(STEP), 0.0)
    observe(it.monitor.analysis("churn"), range(10, 20))
    it.analyses.save(record(STEP))
    assert it.analyses.evidence(record(STEP)).ticks == 10
    it.again()
    over = record(GOING_BACK[2])
    it.analyses.resume({"churn": over}, 200.0)
    assert it.analyses.evidence(over).ticks == 10
    another = msgspec.structs.replace(over, rollout=msgspec.structs.replace(over.rollout, number=99))
    assert it.analyses.evidence(another) == Evidence()


def test_what_is_finished_is_not_saved_again(it):
    it.analyses.enter_step(record(STEP), 0.0)
    it.analyses.save(record(GOING_BACK[2]))
    assert it.journal.snapshot("churn", record(STEP).rollout.number) is None
    it.analyses.save(record(STEP))
    assert it.journal.snapshot("churn", record(STEP).rollout.number) is not None


@pytest.mark.parametrize(
    ("was", "state", "guard"),
    [
        (STEP, canary.RollingBack("latency: slow", 0, Timer(0.0)), "latency"),
        (STEP, canary.Held(STEP, "undecided: after 60 s"), "undecided"),
        (STEP, canary.RollingBack("deploy: no", 0, Timer(0.0)), "deploy"),
        (STEP, canary.RollingBack("replicas: none", 0, Timer(0.0)), "replicas"),
        (STEP, canary.RollingBack("journal: behind", 0, Timer(0.0)), "journal"),
        (STEP, canary.RollingBack("aborted by operator", 0, Timer(0.0)), "operator"),
        (STEP, canary.Held(STEP, "paused by me"), None),
        (STEP, BAKE, None),
        (GOING_BACK[0], canary.RollingBack("latency: slow", 0, Timer(0.0)), None),
    ],
)
def test_a_decision_is_explained_by_its_guard(it, was, state, guard):
    it.analyses.enter_step(record(STEP), 0.0)
    observe(it.monitor.analysis("churn"), range(10, 20))
    explanation = it.analyses.explain(record(was), state)
    assert (explanation.guard if explanation else None) == guard


def test_without_an_analysis_the_reason_itself_is_the_explanation(it):
    explanation = it.analyses.explain(record(STEP), canary.RollingBack("latency: slow", 0, Timer(0.0)))
    assert (explanation.guard, explanation.text) == ("operator", "latency: slow")


@pytest.mark.parametrize(("state", "is_frozen"), [(STEP, False), (BAKE, False)])
def test_a_canary_with_a_holdback_is_compared_with_the_present(it, state, is_frozen):
    it.analyses.enter_step(record(state), 0.0)
    assert it.monitor.analysis("churn").evidence().is_frozen is is_frozen
