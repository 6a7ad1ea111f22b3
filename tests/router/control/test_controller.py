"""The controller with fakes around it: whole rollouts, commands, restarts at every write."""

import asyncio

import msgspec
import pytest

from divisions.control import Faults, RolloutCommand
from divisions.errors import (
    ConflictError,
    FaultsRefusedError,
    IllegalEventError,
    LatchedSpecError,
    MalformedRequestError,
    UnknownVersionError,
)
from divisions.reports import GatewayReport, LimitShares
from router.control.publisher import PARTIAL_RECOVERY_S, RECOVERY_S
from tests.router.rollout_world import ANALYSIS, World, spec, version


@pytest.fixture
def world(tmp_path):
    return World(tmp_path)


def command(world, name, **changes):
    return world.controller.command(RolloutCommand("churn", name, **changes))


def test_the_first_version_takes_all_traffic_once_it_is_warm(world):
    world.controller.start_rollout(spec("3.1"))
    assert world.weights() == {}
    world.seconds(2)
    assert world.weights() == {"3.1": 10_000}
    assert world.status().phase == "PROMOTED"
    assert world.controller.production()["churn-predictor"].version == "3.1"


def test_a_good_version_goes_from_20_to_50_to_100_percent(world):
    world.deploy_first()
    world.controller.start_rollout(spec("3.2"))
    seen = []
    while world.status().phase != "PROMOTED":
        world.second()
        if world.weights() not in seen:
            seen.append(world.weights())
        assert len(seen) < 10
    assert [weights.get("3.2", 0) for weights in seen] == [2_000, 5_000, 9_700, 10_000]
    assert world.status().rollback_reason == ""


def test_promotion_keeps_the_old_version_warm_and_then_lets_it_go(world):
    world.deploy_first()
    world.controller.start_rollout(spec("3.2"))
    world.until("PROMOTED")
    assert set(world.controller.wanted()) == {"churn-predictor-v3.1", "churn-predictor-v3.2"}
    world.seconds(int(ANALYSIS.keep_stable_s) + 1)
    assert set(world.controller.wanted()) == {"churn-predictor-v3.2"}


def test_ten_milliseconds_more_are_rolled_back_with_the_reason(world):
    world.deploy_first()
    world.latency_s["3.2"] = 0.0108
    world.controller.start_rollout(spec("3.2"))
    world.until("STEP")
    assert world.until("ROLLING_BACK") <= 15
    assert world.weights()["3.2"] == 0
    status = world.status()
    assert status.explanation.guard == "latency"
    assert status.explanation.log_e >= status.explanation.threshold
    assert status.explanation.canary_quantile_ms > 5 * status.explanation.stable_quantile_ms
    world.until("ROLLED_BACK")
    assert world.weights() == {"3.1": 10_000}
    assert set(world.controller.wanted()) == {"churn-predictor-v3.1"}
    assert world.controller.production()["churn-predictor"].version == "3.1"


def test_failing_requests_are_rolled_back_by_the_error_guard(world):
    world.deploy_first()
    world.error_rate["3.2"] = 0.05
    world.controller.start_rollout(spec("3.2"))
    world.until("STEP")
    assert world.until("ROLLING_BACK") <= 15
    assert world.status().explanation.guard == "errors"


def test_a_regression_while_baking_is_found(world):
    world.deploy_first()
    world.controller.start_rollout(spec("3.2", analysis=msgspec.structs.replace(ANALYSIS, bake_s=60)))
    world.until("BAKE")
    world.latency_s["3.2"] = 0.010
    world.until("ROLLING_BACK", at_most_s=40)
    assert world.weights() == {"3.1": 10_000, "3.2": 0}


def test_the_old_version_stays_as_holdback_while_baking(world):
    world.deploy_first()
    world.controller.start_rollout(spec("3.2"))
    world.until("BAKE")
    assert world.weights() == {"3.1": 300, "3.2": 9_700}


def test_lost_reports_never_raise_the_weight(world):
    world.deploy_first()
    world.controller.start_rollout(spec("3.2"))
    world.until("STEP")
    world.loses_reports = True
    world.until("HOLD", at_most_s=90)
    assert world.weights() == {"3.1": 8_000, "3.2": 2_000}
    assert "undecided" in world.status().message


def test_a_version_that_never_gets_warm_is_rolled_back(world):
    world.deploy_first()
    world.silent.add("3.2")
    world.controller.start_rollout(spec("3.2"))
    world.until("ROLLED_BACK", at_most_s=60)
    assert "0 of 2 replicas" in world.status().rollback_reason
    assert set(world.controller.wanted()) == {"churn-predictor-v3.1"}


