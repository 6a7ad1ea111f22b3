"""Traffic over time: what a window holds, what is not known, and how the mean changes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.evidence.histogram import OVERFLOW, count
from router.evidence.windows import ClosedTick, VersionCounts
from router.house.traffic import BEFORE_S, COLUMNS, POINTS, STEP_S, WINDOW_S, Traffic, mean_ms, quantile_ms


def second(tick: int, latency_s: float = 0.002, requests: int = 10, errors: int = 0, app: str = "m-v1") -> ClosedTick:
    values_s = np.full(requests, latency_s)
    values_s[:errors] = np.inf
    return ClosedTick(tick, {"churn": {app: VersionCounts(requests, errors, count(values_s))}})


def filled(seconds: int, **changes) -> Traffic:
    traffic = Traffic()
    for tick in range(100, 100 + seconds):
        traffic.add(second(tick, **changes), 1_000.0 + tick)
    return traffic


@given(st.lists(st.floats(1e-5, 10.0), min_size=1, max_size=50))
def test_the_mean_is_within_a_bucket_of_the_true_one(values):
    found = mean_ms(count(np.array(values)))
    assert found == pytest.approx(1_000 * np.mean(values), rel=0.02)


def test_failed_requests_are_in_no_mean_and_in_no_finite_quantile():
    counts = second(1, requests=10, errors=4).endpoints["churn"]["m-v1"].counts
    assert mean_ms(counts) == pytest.approx(2.0, rel=0.02)
    assert quantile_ms(counts, 0.5) == pytest.approx(2.0, rel=0.02)
    assert quantile_ms(counts, 0.99) is None
    assert int(counts[OVERFLOW]) == 4


def test_nothing_is_known_before_the_first_second():
    traffic = Traffic()
    assert (traffic.seconds, traffic.trend, traffic.before_ms, traffic.keys) == (0, None, None, ())
    assert traffic.total.requests == 0
    assert traffic.of("churn", "m-v1") is None
    assert traffic.history.points == ()


def test_a_version_is_counted_over_the_window_and_then_forgotten():
    traffic = filled(WINDOW_S + 30)
    found = traffic.of("churn", "m-v1")
    assert found is not None
    assert (found.requests, traffic.seconds, traffic.total.requests) == (10 * WINDOW_S, WINDOW_S, 10 * WINDOW_S)
    for tick in range(200, 200 + WINDOW_S):
        traffic.add(second(tick, app="m-v2"), 1_000.0 + tick)
    assert traffic.keys == (("churn", "m-v2"),)
    assert traffic.of("churn", "m-v1") is None


def test_the_trend_compares_the_window_with_the_time_before_it():
    assert filled(WINDOW_S).trend is None, "nothing to compare with"
    traffic = filled(BEFORE_S + WINDOW_S)
    assert traffic.trend == pytest.approx(0.0, abs=0.001)
    for tick in range(100 + BEFORE_S + WINDOW_S, 100 + BEFORE_S + 2 * WINDOW_S):
        traffic.add(second(tick, latency_s=0.001), 1_000.0 + tick)
    assert traffic.trend == pytest.approx(-0.5, abs=0.02)
    assert traffic.before_ms == pytest.approx(2.0, rel=0.02)


def test_the_history_has_a_point_for_each_step_and_holes_where_nothing_was_heard():
    traffic = filled(4 * STEP_S)
    points = traffic.history.points
    assert [point[0] for point in points] == [1_100.0, 1_105.0, 1_110.0]
    assert points[0][1:4] == (10.0, 0.0, pytest.approx(2.0, rel=0.02))
    traffic.add(second(140), 1_140.0)
    later = traffic.history.points[3:]
    assert [point[0] for point in later] == [1_115.0, 1_120.0, 1_125.0, 1_130.0, 1_135.0]
    assert all(point[1:] == (None,) * (len(COLUMNS) - 1) for point in later[1:])


def test_the_history_is_bounded_whatever_the_clock_does():
    traffic = filled(30)
    traffic.add(second(131), 1e9)
    traffic.add(second(132), 5.0)
    traffic.add(second(133), 1e9)
    assert len(traffic.history.points) <= POINTS
