"""Approvals and rollouts under arbitrary operations: people who approve, take it back, start and abort; kills before
writes; clocks that jump. Nothing is promoted without somebody else's approval of that bundle."""

import msgspec
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import invariant, rule

from divisions.access.requests import Actor
from divisions.control import FULL_BP, RolloutCommand
from divisions.promotion import APPROVAL_S, ApprovalCommand, NewApproval, PromotionPolicy, RevokedApproval
from tests.router.rollout_machine import RolloutMachine
from tests.router.rollout_world import spec

PEOPLE = ["ann", "bob", "eve"]
LABELS = ["3.1", "3.2"]
POLICY = PromotionPolicy(environment="production", approvals=1)
people, labels, bundles = st.sampled_from(PEOPLE), st.sampled_from(LABELS), st.sampled_from(["a" * 64, "b" * 64])


class ApprovalMachine(RolloutMachine):
    def __init__(self):
        super().__init__()
        self.given = []
        """What was ever approved: by whom, which version and bundle, and when."""
        self.has_broken = False
        self.served = set()
        """Versions that have served all traffic, by label and bundle."""

    @rule(number=st.sampled_from([1, 5, 40]))
    def let_time_pass(self, number):
        for _ in range(number):
            self.try_to(self.world.second)
            self.look()

    @rule(who=people, label=labels, bundle=bundles)
    def start(self, who, label, bundle):
        asked = spec(label, policy=POLICY)
        asked = msgspec.structs.replace(asked, version=msgspec.structs.replace(asked.version, bundle_sha256=bundle))
        self.try_to(lambda: self.world.controller.start_rollout(asked, actor=Actor(who, "deployer")))

    @rule(who=people, label=labels, bundle=bundles)
    def approve(self, who, label, bundle):
        command = ApprovalCommand("approve", NewApproval("churn", label, bundle))
        self.given.append((who, label, bundle, self.world.clock.wall_s()))  # also if it is not answered
        self.try_to(lambda: self.world.controller.manage_approvals(command, Actor(who, "approver")))

    @rule(who=people, label=labels)
    def take_back(self, who, label):
        command = ApprovalCommand("revoke", revoke=RevokedApproval("churn", label))
        self.try_to(lambda: self.world.controller.manage_approvals(command, Actor(who, "approver")))

    @rule(name=st.sampled_from(["abort", "pause", "resume", "promote", "rollback"]), label=st.none() | labels)
    def command(self, name, label):
        self.try_to(lambda: self.world.controller.command(RolloutCommand("churn", name, to=label), Actor("eve")))
        self.look()

    @rule(jump_s=st.sampled_from([3_600.0, 86_400.0, APPROVAL_S + 1.0]))
    def jump(self, jump_s):
        self.world.clock.advance(jump_s)

    @rule()
    def kill(self):
        self.world.restart_controller()

    @rule(kind=st.sampled_from(["BARRED", "APPROVED", "PROMOTED", "STEP_INTENT", "CREATED"]))
    def die_before_a_write(self, kind):
        self.world.die_before = [kind]

    def look(self):
        """Whoever serves all traffic was approved by somebody else, or has served before."""
        for record in self.world.controller.records.values():
            rollout = record.rollout
            if type(rollout.state).__name__ != "Promoted":
                continue
            version = rollout.spec.version
            name = (version.version, version.bundle_sha256)
            assert version.bundle_sha256 in {bundle for _, bundle in self.served} or any(
                (label, bundle) == name and who != rollout.who for who, label, bundle, _ in self.given
            ), (rollout.who, name, self.given)
            self.served.add(name)

    @invariant()
    def each_person_counts_once(self):
        for record in self.world.controller.records.values():
            found = [(each.bundle_sha256, each.name) for each in record.approvals]
            assert len(found) == len(set(found))

    @invariant()
    def what_waits_has_a_reason_and_weights_sum_up(self):
        for status in self.world.controller.status().rollouts:
            if status.gate is not None and status.gate.is_waiting:
                assert status.gate.reasons
                assert status.message.startswith("waits for the policy: ")
        weights = self.world.weights()
        assert not weights or sum(weights.values()) == FULL_BP


TestApprovals = ApprovalMachine.TestCase
TestApprovals.settings = settings(max_examples=15, stateful_step_count=25, deadline=None)
