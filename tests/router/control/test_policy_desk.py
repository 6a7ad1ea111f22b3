"""Who is refused by an engine of policies, what it is never asked about, and how its answers reach a rollout."""

import asyncio

import msgspec
import pytest

from divisions.access.requests import Actor
from divisions.access.roles import Role
from divisions.errors import AccessDeniedError, ConflictError, UnknownVersionError
from divisions.policy.engine import Decision, Kind, Reason
from divisions.policy.facts import AccessFacts, Person, VersionFact
from divisions.promotion import ApprovalCommand, FreezeWindow, NewApproval, PromotionPolicy
from router.control.policy_desk import ACTIONS, PolicyDesk
from tests.router.control.test_approvals import BOB, start
from tests.router.rollout_world import registered, world_with_engine

ANN = Actor("ann", Role.DEPLOYER, endpoints=("churn",))
NO = Decision(False, (Reason("night", "nobody deploys at night", "come back in the morning"),))


class Engine:
    def __init__(self, decision):
        self.decision = decision
        self.asked = []

    def decide(self, query):
        self.asked.append(query)
        return self.decision


def objection(engine, verb):
    return asyncio.run(PolicyDesk(engine).objection(verb, ANN, "churn"))


@pytest.mark.parametrize("verb", ACTIONS)
def test_a_refusal_says_the_rule_and_how_to_comply(verb):
    engine = Engine(NO)
    assert objection(engine, verb) == (
        "the policy refuses this: night: nobody deploys at night; come back in the morning"
    )
    (query,) = engine.asked
    assert query.kind is Kind.RBAC
    assert (query.input.principal.name, query.input.action) == ("ann", ACTIONS[verb].value)
    assert (query.input.principal.endpoints, query.input.endpoint) == (("churn",), "churn")


@pytest.mark.parametrize("verb", ["pause", "abort", "rollback"])
def test_what_takes_a_rollout_back_is_never_asked_about(verb):
    engine = Engine(NO)
    assert objection(engine, verb) == ""
    assert engine.asked == []


def test_what_is_allowed_or_has_no_engine_is_not_refused():
    assert objection(Engine(Decision(True)), "start") == ""
    assert objection(None, "start") == ""


class TestApprovals:
    @pytest.fixture
    def world(self, tmp_path):
        it = world_with_engine(tmp_path)
        it.registered = lambda: [registered("3.2")]
        start(it, PromotionPolicy(environment="production"))
        return it

    def approve(self, world, engine, actor=BOB, **fields):
        asked, about = world.controller.approvals.pinned(ApprovalCommand("approve", NewApproval("churn", **fields)))
        desk = PolicyDesk(engine)
        barred = asyncio.run(desk.objection("approve", actor, "churn", about)) if about is not None else ""
        return world.controller.manage_approvals(asked, actor, barred=barred)

    def test_the_engine_is_told_the_version_and_who_has_made_it(self, world):
        engine = Engine(Decision(True))
        self.approve(world, engine, version="3.2", report_sha256="e" * 64)
        about = VersionFact("churn-predictor", "3.2", "3.2" * 8, "production", ("ann", "tim"), "e" * 64)
        assert engine.asked[0].input == AccessFacts(Person("bob", "approver"), "approve", "churn", about)

    def test_whom_it_refuses_has_not_approved(self, world):
        with pytest.raises(AccessDeniedError, match="night: nobody deploys at night; come back in the morning"):
            self.approve(world, Engine(NO), version="3.2")
        assert world.controller.records["churn"].approvals == ()

    def test_what_there_is_not_is_not_asked_about(self, world):
        engine = Engine(NO)
        with pytest.raises(UnknownVersionError):
            self.approve(world, engine, version="9.9")
        assert engine.asked == []

    def test_leave_for_one_bundle_is_none_for_another(self, world):
        asked, _ = world.controller.approvals.pinned(ApprovalCommand("approve", NewApproval("churn", "3.2")))
        assert asked.approve.bundle_sha256 == "3.2" * 8
        record = world.controller.records["churn"]
        other = msgspec.structs.replace(record.rollout.spec.version, bundle_sha256="f" * 64)
        spec = msgspec.structs.replace(record.rollout.spec, version=other)
        rollout = msgspec.structs.replace(record.rollout, spec=spec)
        world.controller._endpoints.records["churn"] = msgspec.structs.replace(record, rollout=rollout)
        with pytest.raises(ConflictError, match="not the one you have seen"):
            world.controller.manage_approvals(asked, BOB)


class TestPromotions:
    @pytest.fixture
    def world(self, tmp_path):
        return world_with_engine(tmp_path)

    def ask(self, world, engine):
        asyncio.run(PolicyDesk(engine).ask(world.controller.gates, world.controller.records))

    def test_answers_reach_the_rollout(self, world):
        start(world, PromotionPolicy())
        self.ask(world, Engine(NO))
        assert [reason.rule for reason in world.status().gate.reasons] == ["night"]
        world.seconds(6)
        self.ask(world, Engine(Decision(True)))
        assert world.status().gate.reasons == ()

    def test_it_is_told_what_the_pipeline_asks_for(self, world):
        always = FreezeWindow("2000-01-01 00:00", "9999-01-01 00:00")
        start(world, PromotionPolicy(approvals=2, require=("lineage",), registries=("oci://r",), freeze=(always,)))
        engine = Engine(NO)
        self.ask(world, engine)
        asked = engine.asked[0].input.asked
        assert (asked.require, asked.approvals, asked.stores) == (("lineage",), 2, ("oci://r",))
        assert asked.frozen_until == str(always)

    def test_nothing_is_asked_without_an_engine(self, world):
        start(world, PromotionPolicy())
        self.ask(world, None)
        assert [reason.rule for reason in world.status().gate.reasons] == ["engine"]
