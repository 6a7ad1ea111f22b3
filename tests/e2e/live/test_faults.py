"""Canaries that hang, die in a loop or answer NaN, on a real cluster under load: rolled back, no request failed."""

from __future__ import annotations

import sys

import pytest

from benchmarks.canaries.live_result import broken_promises, render_live
from benchmarks.canaries.live_rollouts import choose, run_cases

pytestmark = pytest.mark.e2e

CASES = "hang,crash-loop,nan"


def test_a_canary_that_hangs_dies_or_answers_nan_is_rolled_back_without_failed_requests(live_cluster):
    result = run_cases(live_cluster, choose(CASES), rate_rps=120.0, seed=1)
    print(render_live(result), file=sys.stderr)
    assert [case.case for case in result.cases] == CASES.split(",")
    assert broken_promises(result.cases, live_cluster.allowed) == []
    assert result.failed_requests == 0, result.reasons
    # The canary had traffic, and answered requests before it became bad.
    assert all(case.canary_answers > 0 for case in result.cases)
