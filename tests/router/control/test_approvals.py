"""Rollouts that wait for approvals, freeze windows and engines, over a whole controller with its journal."""

from __future__ import annotations

import msgspec
import pytest

from divisions.access.requests import Actor
from divisions.control import RolloutCommand
from divisions.errors import (
    ConflictError,
    IllegalEventError,
    InvalidCommandError,
    JournalUnavailableError,
    MalformedRequestError,
    PolicyRefusedError,
    UnknownVersionError,
)
from divisions.policy.engine import Decision, Reason, refusal
from divisions.promotion import (
    APPROVAL_S,
    ApprovalCommand,
    FreezeWindow,
    NewApproval,
    PromotionPolicy,
    RevokedApproval,
)
from router.control.controller import Controller
from router.control.gate_desk import LONGEST_PAUSE_S
from tests.router.control_doubles import MemoryAudit
from tests.router.rollout_world import World, registered, spec, world_with_engine

ANN, BOB, EVE = (Actor(name, "approver", "10.0.0.1") for name in ("ann", "bob", "eve"))
ROOT = Actor("root", "admin")
PRODUCTION = PromotionPolicy(environment="production")


@pytest.fixture
def world(tmp_path):
    it = World(tmp_path, audit=MemoryAudit())
    it.deploy_first()
    return it


def start(world, policy=PRODUCTION, label="3.2", actor=ANN):
    world.controller.start_rollout(spec(label, policy=policy), actor=actor)


def approve(world, actor, version="3.2", **body):
    command = ApprovalCommand("approve", NewApproval("churn", version, **body))
    return world.controller.manage_approvals(command, actor).approvals[0]


def revoke(world, actor, version="3.2", name=""):
    return world.controller.manage_approvals(
        ApprovalCommand("revoke", revoke=RevokedApproval("churn", version, name)), actor
    )


def approvals(world):
    return world.controller.manage_approvals(ApprovalCommand("list"), EVE).approvals


def until_it_waits(world, at_most_s=200):
    for _ in range(at_most_s):
        gate = world.status().gate
        if gate is not None and gate.is_waiting:
            return
        world.second()
    raise AssertionError(f"it does not wait: {world.status().phase} {world.status().message}")


def command(world, name, actor=EVE, **fields):
    return world.controller.command(RolloutCommand("churn", name, **fields), actor)


def kinds(world):
    return [entry.kind.value for entry in world.journal.entries("churn")]


def test_without_a_policy_nothing_is_asked(world):
    start(world, PromotionPolicy())
    assert world.status().gate is None
    world.until("PROMOTED")
    assert "BARRED" not in kinds(world)


def test_it_waits_at_its_last_step_and_goes_on_by_itself(world):
    start(world)
    until_it_waits(world)
    status = world.status()
    assert (status.phase, status.step_index) == ("BAKE", 2)
    assert status.message == (
        "waits for the policy: approvals: 0 of 1 approvals; "
        "ask an approver other than ann, who has started it, for `divisions approve churn@3.2`"
    )
    assert world.weights() == {"3.1": 300, "3.2": 9_700}
    world.seconds(300)  # longer than every longest dwell
    assert world.status().phase == "BAKE"
    assert kinds(world).count("BARRED") == 1
    approve(world, BOB, comment="looks good")
    world.until("PROMOTED", 3)
    assert world.weights() == {"3.2": 10_000} or world.weights()["3.2"] == 10_000
    assert any("approved by bob: looks good" in entry.message for entry in world.status().history)


def test_approved_before_it_waits_it_does_not_wait(world):
    start(world)
    approve(world, BOB)
    world.until("PROMOTED")
    assert "BARRED" not in kinds(world)


def test_guards_go_on_while_it_waits(world):
    start(world)
    until_it_waits(world)
    world.error_rate["3.2"] = 0.3
    world.until("ROLLED_BACK")
    assert world.weights() == {"3.1": 10_000}