def test_a_failed_deployment_is_rolled_back_at_once(world):
    world.deploy_first()
    world.silent.add("3.2")
    world.failures = {"churn-predictor-v3.2": "deploy: the bundle is damaged"}
    world.controller.start_rollout(spec("3.2"))
    world.until("ROLLED_BACK", at_most_s=15)
    assert world.status().rollback_reason == "deploy: the bundle is damaged"


def test_a_canary_without_replicas_is_rolled_back(world):
    world.deploy_first()
    world.controller.start_rollout(spec("3.2", analysis=msgspec.structs.replace(ANALYSIS, min_dwell_s=60)))
    world.until("STEP")
    world.silent.add("3.2")
    world.until("ROLLING_BACK", at_most_s=25)
    assert "none of the canary's" in world.status().rollback_reason


def test_the_same_spec_does_not_start_again_unless_forced(world):
    world.deploy_first()
    world.controller.start_rollout(spec("3.2"))
    command(world, "abort")
    world.until("ROLLED_BACK")
    with pytest.raises(LatchedSpecError, match="aborted by operator"):
        world.controller.start_rollout(spec("3.2"))
    assert world.controller.start_rollout(spec("3.2"), force=True).phase == "WARMING"


def test_a_new_version_in_mid_rollout_takes_the_place_of_the_old_one(world):
    world.deploy_first()
    world.controller.start_rollout(spec("3.2"))
    world.until("STEP")
    world.controller.start_rollout(spec("3.3"))
    assert world.weights()["3.2"] == 2_000
    world.second()
    assert world.weights()["3.2"] == 0
    world.until("STEP", at_most_s=30)
    assert world.status().canary_version == "3.3"
    assert world.status().stable_version == "3.1"
    assert set(world.controller.wanted()) == {"churn-predictor-v3.1", "churn-predictor-v3.3"}


def test_the_operator_can_pause_resume_and_promote(world):
    world.deploy_first()
    world.controller.start_rollout(spec("3.2"))
    world.until("STEP")
    assert command(world, "pause").phase == "HOLD"
    world.seconds(60)
    assert world.weights()["3.2"] == 2_000
    assert command(world, "resume").phase == "STEP"
    assert command(world, "promote").phase == "PROMOTED"
    world.second()
    assert world.weights() == {"3.2": 10_000}


def test_a_paused_rollout_is_still_guarded(world):
    world.deploy_first()
    world.controller.start_rollout(spec("3.2"))
    world.until("STEP")
    command(world, "pause")
    world.latency_s["3.2"] = 0.05
    world.until("ROLLING_BACK", at_most_s=30)


def test_under_the_hold_policy_a_regression_waits_for_the_operator(world):
    world.deploy_first()
    world.latency_s["3.2"] = 0.05
    world.controller.start_rollout(spec("3.2", rollback_policy="hold"))
    world.until("HOLD", at_most_s=40)
    world.seconds(20)
    assert world.weights()["3.2"] == 2_000
    assert world.status().explanation.guard == "latency"
    assert command(world, "abort").phase == "ROLLING_BACK"


def test_rollback_goes_straight_back_to_the_version_before(world):
    world.deploy_first()
    world.controller.start_rollout(spec("3.2"))
    world.until("PROMOTED")
    world.seconds(int(ANALYSIS.keep_stable_s) + 5)
    command(world, "rollback")
    assert world.weights() == {"3.2": 10_000}
    world.until("PROMOTED")
    assert world.weights() == {"3.1": 10_000}
    assert world.status().stable_version == "3.1"


def test_rollback_to_what_was_never_deployed_names_what_was(world):
    world.deploy_first()
    with pytest.raises(UnknownVersionError, match=r"known versions: 3\.1"):
        command(world, "rollback", to="9.9")
    with pytest.raises(UnknownVersionError, match="no earlier version"):
        command(world, "rollback")


def test_rollback_to_the_version_that_serves_is_refused_and_changes_nothing(world):
    world.deploy_first()
    before = world.status()
    with pytest.raises(ConflictError, match=r"version 3\.1 serves churn already"):
        command(world, "rollback", to="3.1")
    assert world.status() == before


def test_rollback_to_stable_while_a_canary_runs_takes_the_canary_back(world):
    world.deploy_first()
    world.controller.start_rollout(spec("3.2"))
    world.until("STEP")
    assert command(world, "rollback", to="3.1").phase == "ROLLING_BACK"
    world.until("ROLLED_BACK")
    assert world.weights() == {"3.1": 10_000}


def test_a_command_for_an_older_generation_is_refused(world):
    world.deploy_first()
    seen = world.controller.start_rollout(spec("3.2")).generation
    world.until("STEP")
    with pytest.raises(ConflictError, match=f"not {seen}"):
        command(world, "promote", generation=seen)
    assert world.status().phase == "STEP"


