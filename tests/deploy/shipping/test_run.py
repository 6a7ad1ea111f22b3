"""A deployment's walk: what is noted, told and done again after each way of failing. The target is in memory."""

from __future__ import annotations

import multiprocessing
import os
from dataclasses import dataclass, field, replace

import pytest

from deploy.shipping.console import EventConsole, LineConsole
from deploy.shipping.deployments import DeploymentJournal
from deploy.shipping.release import Act, Ending, Plan, Receipt, Release, Step
from deploy.shipping.run import deploy
from deploy.shipping.target import Work
from divisions.clock import ManualClock
from divisions.errors import ClusterError, ConflictError, LatchedSpecError

RELEASE = Release("churn-predictor", "3.2", "churn", "churn-predictor/0123", "0" * 64, "churn-v3", "1" * 64)
LOGIN = Step("authenticate", "Log in", Act.AUTHENTICATE)
STEPS = (
    Step("check", "Check it"),
    Step("push", "Push it"),
    Step("start", "Start it"),
    Step("watch", "Watch it", Act.WATCH),
)
NAMES = [step.name for step in STEPS]


@dataclass
class MemoryTarget:
    """Has what was done; a plan leaves that out."""

    name: str = "memory"
    done: list[str] = field(default_factory=list)
    breaks_at: str = ""
    kills_at: str = ""
    verdict: Ending = Ending.PROMOTED
    login: Step = LOGIN

    def authenticate(self) -> Receipt:
        self.fail_at("authenticate")
        return Receipt("as me")

    def plan(self, release: Release, *, is_watched: bool) -> Plan:
        left = tuple(step for step in STEPS if step.name not in self.done)
        return Plan(left, ("- churn: 3.1", "+ churn: 3.2"), ("1 CPU",))

    def apply(self, step: Step, work: Work) -> Receipt:
        self.fail_at(step.name)
        work.say(f"doing {step.name}")
        work.note("latest", step.name)
        self.done.append(step.name)
        return Receipt(f"{step.name} is done", Ending.STARTED if step.name == "start" else None)

    def watch(self, work: Work) -> Receipt:
        self.fail_at("watch")
        work.say("doing watch")
        self.done.append("watch")
        return Receipt("watch is done", self.verdict)

    def rollback(self, work: Work) -> Receipt:
        self.fail_at("rollback")
        self.done.append(f"rollback of what {work.facts['latest']} did")
        return Receipt("as before")

    def fail_at(self, name: str) -> None:
        if name == self.kills_at:
            os._exit(9)
        if name == self.breaks_at:
            raise ClusterError("it broke", remedy="mend it")


@pytest.fixture
def clock():
    return ManualClock()


@pytest.fixture
def ship(tmp_path, clock):
    """Deploys; returns the ending and the events."""

    def run(target, release=RELEASE):
        events = []
        journal = DeploymentJournal(tmp_path, clock)
        try:
            ending = deploy(target, release, journal, EventConsole(clock, events.append), clock, who="me@here")
        except ClusterError:
            ending = None
        return ending, [tuple(filter(None, (each["event"], each.get("step", "")))) for each in events]

    return run


def told(*names):
    return [(event, name) for name in names for event in ("began", "said", "done")]


LOGGED_IN = [("began", "authenticate"), ("done", "authenticate")]


def test_every_step_is_told_and_the_last_decides_the_ending(ship):
    events = [*LOGGED_IN, ("planned",), *told(*NAMES), ("ended",)]
    assert ship(MemoryTarget()) == (Ending.PROMOTED, events)


def test_a_release_that_is_there_changes_nothing(ship):
    target = MemoryTarget(done=list(NAMES))
    assert ship(target) == (Ending.UNCHANGED, [*LOGGED_IN, ("planned",), ("ended",)])
    assert target.done == NAMES