def test_a_rollout_whose_traffic_ends_while_it_waits_is_not_taken_back(world):
    analysis = msgspec.structs.replace(spec("3.2").analysis, on_inconclusive="rollback")
    world.controller.start_rollout(spec("3.2", policy=PRODUCTION, analysis=analysis), actor=ANN)
    until_it_waits(world)
    world.loses_reports = True
    world.seconds(300)
    assert world.status().phase == "BAKE"
    world.loses_reports = False
    approve(world, BOB)
    world.until("PROMOTED")


def test_nobody_approves_what_they_have_started_in_production(world):
    start(world)
    with pytest.raises(PolicyRefusedError, match=r"no-self-approval: ann has started .* ask another approver"):
        approve(world, ANN)
    assert approvals(world) == ()
    assert world.audit.events[-1].outcome == "refused"
    assert "no-self-approval" in world.audit.events[-1].reason


def test_nobody_approves_what_they_have_trained_in_production(world):
    world.registered = lambda: [registered("3.2")]
    start(world)
    with pytest.raises(PolicyRefusedError, match=r"no-self-approval: tim has trained version 3.2"):
        approve(world, Actor("tim", "approver"))
    until_it_waits(world)
    assert "ask an approver other than ann, who has started it, and tim, who has trained it," in world.status().message
    approve(world, BOB)
    world.until("PROMOTED", 3)


def test_an_approval_of_who_trained_it_counts_no_more_once_that_is_known(world):
    start(world)
    approve(world, Actor("tim", "approver"))  # the registry was not read yet
    world.registered = lambda: [registered("3.2")]
    until_it_waits(world)
    assert "0 of 1 approvals" in world.status().message


def test_a_report_is_signed_off_by_its_own_hash_only(world):
    start(world, PromotionPolicy(require=("report",)))
    with pytest.raises(ConflictError, match="names no validation report"):
        approve(world, BOB, report_sha256="e" * 64)
    world.registered = lambda: [registered("3.2")]
    with pytest.raises(ConflictError, match=r"the validation report of version 3\.2 is eeee"):
        approve(world, BOB, report_sha256="a" * 64)
    approve(world, BOB)
    until_it_waits(world)
    assert "report: nobody has signed off the validation report eeee" in world.status().message
    assert "`divisions approve churn@3.2 --report FILE`" in world.status().message
    assert approve(world, BOB, report_sha256="e" * 64).report_sha256 == "e" * 64
    assert len(approvals(world)) == 1
    world.until("PROMOTED", 3)
    assert any("approved by bob with the report eeee" in entry.message for entry in world.status().history)
    assert "by bob with the report eeee" in world.audit.events[-1].after


def test_an_approval_without_a_report_takes_the_signature_back(world):
    world.registered = lambda: [registered("3.2")]
    start(world, PromotionPolicy(require=("report",)))
    approve(world, BOB, report_sha256="e" * 64)
    approve(world, BOB)
    until_it_waits(world)
    assert "report: nobody has signed" in world.status().message


def test_elsewhere_they_may(world):
    start(world, PromotionPolicy(approvals=1))
    approve(world, ANN)
    world.until("PROMOTED")


def test_two_approvals_are_of_two_people(world):
    start(world, PromotionPolicy(approvals=2))
    for _ in range(3):
        approve(world, BOB)
    assert len(approvals(world)) == 1
    until_it_waits(world)
    assert "1 of 2 approvals (bob)" in world.status().message
    approve(world, EVE)
    world.until("PROMOTED", 3)


def test_an_approval_is_taken_back(world):
    start(world)
    approve(world, BOB)
    with pytest.raises(InvalidCommandError, match="ask an admin"):
        revoke(world, EVE, name="bob")
    revoke(world, BOB)
    assert approvals(world) == ()
    until_it_waits(world)
    approve(world, BOB)
    revoke(world, ROOT, name="bob")
    with pytest.raises(UnknownVersionError, match="bob has not approved version 3"):
        revoke(world, BOB)
    world.seconds(5)
    assert world.status().phase == "BAKE"


