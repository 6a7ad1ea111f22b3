"""The controller under arbitrary operations: deploys, commands, kills, lost reports, dead replicas, slow versions."""

import shutil
import tempfile
from pathlib import Path

import msgspec
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from divisions.control import FULL_BP, RolloutCommand
from divisions.errors import RolloutError
from tests.router.rollouts import World, spec

LABELS = ["3.1", "3.2", "3.3"]


class ControllerMachine(RuleBasedStateMachine):
    def __init__(self):
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="divisions-test"))
        self.world = World(self.folder)
        self.epoch = 0

    def teardown(self):
        self.world.journal.close()
        shutil.rmtree(self.folder)

    def try_to(self, act):
        """Carries something out; killed on the way, the controller comes back."""
        try:
            act()
        except RolloutError:
            pass
        except KeyboardInterrupt:
            self.world.restart_controller()

    @property
    def has_rollout(self):
        return bool(self.world.controller.status().rollouts)

    @rule(number=st.sampled_from([1, 1, 3, 12]))
    def let_time_pass(self, number):
        for _ in range(number):
            self.try_to(self.world.second)

    @rule(label=st.sampled_from(LABELS), force=st.booleans(), policy=st.sampled_from(["auto", "auto", "hold"]))
    def deploy(self, label, force, policy):
        self.try_to(lambda: self.world.controller.start_rollout(spec(label, rollback_policy=policy), force=force))

    @precondition(lambda self: self.has_rollout)
    @rule(
        name=st.sampled_from(["pause", "resume", "promote", "abort", "rollback"]),
        to=st.sampled_from([None, None, *LABELS]),
        lag=st.sampled_from([None, None, 0, 1]),
    )
    def command(self, name, to, lag):
        status = self.world.status()
        generation = None if lag is None else status.generation - lag
        command = RolloutCommand("churn", name, to=to, generation=generation)
        self.try_to(lambda: self.world.controller.command(command))
        if lag == 1:
            assert self.world.status() == status, "a command for an older generation changes nothing"

    @precondition(lambda self: self.has_rollout)
    @rule()
    def abort_and_die(self):
        """An abort that was answered is never undone."""
        status = self.world.status()
        if status.phase in {"PENDING", "WARMING", "STEP", "BAKE", "HOLD"}:
            self.world.die_before = []
            self.world.controller.command(RolloutCommand("churn", "abort"))
            self.world.restart_controller()
            assert self.world.status().phase in {"ROLLING_BACK", "DRAINING", "ROLLED_BACK"}

    @rule()
    def kill(self):
        before = self.world.controller._records
        self.world.restart_controller()
        after = self.world.controller._records
        for name, record in before.items():
            assert after[name].generation == record.generation
            assert after[name].rollout.canary_bp == record.rollout.canary_bp
            assert type(after[name].rollout.state) is type(record.rollout.state)

    @rule(kind=st.sampled_from(["CREATED", "STEP_INTENT", "ROLLBACK_INTENT", "DECISION", "DRAINED", "EPOCH", "QUEUED"]))
    def die_at_the_next(self, kind):
        self.world.die_before = [kind]

    @rule(label=st.sampled_from(LABELS), latency_s=st.sampled_from([0.0008, 0.0008, 0.02]))
    def change_latency(self, label, latency_s):
        self.world.latency_s[label] = latency_s

    @rule(label=st.sampled_from(LABELS))
    def replicas_fall_silent_or_come_back(self, label):
        self.world.silent ^= {label}

    @rule()
    def lose_or_deliver_reports(self):
        self.world.loses_reports ^= True

    @rule(seconds=st.sampled_from([0.4, 100.0, 1e6]))
    def clock_jumps(self, seconds):
        self.world.clock.advance(seconds)

    @invariant()
    def weights_sum_to_all_traffic(self):
        for table in (self.world.controller.table, self.world.table):
            for endpoint in table.endpoints if table else ():
                assert sum(route.weight_bp for route in endpoint.versions) == FULL_BP
                assert [route.is_canary for route in endpoint.versions] in ([False], [False, True])

    @invariant()
    def what_is_routed_should_run(self):
        wanted = self.world.controller.wanted()
        for endpoint in self.world.controller.table.endpoints:
            for route in endpoint.versions:
                assert wanted[route.version.app_name] == route.version

    @invariant()
    def rolled_back_means_zero(self):
        for status in self.world.controller.status().rollouts:
            if status.phase in {"DRAINING", "ROLLED_BACK"}:
                assert status.actual_weight_bp == 0
                assert self.world.weights().get(status.canary_version, 0) == 0 or self.world.controller.is_recovering

    @invariant()
    def the_epoch_only_rises(self):
        published = self.world.controller.table.epoch
        assert published == 0 or published >= self.epoch
        self.epoch = max(self.epoch, published)

    @invariant()
    def history_is_linear(self):
        generations = [entry.generation for entry in self.world.journal.entries("churn")]
        assert generations == sorted(generations)

    @invariant()
    def the_status_can_be_sent(self):
        status = self.world.controller.status()
        assert msgspec.json.decode(msgspec.json.encode(status), type=type(status)) == status


ControllerMachine.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestController = ControllerMachine.TestCase
