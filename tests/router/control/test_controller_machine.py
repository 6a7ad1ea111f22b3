"""The controller under arbitrary operations: deploys, commands, kills, lost and repeated reports, stale gateways, dead
replicas, slow versions, breakers, clock jumps. More than 10,000 operations in all, with what must hold after each."""

import msgspec
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import invariant, precondition, rule

from divisions.control import FULL_BP, RolloutCommand
from divisions.errors import RolloutError
from divisions.reports import BreakerTrip
from tests.router.rollout_machine import RolloutMachine
from tests.router.rollout_world import ANALYSIS, spec

LABELS = ["3.1", "3.2", "3.3"]


class ControllerMachine(RolloutMachine):
    def __init__(self):
        super().__init__()
        self.epoch = 0
        self.canary_bp = 0
        self.rollout = 0
        self.may_raise = False

    def come_back(self):
        """Epochs that were published while the journal could not be written may be used again, until a gateway tells of
        them."""
        if self.world.controller.status().journal_fault:
            self.epoch = 0
        self.world.restart_controller()

    @property
    def has_rollout(self):
        return bool(self.world.controller.status().rollouts)

    @rule(number=st.sampled_from([1, 1, 3, 12]))
    def let_time_pass(self, number):
        self.may_raise = True
        for _ in range(number):
            self.try_to(self.world.second)

    @precondition(lambda self: self.has_rollout)
    @rule(age_s=st.sampled_from([0, 1, 2, 5, 40]), times=st.sampled_from([1, 2]))
    def reports_come_late_or_twice(self, age_s, times):
        report = self.world._report(int(self.world.clock.monotonic_s()) - age_s)
        for _ in range(times if report else 0):
            self.try_to(lambda: self.deliver(report))

    def deliver(self, report):
        """What counts may be the evidence that a step waited for since time passed; what does not changes nothing."""
        self.may_raise |= self.world.controller.report(report)

    @rule()
    def the_gateway_goes_stale_or_catches_up(self):
        self.world.is_stale ^= True
        self.world._follow_table()

    @precondition(lambda self: self.has_rollout and self.world.controller.table.endpoints)
    @rule(is_ours=st.booleans())
    def a_breaker_trips(self, is_ours):
        route = self.world.controller.table.endpoints[0]
        canary = next((each.version.app_name for each in route.versions if each.is_canary), "churn-predictor-v3.9")
        salt = route.salt if is_ours else "another"
        self.world.trip = BreakerTrip(salt, canary, 15.0, 13.8, 100, 0, 25, 20)

    @rule(realised_bp=st.sampled_from([None, None, 0, 1_000]))
    def the_split_breaks_or_is_mended(self, realised_bp):
        self.world.realised_bp = realised_bp

    @precondition(lambda self: self.has_rollout)
    @rule()
    def promotion_races_rollback(self):
        """Both for the generation that both saw: one wins."""
        status = self.world.status()
        outcomes = []
        for name in ("promote", "abort", "rollback", "promote"):
            self.may_raise |= name == "promote"
            try:
                self.world.controller.command(RolloutCommand("churn", name, generation=status.generation))
                outcomes.append(name)
            except RolloutError:
                pass
            except KeyboardInterrupt:
                self.come_back()
                return
        assert len(outcomes) <= 1

    @rule(
        label=st.sampled_from(LABELS),
        force=st.booleans(),
        policy=st.sampled_from(["auto", "auto", "hold"]),
        shadow_s=st.sampled_from([0, 0, 4]),
    )
    def deploy(self, label, force, policy, shadow_s):
        analysis = msgspec.structs.replace(ANALYSIS, shadow_s=shadow_s)
        requested = spec(label, rollback_policy=policy, analysis=analysis)
        self.try_to(lambda: self.world.controller.start_rollout(requested, force=force))

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
        self.may_raise |= name in {"promote", "rollback"}
        self.try_to(lambda: self.world.controller.command(command))
        if lag == 1:
            assert self.world.status() == status, "a command for an older generation changes nothing"

    @precondition(lambda self: self.has_rollout)
    @rule()
    def abort_and_die(self):
        """An abort that was answered is never undone."""
        status = self.world.status()
        if status.phase in {"PENDING", "WARMING", "SHADOW", "STEP", "BAKE", "HOLD"}:
            self.world.die_before = []
            answer = self.world.controller.command(RolloutCommand("churn", "abort"))
            assert bool(answer.unwritten) == self.world.is_disk_full
            if not answer.unwritten:
                self.world.restart_controller()
                assert self.world.status().phase in {"ROLLING_BACK", "DRAINING", "ROLLED_BACK"}

    @rule()
    def the_disk_fills_up_or_is_freed(self):
        self.world.is_disk_full ^= True

    @property
    def is_rollback_unwritten(self):
        rollouts = self.world.controller.status().rollouts
        return any(each.unwritten and each.phase in {"ROLLING_BACK", "DRAINING"} for each in rollouts)

    @precondition(
        lambda self: (
            self.is_rollback_unwritten
            and self.world.status().stable_version
            and not self.world.is_stale
            and not self.world.controller.is_recovering
        )
    )
    @rule(is_freed=st.booleans())
    def kill_while_a_rollback_is_not_on_disk(self, is_freed):
        """The journal does not know it, but gateways do: whatever is replayed, its canary gets no traffic again. The
        rollout that it made way for may."""
        self.world._follow_table()
        number = self.world.controller.records["churn"].rollout.number
        version = self.world.status().canary_version
        before_bp = self.world.weights().get(version, 0)
        self.world.is_disk_full &= not is_freed
        self.world.restart_controller()
        self.world._follow_table()
        for _ in range(20):
            self.try_to(self.world.second)
            is_same = self.world.controller.records["churn"].rollout.number == number
            assert not is_same or self.world.weights().get(version, 0) <= before_bp
        self.may_raise = True

    @precondition(lambda self: not self.world.controller.status().unwritten)
    @rule()
    def kill(self):
        before = self.world.controller.records
        self.world.restart_controller()
        after = self.world.controller.records
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
        self.world._follow_table()  # The gateway waits for tables, and has had the time.
        self.world.clock.advance(seconds)

    @invariant()
    def only_time_or_the_operator_raises_the_canary(self):
        for record in self.world.controller.records.values():
            is_same = record.rollout.number == self.rollout
            assert record.rollout.canary_bp <= self.canary_bp or self.may_raise or not is_same
            self.rollout, self.canary_bp = record.rollout.number, record.rollout.canary_bp
        self.may_raise = False

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
                routed = self.world.weights().get(status.canary_version, 0)
                assert routed == 0 or self.world.controller.is_recovering or self.world.is_stale

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


ControllerMachine.TestCase.settings = settings(max_examples=400, stateful_step_count=40, deadline=None)
TestController = ControllerMachine.TestCase