def test_an_approval_is_of_one_bundle(world):
    start(world)
    approve(world, BOB)
    command(world, "abort", reason="trained anew")
    world.until("ROLLED_BACK")
    again = spec("3.2", policy=PRODUCTION)
    other = msgspec.structs.replace(again, version=msgspec.structs.replace(again.version, bundle_sha256="f" * 64))
    world.controller.start_rollout(other, actor=ANN)
    until_it_waits(world)
    assert world.status().gate.approvals == ()
    with pytest.raises(ConflictError, match="not the one you have seen"):
        approve(world, BOB, bundle_sha256="a" * 64)
    approve(world, BOB, bundle_sha256="f" * 64)
    world.until("PROMOTED", 3)


def test_an_approval_ends(world):
    start(world)
    approve(world, BOB)
    world.clock.advance(APPROVAL_S + 1)
    until_it_waits(world)
    assert "0 of 1" in world.status().message


def test_the_approval_of_a_rollout_that_made_way_still_counts(world):
    start(world)
    approve(world, BOB)
    start(world, label="3.3")
    world.seconds(30)
    assert world.status().canary_version == "3.3"
    assert [each.version for each in approvals(world)] == ["3.2"]
    until_it_waits(world)


@pytest.mark.parametrize("version", ["3.1", "3.9", "x" * 100])
def test_only_what_is_rolled_out_is_approved(world, version):
    start(world)
    with pytest.raises(UnknownVersionError, match="start its rollout first"):
        approve(world, BOB, version)


def test_a_queued_version_is_approved(world):
    start(world)
    world.seconds(3)
    world.controller.start_rollout(spec("3.3", policy=PRODUCTION), actor=BOB)
    with pytest.raises(PolicyRefusedError):
        approve(world, BOB, "3.3")
    approve(world, ANN, "3.3")
    for _ in range(200):
        if world.status().canary_version == "3.3" and world.status().phase == "PROMOTED":
            return
        world.second()
    raise AssertionError(world.status().message)


def test_a_hostile_comment_is_refused(world):
    start(world)
    for comment in ("a\nb", "\x1b[31m", "\u202eevil", "\0"):
        with pytest.raises(InvalidCommandError):
            approve(world, BOB, comment=comment)
    assert approvals(world) == ()


def test_an_approval_that_cannot_be_written_is_none(world):
    start(world)
    world.is_disk_full = True
    with pytest.raises(JournalUnavailableError):
        approve(world, BOB)
    world.is_disk_full = False
    world.seconds(2)
    assert approvals(world) == ()


def test_an_endpoints_first_version_waits_without_traffic(tmp_path):
    world = World(tmp_path)
    start(world, label="3.1")
    until_it_waits(world)
    assert (world.status().phase, world.weights()) in [("WARMING", {}), ("WARMING", {"3.1": 0})]
    world.seconds(100)  # longer than a deployment may take
    assert world.status().phase == "WARMING"
    approve(world, BOB, "3.1")
    world.until("PROMOTED", 3)


def test_the_glass_of_a_first_version_is_broken(tmp_path):
    world = World(tmp_path)
    start(world, label="3.1")
    until_it_waits(world)
    command(world, "promote", reason="nothing serves", break_glass=True)
    assert world.status().phase == "PROMOTED"


def test_promote_asks_the_policy_and_can_break_the_glass(world):
    start(world)
    world.until("STEP")
    with pytest.raises(PolicyRefusedError, match="approvals: 0 of 1"):
        command(world, "promote")
    assert world.status().phase == "STEP"
    command(world, "promote", reason="3.1 is on fire", break_glass=True)
    assert world.status().phase == "PROMOTED"
    assert world.status().message.startswith(
        "3.2 serves all traffic; eve broke the glass: 3.1 is on fire (not met: approvals: 0 of 1"
    )
    asked, done = world.audit.events[-2:]
    assert (asked.action, asked.outcome, asked.reason) == ("promote, breaking the glass", "asked", "3.1 is on fire")
    assert (done.outcome, done.reason) == ("done", "3.1 is on fire")
    assert asked.before.startswith("STEP of 3.2 at 2000 bp")
    assert done.after.startswith("PROMOTED of 3.2 at 10000 bp")


