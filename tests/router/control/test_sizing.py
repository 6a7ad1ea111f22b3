"""Replicas follow the load: alone, in a rollout (capacity first, weight after), and while the journal is away."""

from __future__ import annotations

import msgspec
import pytest

from divisions.scaling import Scaling
from router.journal.journal import Kind
from router.scaling.placement import Cluster, Node
from tests.router.rollout_world import ANALYSIS, World, spec, version

AFTER_S = 20
RATE = 100.0
LIMITS = Scaling(1, 12, 0.5, AFTER_S)


def scaled(label, scaling=LIMITS, **changes):
    return msgspec.structs.replace(
        spec(label, **changes), version=version(label, replicas=scaling.min, scaling=scaling)
    )


@pytest.fixture
def world(tmp_path):
    it = World(tmp_path, rps=100, replica_rows_per_s=RATE)
    it.controller.start_rollout(scaled("3.1"))
    it.until("PROMOTED")
    return it


def wanted(world):
    return {each.version: each.replicas for each in world.controller.wanted().values()}


def kinds(world):
    return [entry.kind for entry in world.journal.entries("churn")]


def test_it_follows_the_load_up_and_after_its_time_down(world):
    world.seconds(10)
    assert 2 <= wanted(world)["3.1"] <= 3
    world.rps = 400
    world.seconds(8)
    assert 8 <= wanted(world)["3.1"] <= 10
    world.rps = 20
    world.seconds(AFTER_S - 2)
    assert wanted(world)["3.1"] >= 8
    world.seconds(14)
    assert wanted(world) == {"3.1": 1}
    assert kinds(world).count(Kind.SCALED) <= 6


def test_the_number_is_told_with_its_reason_and_use(world):
    world.seconds(10)
    (row,) = world.controller.status().scales
    assert row.scaling == LIMITS
    assert (row.role, row.endpoint, row.wanted) == ("stable", "churn", row.ready)
    assert 0.3 < row.utilization < 0.6
    assert "rows/s at 50% of 100 rows/s per replica need" in row.note


def test_a_restarted_controller_keeps_the_number_until_it_knows_the_load(world):
    world.rps = 400
    world.seconds(20)
    before = wanted(world)
    world.rps = 20
    world.restart_controller()
    assert wanted(world) == before
    world.seconds(AFTER_S)
    assert wanted(world) == before
    world.seconds(20)
    assert wanted(world) == {"3.1": 1}


def test_late_reports_remove_nothing(world):
    world.rps = 400
    world.seconds(20)
    before = wanted(world)
    world.loses_reports = True
    world.seconds(3 * AFTER_S)
    assert wanted(world) == before


def test_gateways_that_report_no_loads_change_nothing(tmp_path):
    world = World(tmp_path, rps=400)
    world.controller.start_rollout(scaled("3.1"))
    world.until("PROMOTED")
    world.seconds(2 * AFTER_S)
    assert wanted(world) == {"3.1": 1}


def test_a_plain_number_does_not_follow_the_load(tmp_path):
    world = World(tmp_path, rps=900, replica_rows_per_s=RATE)
    world.deploy_first()
    assert wanted(world) == {"3.1": 2}


def test_a_step_raises_the_weight_only_when_the_replicas_for_it_are_ready(world):
    world.rps = 300
    world.seconds(15)
    stable = wanted(world)["3.1"]
    world.controller.start_rollout(scaled("3.2"))
    seen = []
    for _ in range(90):
        world.second()
        status = world.status()
        seen.append((status.phase, status.actual_weight_bp, status.canary_replicas))
        if status.phase == "PROMOTED":
            break
    at = {bp: min(ready for phase, weight, ready in seen if weight == bp) for bp in (2_000, 5_000, 9_700)}
    assert at[2_000] >= stable // 4
    assert at[5_000] >= stable
    assert at[9_700] >= stable
    assert seen[-1][0] == "PROMOTED"
    assert min(ready for phase, weight, ready in seen if weight == 2_000) < at[9_700]


