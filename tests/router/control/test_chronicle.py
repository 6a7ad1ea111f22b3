"""What is remembered of traffic and rollouts, with a real controller: to the end of a rollout, and over a restart."""

from __future__ import annotations

from router.control.chronicle import FRESH_S
from router.control.curve_files import CurveFiles
from router.house.curves import COLUMNS
from tests.router.rollout_world import World, spec


def column(curve, name: str) -> list[float | None]:
    return [point[COLUMNS.index(name)] for point in curve.points]


def test_a_rollout_leaves_its_curve_from_the_first_phase_to_the_last(tmp_path):
    world = World(tmp_path)
    world.deploy_first()
    world.controller.start_rollout(spec("3.2"))
    world.until("PROMOTED")
    (curve,) = world.controller.chronicle.curves()
    assert (curve.stable_version, curve.canary_version, curve.phase) == ("3.1", "3.2", "PROMOTED")
    phases = [mark.phase for mark in curve.marks]
    assert [phases[0], phases[-1]] == ["STEP", "PROMOTED"]
    assert column(curve, "weight_bp")[-1] == 10_000
    assert max(filter(None, column(curve, "canary_per_s"))) > 200
    assert any(column(curve, "canary_p50_ms"))
    world.seconds(5)
    assert world.controller.chronicle.curves() == (curve,), "what is over does not go on"


def test_a_slow_canary_is_seen_in_the_curve_that_rolls_it_back(tmp_path):
    world = World(tmp_path, latency_s={"3.2": 0.004})
    world.deploy_first()
    world.controller.start_rollout(spec("3.2"))
    world.until("ROLLED_BACK")
    (curve,) = world.controller.chronicle.curves()
    assert max(filter(None, column(curve, "latency_log_e"))) > 4
    slow, fast = max(filter(None, column(curve, "canary_p50_ms"))), max(filter(None, column(curve, "stable_p50_ms")))
    assert slow > 2 * fast
    assert column(curve, "weight_bp")[-1] == 0
    rolling_back = next(mark for mark in curve.marks if mark.phase == "ROLLING_BACK")
    assert "latency" in rolling_back.message


def test_a_restarted_controller_goes_on_with_the_curve(tmp_path):
    world = World(tmp_path)
    world.deploy_first()
    world.controller.start_rollout(spec("3.2"))
    world.until("STEP")
    world.seconds(4)
    files = CurveFiles(tmp_path / "curves")
    files.write(world.controller.chronicle.curves())
    (before,) = files.read().values()
    world.restart_controller()
    world.controller.chronicle.restore(files.read())
    world.seconds(3)
    (after,) = world.controller.chronicle.curves()
    assert after.rollout == before.rollout
    assert after.points[: len(before.points)] == before.points
    gap = after.points[len(before.points)]
    assert gap[1:] == (None,) * (len(COLUMNS) - 1)
    assert len(after.points) > len(before.points) + 1


def test_the_curve_of_another_rollout_is_not_taken_for_this_one(tmp_path):
    world = World(tmp_path)
    world.deploy_first()
    (first,) = world.controller.chronicle.curves()
    world.restart_controller()
    world.controller.chronicle.restore({"churn": first})
    world.controller.start_rollout(spec("3.2"))
    world.seconds(3)
    (curve,) = world.controller.chronicle.curves()
    assert curve.canary_version == "3.2"
    assert curve.points[0][0] > first.points[-1][0]


def test_traffic_that_is_not_reported_is_not_known(tmp_path):
    world = World(tmp_path)
    world.deploy_first()
    assert world.controller.chronicle.traffic.total.requests > 0
    world.loses_reports = True
    world.seconds(int(FRESH_S) + 1)
    assert world.controller.chronicle.traffic.seconds == 0
    assert world.controller.chronicle.history.history.points, "what was heard before is remembered"