def test_of_racing_commands_one_wins(world):
    world.deploy_first()
    world.controller.start_rollout(spec("3.2"))
    world.until("STEP")
    seen = world.status().generation
    outcomes = []
    for name in ["promote", "abort", "rollback"] * 10:
        try:
            command(world, name, generation=seen)
            outcomes.append("won")
        except (ConflictError, IllegalEventError):
            outcomes.append("lost")
    assert outcomes.count("won") == 1
    generations = [entry.generation for entry in world.journal.entries("churn")]
    assert generations == sorted(generations)


def test_faults_are_refused_unless_allowed(world):
    slow = msgspec.structs.replace(version("3.1"), faults=Faults(batch_delay_ms=10))
    with pytest.raises(FaultsRefusedError):
        world.controller.start_rollout(msgspec.structs.replace(spec("3.1"), version=slow))
    assert world.controller.wanted() == {}


@pytest.mark.parametrize(
    "change",
    [
        {"steps_bp": ()},
        {"steps_bp": (5_000, 2_000, 10_000)},
        {"steps_bp": (2_000, 5_000)},
        {"rollback_policy": "sometimes"},
        {"analysis": msgspec.structs.replace(ANALYSIS, alpha=0.0)},
        {"analysis": msgspec.structs.replace(ANALYSIS, bake_s=float("nan"))},
        {"analysis": msgspec.structs.replace(ANALYSIS, guards=("lateness",))},
    ],
)
def test_a_wish_that_makes_no_sense_is_refused(world, change):
    with pytest.raises(MalformedRequestError):
        world.controller.start_rollout(spec("3.1", **change))


def test_deploying_what_serves_already_is_refused(world):
    world.deploy_first()
    with pytest.raises(ConflictError, match="serves churn already"):
        world.controller.start_rollout(spec("3.1"))


def test_a_silent_replica_leaves_the_table_but_the_last_one_stays(world):
    world.deploy_first()
    world.silent.add("3.1")
    world.seconds(20)
    (route,) = world.table.endpoints[0].versions
    assert len(route.replicas) == 2, "an empty list would refuse every request"
    assert world.status().stable_replicas == 0


def test_a_restarted_controller_publishes_only_when_replicas_are_back(world):
    world.deploy_first()
    epoch = world.table.epoch
    world.restart_controller()
    assert world.controller.is_recovering
    assert world.controller.table.epoch == 0
    world.second()
    assert not world.controller.is_recovering
    assert world.table.epoch > epoch
    assert world.weights() == {"3.1": 10_000}


def test_a_restarted_controller_does_not_wait_for_ever(world):
    world.deploy_first()
    world.silent.add("3.1")
    world.restart_controller()
    world.seconds(int(PARTIAL_RECOVERY_S) + 1)
    assert world.controller.is_recovering
    world.seconds(int(RECOVERY_S))
    assert not world.controller.is_recovering


def test_an_abort_that_was_answered_survives_a_kill(world):
    world.deploy_first()
    world.controller.start_rollout(spec("3.2"))
    world.until("STEP")
    command(world, "abort")
    world.restart_controller()
    assert world.status().phase == "ROLLING_BACK"
    world.until("ROLLED_BACK", at_most_s=30)
    assert world.weights() == {"3.1": 10_000}


def test_evidence_survives_a_kill(world):
    world.deploy_first()
    world.controller.start_rollout(spec("3.2", analysis=msgspec.structs.replace(ANALYSIS, min_dwell_s=50)))
    world.until("STEP")
    world.seconds(25)
    before = world.status().evidence
    world.restart_controller()
    after = world.status().evidence
    assert 0 < after.ticks <= before.ticks
    assert before.canary_requests - after.canary_requests < 11 * 100


def history(world, is_killed=False):
    """A full rollout with a rollback after it; returns the phases of the journal's records, without repetitions."""
    labels = ["3.1", "3.2", "3.3"]
    world.latency_s["3.3"] = 0.02
    for label in labels:
        while world.controller.production().get("churn-predictor") != version(label):
            try:
                record = world.controller.records.get("churn")
                if record is None or (record.rollout.spec.version.version != label and world.status().phase != "STEP"):
                    world.controller.start_rollout(spec(label))
                world.second()
                if label == "3.3" and world.status().phase == "ROLLED_BACK":
                    break
            except KeyboardInterrupt:
                assert is_killed
                world.restart_controller()
    return [(entry.phase, entry.weight_bp) for entry in world.status().history]


