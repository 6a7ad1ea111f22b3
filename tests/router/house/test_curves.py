"""The curve of a rollout: bounded for any length, from the beginning to the end, and it goes on after a restart."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from router.evidence.histogram import count
from router.evidence.windows import VersionCounts
from router.house.curves import COLUMNS, MOST_POINTS, CurveRecorder, new_curve


def begun() -> CurveRecorder:
    return CurveRecorder(new_curve("churn", 3, "3.1", "3.2"))


def arm(requests: int, latency_s: float = 0.002) -> VersionCounts:
    return VersionCounts(requests, 0, count(np.full(requests, latency_s)))


@settings(max_examples=15)
@given(st.integers(1, 3_000))
def test_it_is_bounded_and_reaches_from_the_first_quarter_to_now(seconds):
    recorder = begun()
    for number in range(seconds):
        recorder.second(float(number), "STEP", 2_000, (0.0, 0.0), "")
    curve = recorder.curve()
    times = [point[0] for point in curve.points]
    assert len(times) <= MOST_POINTS
    assert times == sorted(set(times))
    assert times[0] <= max(1.0, seconds / 4)
    assert times[-1] > seconds - 1 - curve.step_s


def test_a_point_has_the_rates_and_quantiles_of_its_seconds():
    recorder = begun()
    recorder.count(arm(30), arm(10, 0.004))
    assert recorder.second(5.0, "STEP", 2_000, (1.23456, -0.5), "step 1/3")
    (point,) = recorder.curve().points
    found = dict(zip(COLUMNS, point, strict=True))
    assert point[:4] == (5.0, 2_000.0, 1.235, -0.5)
    assert (found["stable_per_s"], found["canary_per_s"]) == (30.0, 10.0)
    assert 1.9 < found["stable_p50_ms"] < 2.1
    assert 3.8 < found["canary_p99_ms"] < 4.2


def test_without_traffic_there_is_no_latency():
    recorder = begun()
    recorder.count(None, None)
    recorder.second(5.0, "WARMING", 0, (0.0, 0.0), "")
    assert recorder.curve().points[0][-4:] == (None,) * 4


def test_each_phase_leaves_a_mark_and_a_point_also_where_steps_are_long():
    recorder = begun()
    for number in range(1_000):
        recorder.second(float(number), "STEP", 2_000, (0.0, 0.0), "one")
    assert recorder.curve().step_s > 1
    assert recorder.second(1_000.0, "BAKE", 9_700, (0.0, 0.0), "two")
    assert not recorder.second(1_001.0, "BAKE", 9_700, (0.0, 0.0), "two")
    curve = recorder.curve()
    assert [(mark.phase, mark.message) for mark in curve.marks] == [("STEP", "one"), ("BAKE", "two")]
    assert 1_000.0 in [point[0] for point in curve.points]
    assert (curve.phase, recorder.is_over) == ("BAKE", False)
    recorder.second(1_002.0, "ROLLED_BACK", 0, (5.0, 0.0), "slow")
    assert recorder.is_over


def test_a_restarted_recorder_goes_on_after_a_gap():
    recorder = begun()
    recorder.second(1.0, "STEP", 2_000, (0.0, 0.0), "")
    after = CurveRecorder(recorder.curve())
    after.gap(9.0)
    assert not after.second(10.0, "STEP", 2_000, (0.0, 0.0), ""), "the phase is not new"
    points = after.curve().points
    assert [point[0] for point in points] == [1.0, 9.0, 10.0]
    assert points[1][1:] == (None,) * (len(COLUMNS) - 1)
    assert len(after.curve().marks) == 1
