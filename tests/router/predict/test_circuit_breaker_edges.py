"""The breaker by its numbers: the share it assumes, how fast it forgets, and the evidence of single failures."""

from __future__ import annotations

import math

import numpy as np
import pytest

from router.evidence.error_evidence import TOLERANCE
from router.predict.circuit_breaker import CAP_LN_E, LN_THRESHOLD, CircuitBreaker, batch_ln_e


def test_the_evidence_of_a_batch_is_the_likelihood_ratio():
    """Each failure is the canary's with chance s*t / (s*t + 1-s) if the canary fails t times as often."""
    share, thetas = 0.2, np.array([3.0, 10.0, 30.0, 100.0, 1_000.0])

    def chance(theta):
        return share * theta / (share * theta + 1 - share)

    expected = 3 * np.log(chance(thetas) / chance(TOLERANCE)) + 2 * np.log(
        (1 - chance(thetas)) / (1 - chance(TOLERANCE))
    )
    assert batch_ln_e(share, 2, 3) == pytest.approx(expected)


def test_a_third_of_the_threshold_is_the_most_that_one_call_adds():
    assert pytest.approx(LN_THRESHOLD) == CAP_LN_E * 3
    breaker = CircuitBreaker(2_000)
    for _ in range(200):
        breaker.update(80, 0, 20, 0)
    trips = [breaker.update(0, 0, 20, 20) for _ in range(6)]
    assert trips.count(True) == 1
    assert not any(trips[:2]), "failures in at least three calls"
    assert breaker.ln_e >= LN_THRESHOLD


def test_before_any_request_the_share_is_the_weight_and_then_the_observed_one():
    """Twenty requests' worth of prior: so much evidence gives the first failure."""

    def evidence(breaker):
        breaker.update(0, 0, 0, 1)
        return breaker.ln_e

    def expected(share):
        reference = CircuitBreaker(int(share * 10_000))
        reference.update(0, 0, 0, 1)
        return reference.ln_e

    observed = CircuitBreaker(2_000)
    observed.update(0, 0, 20, 0)  # now 24 of 40
    assert evidence(observed) == pytest.approx(expected(0.6), rel=2e-3)
    assert expected(0.6) < evidence(CircuitBreaker(2_000)), "a failure of a small share says more"


def test_about_a_thousand_calls_count():
    """Ten seconds after a change of the traffic the share is mostly the new one."""
    breaker = CircuitBreaker(5_000)
    for _ in range(20_000):
        breaker.update(9, 0, 1, 0)
    for _ in range(1_000):
        breaker.update(1, 0, 9, 0)
    share = 0.1 * math.exp(-1) + 0.9 * (1 - math.exp(-1))
    breaker.update(0, 0, 0, 1)
    reference = CircuitBreaker(round(share * 10_000))
    reference.update(0, 0, 0, 1)
    assert breaker.ln_e == pytest.approx(reference.ln_e, rel=0.01)


def test_all_requests_and_failures_are_told():
    breaker = CircuitBreaker(2_000)
    for counts in ((8, 1, 2, 0), (8, 0, 2, 1), (8, 0, 2, 0), (4, 2, 1, 1)):
        breaker.update(*counts)
    told = (breaker.stable_requests, breaker.stable_errors, breaker.canary_requests, breaker.canary_errors)
    assert told == (28, 3, 7, 2)


@pytest.mark.parametrize("weight_bp", [0, 10_000])
def test_with_one_arm_alone_nothing_is_compared(weight_bp):
    breaker = CircuitBreaker(weight_bp)
    for _ in range(20):
        assert not breaker.update(0 if weight_bp else 10, 0, 10 if weight_bp else 0, 10)
    assert breaker.ln_e == 0.0


def test_one_error_of_either_arm_is_looked_at():
    for counts in ((0, 1, 0, 0), (0, 0, 0, 1)):
        breaker = CircuitBreaker(5_000)
        for _ in range(3):
            breaker.update(*counts)
        assert breaker.ln_e != 0.0


def test_a_tripped_breaker_counts_on_and_says_nothing_more():
    breaker = CircuitBreaker(5_000)
    while not breaker.update(10, 0, 10, 10):
        pass
    evidence, errors = breaker.ln_e, breaker.canary_errors
    assert not breaker.update(10, 0, 10, 10)
    assert (breaker.ln_e, breaker.canary_errors) == (evidence, errors + 10)