def test_killed_before_every_write_a_rollout_ends_the_same(tmp_path):
    (tmp_path / "calm").mkdir()
    calm = World(tmp_path / "calm")
    expected = history(calm)
    kinds = sorted(set(calm.writes))
    assert {"CREATED", "STEP_INTENT", "STEP_APPLIED", "PROMOTED", "DECISION", "ROLLBACK_INTENT", "DRAINED"} <= set(
        kinds
    )
    for kind in kinds:
        for nth in (1, 2):
            folder = tmp_path / f"{kind}-{nth}"
            folder.mkdir()
            world = World(folder)
            world.die_before = [kind] * nth
            assert history(world, is_killed=True) == expected, f"killed before {kind}"
            assert world.weights() == {"3.2": 10_000}


def test_gateways_that_wait_hear_of_a_new_table_at_once(world):
    async def scenario():
        waiting = asyncio.create_task(world.controller.poll_table(0, 300.0))
        await asyncio.sleep(0)
        world.controller.start_rollout(spec("3.1"))
        world.seconds(2)
        return await asyncio.wait_for(waiting, 60)

    table = asyncio.run(scenario())
    assert table.epoch > 0
    assert table.endpoints[0].versions[0].weight_bp == 10_000


def test_a_lost_journal_does_not_strand_gateways(world):
    world.deploy_first()
    table = asyncio.run(world.controller.poll_table(1_000, 0.0))
    assert table.epoch == 1_001


def test_status_lists_replicas_with_their_roles(world):
    world.deploy_first()
    world.controller.start_rollout(spec("3.2"))
    world.until("STEP")
    roles = {(row.version, row.role, row.weight_bp) for row in world.controller.status().replicas}
    assert roles == {("3.1", "stable", 8_000), ("3.2", "canary", 2_000)}
    assert world.controller.status().gateways == ("g1",)


def test_only_a_rollout_beside_a_stable_version_is_compared(world):
    world.deploy_first()
    assert not world.status().is_compared
    world.controller.start_rollout(spec("3.2"))
    assert world.status().is_compared
    world.until("PROMOTED")
    world.controller.command(RolloutCommand("churn", "rollback"))
    assert not world.status().is_compared


def test_the_evidence_of_a_rollout_that_is_over_survives_a_restart(world):
    world.deploy_first()
    world.controller.start_rollout(spec("3.2"))
    world.until("PROMOTED")
    before = world.status().evidence
    world.restart_controller()
    after = world.status().evidence
    assert after.threshold == before.threshold > 0
    assert 0 < after.ticks <= before.ticks
    world.controller.start_rollout(spec("3.3"))
    assert world.status().evidence.ticks == 0


def test_a_replica_that_gateways_have_lost_leaves_the_table_and_comes_back_with_its_heartbeat(world):
    world.controller.start_rollout(msgspec.structs.replace(spec("3.1"), version=version("3.1", replicas=2)))
    world.seconds(3)

    def listed() -> int:
        return len(world.controller.table.endpoints[0].versions[0].replicas)

    assert listed() == 2
    lost = [replica.replica_id for replica in world.controller.table.endpoints[0].versions[0].replicas][:1]
    world.lost_replicas["3.1"] = 1
    reported_s = world.clock.monotonic_s()
    wait_s = world.controller.replicas_lost(lost, reported_s)
    assert 0 < wait_s <= 1.25
    assert listed() == 2
    world.clock.advance(wait_s)
    assert world.controller.replicas_lost(lost, reported_s) == 0
    assert listed() == 1
    world.lost_replicas.clear()
    world.second()
    assert listed() == 2


def test_a_gateway_that_is_cut_off_takes_no_replica_from_others(world):
    world.deploy_first()
    replicas = [replica.replica_id for replica in world.controller.table.endpoints[0].versions[0].replicas]
    epoch, reported_s = world.controller.table.epoch, world.clock.monotonic_s()
    assert world.controller.replicas_lost(replicas, reported_s) > 0
    world.second()
    assert world.controller.replicas_lost(replicas, reported_s) == 0
    assert world.controller.table.epoch == epoch


def test_a_report_is_answered_with_the_gateway_s_parts_of_limits(world):
    def told(gateway: str, *asked: tuple[str, int]) -> LimitShares:
        report = GatewayReport(gateway, 1, 7, (), asked=asked)
        return msgspec.msgpack.decode(world.controller.take_report(report), type=LimitShares)

    assert told("a", ("shop", 90)) == LimitShares()
    assert told("b", ("shop", 10)).by_name["shop"] == pytest.approx(0.05 + 0.9 * 0.1)
    assert told("a").by_name["shop"] == pytest.approx(0.05 + 0.9 * 0.9)