def test_a_step_that_fails_ends_it_and_the_next_call_goes_on_with_the_same_deployment(ship, tmp_path, clock):
    target = MemoryTarget(breaks_at="push")
    assert ship(target) == (None, [*LOGGED_IN, ("planned",), *told("check"), ("began", "push"), ("failed", "push")])
    target.breaks_at = ""
    assert ship(target)[1] == [("resumed",), *LOGGED_IN, ("planned",), *told("push", "start", "watch"), ("ended",)]
    (found,) = DeploymentJournal(tmp_path, clock).latest(10)
    assert (found.number, found.target, found.version, found.who) == (1, "memory", "3.2", "me@here")
    assert found.ending == "promoted"
    assert [(step.name, step.detail, step.error) for step in found.steps] == [
        ("authenticate", "as me", ""),
        ("check", "check is done", ""),
        ("push", "", "it broke. mend it"),
        ("authenticate", "as me", ""),
        ("push", "push is done", ""),
        ("start", "start is done", ""),
        ("watch", "watch is done", ""),
    ]


def test_who_is_not_let_in_plans_nothing(ship):
    assert ship(MemoryTarget(breaks_at="authenticate")) == (
        None,
        [("began", "authenticate"), ("failed", "authenticate")],
    )


def test_a_release_that_regressed_is_rolled_back_with_what_the_steps_have_noted(ship, tmp_path, clock):
    target = MemoryTarget(verdict=Ending.REGRESSED)
    ending, events = ship(target)
    assert ending is Ending.ROLLED_BACK
    assert events[-4:] == [("done", "watch"), ("began", "rollback"), ("done", "rollback"), ("ended",)]
    assert target.done[-1] == "rollback of what start did"
    (found,) = DeploymentJournal(tmp_path, clock).latest(10)
    assert (found.ending, found.last_step.detail) == ("rolled back", "as before")


def test_a_rollback_that_was_cut_off_goes_on_and_is_never_planned_anew(ship):
    target = MemoryTarget(verdict=Ending.REGRESSED, breaks_at="rollback")
    assert ship(target)[0] is None
    target.done.remove("start")  # A plan would start it again.
    target.breaks_at = ""
    rolled_back = [("began", "rollback"), ("done", "rollback")]
    assert ship(target) == (Ending.ROLLED_BACK, [("resumed",), *LOGGED_IN, *rolled_back, ("ended",)])


@pytest.mark.parametrize("name", ["authenticate", *NAMES])
def test_a_process_that_was_killed_in_a_step_leaves_a_deployment_that_is_resumed(ship, tmp_path, clock, name):
    child = multiprocessing.get_context("fork").Process(target=ship, args=(MemoryTarget(kills_at=name),))
    child.start()
    child.join()
    assert child.exitcode == 9
    (before,) = DeploymentJournal(tmp_path, clock).latest(10)
    assert (before.ending, before.last_step.name, before.last_step.ended_s) == ("", name, None)
    ending, events = ship(MemoryTarget())
    assert (ending, events[0]) == (Ending.PROMOTED, ("resumed",))
    (after,) = DeploymentJournal(tmp_path, clock).latest(10)
    assert (after.number, after.ending) == (before.number, "promoted")


def test_another_release_or_target_is_another_deployment(ship, tmp_path, clock):
    ship(MemoryTarget(breaks_at="push"))
    assert ("resumed",) not in ship(MemoryTarget(), replace(RELEASE, pipeline_sha256="2" * 64))[1]
    assert ("resumed",) not in ship(MemoryTarget(name="second"))[1]
    found = [(each.number, each.target, each.ending) for each in DeploymentJournal(tmp_path, clock).latest(10)]
    assert found == [(3, "second", "promoted"), (2, "memory", "promoted"), (1, "memory", "")]


def test_what_was_deployed_from_here_before_is_remembered_for_each_target(ship, tmp_path, clock):
    for version in ("3.1", "3.2", "3.3"):
        ship(MemoryTarget(verdict=Ending.ROLLED_BACK if version == "3.3" else Ending.PROMOTED), of(version))
    journal = DeploymentJournal(tmp_path, clock)
    assert journal.version_before("memory", "churn", now="3.2") == "3.1"
    assert journal.version_before("memory", "churn", now="4.0") == "3.2", "somebody else has deployed 4.0"
    assert journal.version_before("memory", "other", now="3.2") == ""
    assert journal.version_before("second", "churn", now="3.2") == ""