@pytest.mark.parametrize(
    ("name", "reason"),
    [("promote", ""), ("promote", "  "), ("abort", "why"), ("promote", "a\nb"), ("promote", "x" * 501)],
)
def test_the_glass_is_broken_for_a_reason_only(world, name, reason):
    start(world)
    world.until("STEP")
    with pytest.raises(InvalidCommandError):
        command(world, name, reason=reason, break_glass=True)
    assert world.status().phase == "STEP"


def test_the_way_back_never_asks(world):
    start(world)
    until_it_waits(world)
    command(world, "abort", reason="no")
    world.until("ROLLED_BACK")
    assert world.status().rollback_reason == "aborted by eve: no"
    start(world, label="3.3")
    approve(world, BOB, "3.3")
    world.until("PROMOTED")
    command(world, "rollback", reason="callers complain")
    world.until("PROMOTED")
    assert world.status().stable_version == "3.1"
    assert "3.1 created by eve: callers complain" in [entry.message for entry in world.status().history]
    assert world.audit.events[-1].reason == "callers complain"


def test_a_version_that_never_served_is_no_way_back(world):
    start(world)
    world.until("STEP")
    command(world, "abort")
    world.until("ROLLED_BACK")
    command(world, "rollback", to="3.2", actor=ANN)
    until_it_waits(world)
    assert world.weights().get("3.2", 0) == 0
    approve(world, BOB)
    world.until("PROMOTED", 3)


def test_in_production_clusters_every_rollout_needs_somebody_else(tmp_path):
    world = World(tmp_path, environment="production")
    world.controller.start_rollout(spec("3.1"), actor=ANN)
    until_it_waits(world)
    with pytest.raises(PolicyRefusedError):
        approve(world, ANN, "3.1")
    approve(world, BOB, "3.1")
    world.until("PROMOTED", 3)


