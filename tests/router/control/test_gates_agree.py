"""What a pipeline asks of a promotion: the plain rules and the engine in process refuse the same cases by the same."""

from __future__ import annotations

import contextlib
from dataclasses import replace

import msgspec
import pytest

from divisions.access.requests import Actor
from divisions.drift import DriftAlert, DriftSummary
from divisions.policy.bundle import load_bundle
from divisions.policy.image import image_fact
from divisions.policy.rego_engine import RegoEngine
from divisions.promotion import Approval, FreezeWindow, PromotionPolicy
from divisions.versions import ValidationStatus
from router.control.gate_desk import GateDesk, Sources
from tests.router.rollout_world import World, registered, spec

DIGEST = "sha256:" + "0123456789abcdef" * 4
ALWAYS = FreezeWindow("2000-01-01 00:00", "9999-01-01 00:00")
POLICY = PromotionPolicy(
    environment="production",
    require=("metrics", "lineage", "drift", "report", "trainer"),
    registries=("oci://r.example/models",),
    images=("r.example/divisions",),
)
ALERT = DriftAlert("age", "24h", "training", 0.4, 0.2, 0.0)
DRIFT = DriftSummary("churn", "3.1", "ok", 0, (), "age", 0.1)
GOOD = Sources(
    lambda: [registered("3.2")],
    lambda: [DRIFT],
    "oci://r.example/models/churn",
    image=image_fact(f"r.example/divisions:1@{DIGEST}"),
)
SIGNED = "e" * 64
DATA = "gates:\n  require: [metrics, drift, lineage, approvals, freeze, store, image]\n  allow_unknown_drift: false\n"
"""Drift that is not known has passed by default; for a pipeline that asks for it, it has not."""


def by(name: str, report: str = SIGNED) -> Approval:
    return Approval("churn", "3.2", "3.2" * 8, name, "approver", 0.0, 9e9, report_sha256=report)


def of(**changes) -> Sources:
    return replace(GOOD, registered=lambda: [registered("3.2", **changes)])


def drifting(**changes) -> Sources:
    return replace(GOOD, drift=lambda: [msgspec.structs.replace(DRIFT, **changes)])


CASES = {
    "all is well": (GOOD, [by("bob")], POLICY, set()),
    "two sign": (GOOD, [by("bob"), by("eve", "")], POLICY, set()),
    "the registry is away": (
        replace(GOOD, registered=lambda: None), [by("bob")], POLICY, {"metrics", "lineage", "report", "trainer"},
    ),
    "another bundle is registered": (
        replace(GOOD, registered=lambda: [msgspec.structs.replace(registered("3.2"), bundle_sha256="f" * 64)]),
        [by("bob")], POLICY, {"metrics", "lineage", "report", "trainer"},
    ),
    "a gate has failed": (of(validation_status=ValidationStatus.FAILED), [by("bob")], POLICY, {"metrics"}),
    "a gate is pending": (of(validation_status=ValidationStatus.PENDING), [by("bob")], POLICY, {"metrics"}),
    "there are no metrics": (of(metrics={}), [by("bob")], POLICY, {"metrics"}),
    **{
        f"{name} is not known": (of(lineage={name: ""}), [by("bob")], POLICY, {"lineage"})
        for name in ("data_sha256", "code", "schema_sha256", "pipeline_sha256")
    },
    "the report is not known": (of(lineage={"report_sha256": ""}), [by("bob")], POLICY, {"report"}),
    "nobody has signed the report": (GOOD, [by("bob", "")], POLICY, {"report"}),
    "another report was signed": (GOOD, [by("bob", "a" * 64)], POLICY, {"report"}),
    "the trainer is not known": (of(lineage={"trainer": ""}), [by("bob")], POLICY, {"trainer"}),
    "the trainer approves": (GOOD, [by("tim")], POLICY, {"approvals", "report"}),
    "who deploys approves": (GOOD, [by("ann")], POLICY, {"approvals", "report"}),
    "the trainer approves, and somebody else": (GOOD, [by("tim"), by("bob", "")], POLICY, {"report"}),
    "nobody approves": (GOOD, [], POLICY, {"approvals", "report"}),
    "two must": (GOOD, [by("bob")], msgspec.structs.replace(POLICY, approvals=2), {"approvals"}),
    "the drift is not known": (replace(GOOD, drift=tuple), [by("bob")], POLICY, {"drift"}),
    "the drift has no score": (drifting(score=None), [by("bob")], POLICY, {"drift"}),
    "an alert is open": (drifting(alerts=(ALERT,)), [by("bob")], POLICY, {"drift"}),
    "it is frozen": (GOOD, [by("bob")], msgspec.structs.replace(POLICY, freeze=(ALWAYS,)), {"freeze"}),
    "bundles are elsewhere": (replace(GOOD, store="oci://r.example/models-of-others"), [by("bob")], POLICY, {"store"}),
    "bundles are at home": (replace(GOOD, store=""), [by("bob")], POLICY, {"store"}),
    "the image is not known": (replace(GOOD, image=None), [by("bob")], POLICY, {"image"}),
    "the image has a tag only": (
        replace(GOOD, image=image_fact("r.example/divisions:1")), [by("bob")], POLICY, {"image"},
    ),
    "the image has half a digest": (
        replace(GOOD, image=image_fact(f"r.example/divisions@{DIGEST[:-1]}")), [by("bob")], POLICY, {"image"},
    ),
    "the image is another's": (
        replace(GOOD, image=image_fact(f"r.example/divisions-of-others@{DIGEST}")), [by("bob")], POLICY, {"image"},
    ),
    "the image is of another registry": (
        replace(GOOD, image=image_fact(f"r.example.evil/divisions@{DIGEST}")), [by("bob")], POLICY, {"image"},
    ),
    "elsewhere, nothing is asked": (
        Sources(lambda: [registered("3.2")], lambda: [DRIFT]), [], PromotionPolicy(environment="staging"), set(),
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def engine(tmp_path_factory):
    folder = tmp_path_factory.mktemp("policy")
    (folder / "data.yaml").write_text(DATA)
    with contextlib.closing(RegoEngine(load_bundle(folder), 30.0)) as found:
        yield found


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    it = World(tmp_path_factory.mktemp("world"))
    it.deploy_first()
    it.controller.start_rollout(spec("3.2"), actor=Actor("ann", "deployer"))
    it.seconds(1)
    return it


@pytest.mark.parametrize("case", CASES)
def test_a_promotion_is_decided_alike_by_the_plain_rules_and_by_the_engine(case, world, engine):
    sources, found, policy, missing = CASES[case]
    record = world.controller.records["churn"]
    rollout = msgspec.structs.replace(record.rollout, spec=spec("3.2", policy=policy))
    record = msgspec.structs.replace(record, rollout=rollout, approvals=tuple(found))
    status = GateDesk(world.clock, sources, has_engine=False).status(record)
    plain = {"store" if reason.rule == "registries" else reason.rule for reason in status.reasons}
    ((_, query),) = GateDesk(world.clock, sources, has_engine=True).due({"churn": record})
    decision = engine.decide(query)
    assert plain == missing
    assert {reason.rule for reason in decision.reasons} == missing
    assert decision.allow == (not missing)
    for reason in (*status.reasons, *decision.reasons):
        assert reason.message
        assert reason.remedy