def test_neither_version_gets_smaller_in_a_rollout(world):
    world.rps = 300
    world.seconds(15)
    world.controller.start_rollout(scaled("3.2", analysis=msgspec.structs.replace(ANALYSIS, min_samples=(90_000,))))
    world.until("STEP")
    world.seconds(3)
    before = wanted(world)
    world.rps = 10
    world.seconds(2 * AFTER_S)
    assert world.status().phase == "STEP"
    assert all(wanted(world)[label] >= count for label, count in before.items())
    world.controller.command(msgspec.convert({"endpoint": "churn", "command": "abort"}, type=_command()))
    world.until("ROLLED_BACK")
    world.seconds(AFTER_S)
    assert wanted(world) == {"3.1": 1}


def _command():
    from divisions.control import RolloutCommand

    return RolloutCommand


def test_replicas_that_do_not_come_hold_the_step_with_the_reason(world):
    world.rps = 300
    world.seconds(15)
    world.controller.start_rollout(scaled("3.2"))
    world.until("STEP")
    status = world.status()
    # The canary's third and further replicas never start: the cluster is full.
    world.most_replicas["3.2"] = status.canary_replicas
    world.controller.cluster_seen(Cluster((Node("h1", {"CPU": 4.0}, {"CPU": 0.0}),), (({"CPU": 0.5}, 9),)))
    world.until("HOLD")
    assert world.status().actual_weight_bp == 2_000
    reason = world.status().message
    assert "undecided: after 60 s the canary had" in reason
    assert "the cluster has room for 0 of" in reason


def test_a_version_that_fits_nowhere_is_taken_back_with_what_is_missing(world):
    world.controller.cluster_seen(Cluster((Node("h1", {"CPU": 4.0}, {"CPU": 0.0}),), (({"CPU": 0.5}, 2),)))
    world.silent.add("3.2")
    world.controller.start_rollout(scaled("3.2"))
    world.until("ROLLED_BACK")
    reason = world.status().rollback_reason
    assert reason.startswith("deploy: 0 of 1 replicas were warm 20 s")
    assert "room for 0 of 1 more replicas" in reason


def test_seconds_in_which_replicas_are_added_are_not_judged_but_not_for_ever(world):
    world.rps = 100
    world.seconds(10)
    analysis = msgspec.structs.replace(ANALYSIS, min_samples=(90_000,), max_dwell_s=600)
    world.controller.start_rollout(scaled("3.2", analysis=analysis))
    world.until("STEP")
    world.seconds(10)
    judged_s = world.controller._monitor.analysis("churn").judgement(world.clock.monotonic_s()).step_s
    world.most_replicas["3.1"] = world.status().stable_replicas
    world.rps = 300
    world.seconds(20)
    after_s = world.controller._monitor.analysis("churn").judgement(world.clock.monotonic_s()).step_s
    assert after_s - judged_s <= 8
    world.seconds(200)
    later_s = world.controller._monitor.analysis("churn").judgement(world.clock.monotonic_s()).step_s
    assert later_s > after_s + 60


def test_a_canary_that_fails_is_found_while_replicas_are_added(world):
    world.seconds(10)
    analysis = msgspec.structs.replace(ANALYSIS, min_samples=(90_000,), max_dwell_s=600)
    world.controller.start_rollout(scaled("3.2", analysis=analysis))
    world.until("STEP")
    world.most_replicas["3.1"] = world.status().stable_replicas
    world.rps = 400
    world.error_rate["3.2"] = 0.3
    assert world.until("ROLLED_BACK", at_most_s=40) < 40


def test_replicas_are_added_and_none_is_removed_while_the_journal_is_away(world):
    world.seconds(10)
    world.is_disk_full = True
    world.rps = 400
    world.seconds(10)
    grown = wanted(world)["3.1"]
    assert grown >= 8
    world.rps = 20
    world.seconds(2 * AFTER_S)
    assert wanted(world) == {"3.1": grown}
    world.is_disk_full = False
    world.seconds(5)
    assert wanted(world) == {"3.1": 1}


def test_a_pass_on_equal_versions_stays_a_pass_when_the_load_rises_in_a_step(world):
    world.seconds(10)
    world.controller.start_rollout(scaled("3.2"))
    world.until("STEP")
    world.rps = 400
    world.until("PROMOTED")
    assert not world.status().rollback_reason