def test_in_a_freeze_window_no_weight_rises(world):
    now_s = world.clock.wall_s()
    day = 86_400.0
    weekday = ("Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed")[int(now_s // day) % 7]
    minute = int(now_s % day // 60)
    end = minute + 30
    window = FreezeWindow(f"{weekday} {minute // 60:02}:{minute % 60:02}", f"{weekday} {end // 60:02}:{end % 60:02}")
    assert window.has(now_s)
    start(world, PromotionPolicy(freeze=(window,)))
    until_it_waits(world)
    assert world.status().phase == "WARMING"
    assert "freeze: changes are frozen from" in world.status().message
    world.seconds(200)
    assert world.status().phase == "WARMING"
    with pytest.raises(IllegalEventError, match="cannot promote a rollout that is WARMING"):
        command(world, "promote")
    world.clock.advance(31 * 60 - 200)
    world.until("PROMOTED")


def test_a_senseless_policy_is_refused(world):
    for policy, why in (
        (PromotionPolicy(approvals=99), "approvals must be from 0 to 10"),
        (PromotionPolicy(freeze=(FreezeWindow("Fri", "Mon 01:00"),)), "'Fri' is no time"),
        (PromotionPolicy(require=("luck",)), "require knows metrics, lineage, drift, report, trainer"),
        (PromotionPolicy(environment="Produktion!"), "environment must be"),
    ):
        with pytest.raises(MalformedRequestError, match=why):
            start(world, policy)


def test_what_is_not_known_is_missing(world):
    start(world, PromotionPolicy(require=("metrics", "lineage", "drift"), registries=("oci://here/models",)))
    rules = [reason.rule for reason in world.status().gate.reasons]
    assert rules == ["metrics", "lineage", "drift", "registries"]
    until_it_waits(world)


class TestEngine:
    @pytest.fixture
    def world(self, tmp_path):
        return world_with_engine(tmp_path)

    def ask(self, world, decision):
        asked = world.controller.gates.due(world.controller.records)
        for endpoint, query in asked:
            world.controller.gates.decided(world.controller.records[endpoint], query, decision)
        return asked

    def test_a_silent_engine_lets_nothing_pass(self, world):
        start(world, PromotionPolicy())
        until_it_waits(world)
        assert "engine: the engine of policies has not answered yet" in world.status().message
        world.seconds(100)
        assert world.status().phase == "BAKE"

    def test_its_refusal_is_told_and_its_leave_counts(self, world):
        start(world, PromotionPolicy(environment="staging"))
        no = Decision(False, (Reason("lineage", "no commit is known", "train from git"),))
        for _ in range(60):
            world.second()
            self.ask(world, no)
        until_it_waits(world)
        self.ask(world, no)
        assert "lineage: no commit is known; train from git" in world.status().message
        world.seconds(6)
        ((_, query),) = self.ask(world, Decision(True))
        assert query.input.environment == "staging"
        assert query.input.requester.name == "ann"
        world.until("PROMOTED", 3)

    def test_an_engine_that_does_not_decide_is_asked_less_often_and_its_refusal_stands(self, world):
        start(world, PromotionPolicy())
        asked = 0
        for _ in range(300):
            asked += len(self.ask(world, refusal("it was late", "look at it")))
            assert [reason.message for reason in world.status().gate.reasons] == ["it was late"]
            world.second()
        assert 300 / LONGEST_PAUSE_S <= asked <= 300 / LONGEST_PAUSE_S + 5

    def test_an_old_leave_does_not_count(self, world):
        start(world, PromotionPolicy())
        self.ask(world, Decision(True))
        command(world, "pause")
        assert world.status().gate.reasons == ()
        world.seconds(40)
        assert world.status().gate.reasons[0].rule == "engine"

    def test_an_answer_about_other_approvals_does_not_count(self, world):
        start(world, PromotionPolicy())
        ((endpoint, query),) = world.controller.gates.due(world.controller.records)
        approve(world, BOB)
        world.controller.gates.decided(world.controller.records[endpoint], query, Decision(True))
        assert world.status().gate.reasons[0].rule == "engine"
        ((_, query),) = self.ask(world, Decision(True))
        assert [each.name for each in query.input.approvals] == ["bob"]
        assert world.status().gate.reasons == ()

    def test_a_refusal_without_a_reason_is_one(self, world):
        start(world, PromotionPolicy())
        self.ask(world, Decision(False))
        assert "without a reason" in world.status().gate.reasons[0].message


def test_what_waits_waits_after_a_restart(world):
    start(world)
    until_it_waits(world)
    approve(world, EVE)
    revoke(world, EVE)
    for _ in range(3):
        world.restart_controller()
        world.seconds(30)
        assert world.status().phase == "BAKE"
    until_it_waits(world)
    assert kinds(world).count("BARRED") == 1
    approve(world, BOB)
    world.restart_controller()
    assert [each.name for each in approvals(world)] == ["bob"]
    world.until("PROMOTED")


def test_the_policy_is_older_releases_unknown(world):
    """A record without approvals and a policy is read as one that asks for nothing."""
    record = world.controller.records["churn"]
    document = msgspec.to_builtins(record)
    for name in ("approvals", "served"):
        del document[name]
    for name in ("who", "role", "is_way_back"):
        del document["rollout"][name]
    del document["rollout"]["spec"]["policy"]
    old = msgspec.convert(document, type(record))
    assert old.approvals == ()
    assert old.rollout.spec.policy == PromotionPolicy()
    assert isinstance(world.controller, Controller)
