import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.load.http_client import Outcome
from benchmarks.load.report import percentile_ms, summarise_lag, summarise_latency, summarise_tick, summarise_versions
from benchmarks.load.samples import Samples


def samples(entries, versions=("", "3.1", "3.2"), lag_s=(0.0,)):
    """``entries`` are (scheduled_s, latency_s, outcome, index of the version)."""
    columns = list(zip(*entries, strict=True))
    return Samples(
        start_wall_s=1_000.0,
        scheduled_s=np.array(columns[0], dtype=np.float64),
        latency_s=np.array(columns[1], dtype=np.float64),
        outcome=np.array(columns[2], dtype=np.uint8),
        version=np.array(columns[3], dtype=np.uint8),
        versions=versions,
        lag_s=np.array(lag_s, dtype=np.float64),
    )


def test_a_percentile_is_a_measured_value():
    values_s = np.arange(1, 101) / 1e3
    assert percentile_ms(values_s, 50) == 50.0
    assert percentile_ms(values_s, 99) == 99.0
    assert percentile_ms(values_s, 100) == 100.0
    assert percentile_ms(np.array([]), 99) == 0.0


@given(st.lists(st.floats(0, 10), min_size=1, max_size=200), st.sampled_from([50.0, 90.0, 99.0, 99.9]))
def test_at_least_the_percentage_lies_at_or_below_its_percentile(values, percent):
    limit_ms = percentile_ms(np.array(values), percent)
    at_or_below = sum(value * 1e3 <= limit_ms + 1e-3 for value in values)
    assert at_or_below >= percent / 100 * len(values) - 1e-9


def test_timed_out_requests_count_with_their_wait_and_fast_failures_do_not_count():
    latency = summarise_latency(
        samples(
            [
                (0.0, 0.010, Outcome.OK, 1),
                (0.1, 2.000, Outcome.TIMED_OUT, 0),
                (0.2, 0.001, Outcome.FAILED, 0),
                (0.3, 0.001, Outcome.REFUSED, 0),
            ]
        )
    )
    assert (latency.count, latency.p50_ms, latency.max_ms) == (2, 10.0, 2000.0)


def test_versions_are_told_apart_with_the_wall_times_of_their_first_and_last_answers():
    found = summarise_versions(
        samples(
            [
                (0.0, 0.5, Outcome.OK, 1),
                (2.0, 0.1, Outcome.OK, 2),
                (1.0, 0.1, Outcome.OK, 2),
                (0.5, 0.1, Outcome.FAILED, 2),
                (0.0, 2.0, Outcome.TIMED_OUT, 0),
            ]
        )
    )
    assert list(found) == ["3.1", "3.2"]
    assert found["3.1"].answers == 1
    assert found["3.2"].answers == 2
    assert (found["3.2"].first_request_at_s, found["3.2"].last_request_at_s) == (1_001.0, 1_002.0)
    assert (found["3.2"].first_answer_at_s, found["3.2"].last_answer_at_s) == (1_001.1, 1_002.1)


def test_a_tick_counts_each_outcome_once():
    tick = summarise_tick(
        samples([(0.0, 0.01, Outcome.OK, 1), (0.0, 0.01, Outcome.REFUSED, 0), (0.0, 0.01, Outcome.FAILED, 0)]),
        at_s=1_001.0,
        elapsed_s=1.0,
        in_flight=3,
    )
    assert (tick.requests, tick.ok, tick.refused, tick.failed, tick.timed_out, tick.in_flight) == (3, 1, 1, 1, 0, 3)
    assert list(tick.versions) == ["3.1"]


def test_lag_is_in_milliseconds():
    lag = summarise_lag(np.array([0.001] * 99 + [0.5]))
    assert (lag.p50_ms, lag.p99_ms, lag.max_ms) == (1.0, 1.0, 500.0)
