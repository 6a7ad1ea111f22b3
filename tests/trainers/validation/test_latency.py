"""The latency of the graph: the 99th percentile, without the first runs."""

from __future__ import annotations

import pytest

from divisions.clock import ManualClock
from trainers.validation.latency import ROUNDS, WARM_UP, latency_p99_ms


def test_it_is_the_99th_percentile_of_the_runs_that_count():
    clock, ran = ManualClock(), []

    def run():
        ran.append(1)
        number = len(ran) - WARM_UP
        clock.advance(9.0 if number <= 0 else number * 1e-5)

    assert latency_p99_ms(run, clock.monotonic_s) == pytest.approx(ROUNDS * 0.99 * 1e-2, rel=1e-3)
    assert len(ran) == WARM_UP + ROUNDS