def of(version):
    return replace(RELEASE, version=version)


def test_a_second_deployment_to_the_same_target_is_refused_and_to_another_is_not(ship, tmp_path, clock):
    with DeploymentJournal(tmp_path, clock).locked("memory"):
        with pytest.raises(ConflictError, match=rf"deployment to memory is under way \(process {os.getpid()}\)"):
            ship(MemoryTarget())
        assert ship(MemoryTarget(name="second"))[0] is Ending.PROMOTED
    assert ship(MemoryTarget())[0] is Ending.PROMOTED


def test_the_latest_deployments_are_kept(tmp_path, clock, monkeypatch):
    monkeypatch.setattr("deploy.shipping.deployments._KEPT", 5)
    journal = DeploymentJournal(tmp_path, clock)
    for _ in range(8):
        number, _ = journal.begin("memory", RELEASE, "me")
        journal.step_began(number, STEPS[0])
        journal.end(number, Ending.PROMOTED)
    found = journal.latest(100)
    assert [each.number for each in found] == [8, 7, 6, 5, 4]
    assert all(len(each.steps) == 1 for each in found)


def test_a_journal_that_cannot_be_used_is_told(tmp_path, clock):
    (tmp_path / "deployments.db").mkdir()
    with pytest.raises(ClusterError, match=r"deployments\.db cannot be used"):
        DeploymentJournal(tmp_path, clock)


def test_nobody_is_told_to_repeat_what_would_be_refused_again(tmp_path, clock, monkeypatch):
    def refuse(self, step, work):
        raise LatchedSpecError("3.2 was rolled back before", remedy="repeat with --force if its cause is gone")

    monkeypatch.setattr(MemoryTarget, "apply", refuse)
    lines = []
    with pytest.raises(LatchedSpecError):
        deploy(
            MemoryTarget(),
            RELEASE,
            DeploymentJournal(tmp_path, clock),
            LineConsole(clock, lines.append),
            clock,
            who="me",
        )
    assert "  not done: Push it; Start it; Watch it" in [line[11:] for line in lines]
    assert not any("run the same command again" in line for line in lines)


def test_people_see_the_time_what_is_not_done_and_how_to_go_on(tmp_path, clock):
    lines = []
    journal, console = DeploymentJournal(tmp_path, clock), LineConsole(clock, lines.append)
    target = MemoryTarget(breaks_at="push")
    with pytest.raises(ClusterError):
        deploy(target, RELEASE, journal, console, clock, who="me")
    target.breaks_at = ""
    deploy(target, RELEASE, journal, console, clock, who="me")
    deploy(target, RELEASE, journal, console, clock, who="me")
    assert all((line[0], line[9:11]) == ("[", "] ") for line in lines)
    login = ["Log in ...", "✓ Log in (0.0 s: as me)"]
    plan = ["  - churn: 3.1", "  + churn: 3.2", "  costs: 1 CPU"]
    assert [line[11:] for line in lines] == [
        *login,
        *plan,
        "Check it ...",
        "  doing check",
        "✓ Check it (0.0 s: check is done)",
        "Push it ...",
        "✗ Push it (0.0 s)",
        "  not done: Start it; Watch it",
        "  to go on, run the same command again",
        "Going on with deployment 1, which ended in 'Push it'",
        *login,
        *plan,
        "Push it ...",
        "  doing push",
        "✓ Push it (0.0 s: push is done)",
        "Start it ...",
        "  doing start",
        "✓ Start it (0.0 s: start is done)",
        "Watch it ...",
        "  doing watch",
        "✓ Watch it (0.0 s: watch is done)",
        "✓ churn-predictor 3.2 serves all traffic of memory",
        *login,
        *plan,
        "✓ memory serves churn-predictor 3.2 already: nothing was changed",
    ]
