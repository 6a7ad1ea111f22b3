"""Each change is in the audit log before it is done, but what takes a rollout back. Defence: break-glass rollback."""

from __future__ import annotations

import pytest

from divisions.access.audit import AuditEvent
from divisions.access.audit_file import AuditFile
from divisions.access.requests import Actor, NewToken, TokenCommand
from divisions.access.roles import Role
from divisions.clock import ManualClock
from divisions.control import RolloutCommand
from divisions.errors import AuditUnavailableError, UnknownVersionError
from divisions.reports import Refused
from router.control.audit_desk import AuditDesk
from router.control.token_file import TokenFile
from tests.router.rollout_world import World, spec

ANN = Actor("ann", "deployer", "10.0.0.7")


class Log:
    """A log that can be away."""

    def __init__(self) -> None:
        self.events: list[AuditEvent] = []
        self.is_away = False

    def append(self, event: AuditEvent) -> None:
        if self.is_away:
            raise AuditUnavailableError("the audit log cannot be written: No space left on device")
        self.events.append(event)

    def told(self) -> list[tuple[str, str, str]]:
        return [(event.who, event.action, event.outcome) for event in self.events]


@pytest.fixture
def log():
    return Log()


@pytest.fixture
def world(tmp_path, log):
    it = World(tmp_path, audit=log, token_store=TokenFile(tmp_path))
    it.deploy_first()
    it.controller.start_rollout(spec("3.2"), actor=ANN)
    it.until("STEP")
    return it


def test_who_asked_for_what_from_where_and_how_it_stood_before_and_after(world, log):
    del log.events[:]
    world.controller.command(RolloutCommand("churn", "abort"), ANN)
    asked, done = log.events
    assert (asked.who, asked.role, asked.address, asked.action, asked.subject) == (
        "ann", "deployer", "10.0.0.7", "abort", "churn"
    )  # fmt: skip
    assert (asked.outcome, done.outcome) == ("asked", "done")
    assert asked.before == done.before
    assert asked.before.startswith("STEP of 3.2 at ")
    assert done.after.startswith("ROLLING_BACK of 3.2 at 0 bp")
    world.until("ROLLED_BACK")
    assert "rolled back: aborted by ann" in {entry.message for entry in world.status().history}


def test_a_start_names_who_started_it(world, log):
    assert ("ann", "start", "done") in log.told()
    assert world.status().history[0].message == "3.2 created by ann"


def test_what_is_refused_is_in_the_log_with_its_reason(world, log):
    with pytest.raises(UnknownVersionError):
        world.controller.command(RolloutCommand("other", "abort"), ANN)
    assert log.events[-1].outcome == "refused"
    assert "no endpoint" in log.events[-1].reason


def test_what_gateways_have_refused_is_in_the_log_once_for_all_that_are_alike(tmp_path):
    desk = AuditDesk(AuditFile(tmp_path), ManualClock())
    desk.refused("gw-1", [Refused("ann", "viewer", "10.0.0.7", "promote", "churn", 403, 1_234)])
    desk.refused("gw-1", [Refused("ann", "viewer", "10.0.0.7", "promote", "churn", 403, 1)])
    line, other = AuditFile(tmp_path).read().lines
    assert (line.event.who, line.event.action, line.event.subject, line.event.outcome) == (
        "ann",
        "promote",
        "churn",
        "refused",
    )
    assert line.event.reason == "status 403, 1,234 times within a minute, by gateway gw-1"
    assert other.event.reason == "status 403, once within a minute, by gateway gw-1"


def test_without_the_log_nothing_is_done(world, log):
    log.is_away = True
    before = world.status()
    for command in (RolloutCommand("churn", "promote"), RolloutCommand("churn", "scale", replicas=3)):
        with pytest.raises(AuditUnavailableError):
            world.controller.command(command, ANN)
    with pytest.raises(AuditUnavailableError):
        world.controller.start_rollout(spec("3.3"), actor=ANN)
    create = TokenCommand("create", new=NewToken("ci", Role.ADMIN))
    with pytest.raises(AuditUnavailableError):
        world.controller.manage_tokens(create, ANN)
    assert world.controller.manage_tokens(TokenCommand("list"), ANN).tokens == ()
    assert (world.status().phase, world.status().generation) == (before.phase, before.generation)


@pytest.mark.parametrize("command", ["pause", "abort", "rollback"])
def test_a_rollback_is_always_possible_and_always_audited(world, log, command):
    del log.events[:]
    log.is_away = True
    world.controller.command(RolloutCommand("churn", command), ANN)
    assert world.status().phase != "STEP"
    assert log.events == []
    log.is_away = False
    world.controller.tick()
    assert log.told() == [("ann", command, "asked"), ("ann", command, "done")]


def test_a_token_is_in_the_log_by_its_name_and_rights_and_never_itself(world, log, tmp_path):
    create = TokenCommand("create", new=NewToken("ci", Role.DEPLOYER, ("churn",)))
    token = world.controller.manage_tokens(create, ANN).token
    done = log.events[-1]
    assert (done.action, done.subject, done.after) == ("tokens create", "ci", "deployer on churn")
    assert token not in str(log.events)


def test_the_file_of_a_home_takes_them(tmp_path):
    it = World(tmp_path, audit=AuditFile(tmp_path))
    it.deploy_first()
    found = AuditFile(tmp_path).read()
    assert found.fault == ""
    assert [line.event.outcome for line in found.lines] == ["asked", "done"]
