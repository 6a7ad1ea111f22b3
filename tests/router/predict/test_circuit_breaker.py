"""The gateway's breaker: fires on gross failure within moments, and on nothing less."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.evidence.error_evidence import TOLERANCE
from router.predict.circuit_breaker import CAP_LN_E, LN_THRESHOLD, THETAS, CircuitBreaker, batch_ln_e


def test_a_dozen_canary_errors_in_a_row_at_a_fifth_of_the_traffic_trip_it():
    breaker = CircuitBreaker(2_000)
    for _ in range(100):
        breaker.update(8, 0, 2, 0)
    errors = 0
    while not breaker.is_tripped:
        breaker.update(0, 0, 1, 1)
        errors += 1
    assert 8 <= errors <= 14
    assert breaker.canary_errors == errors


def test_one_batch_that_fails_is_one_failure_however_large():
    breaker = CircuitBreaker(2_000)
    for _ in range(100):
        breaker.update(8, 0, 2, 0)
    assert not breaker.update(0, 0, 256, 256)
    assert breaker.ln_e <= CAP_LN_E
    breaker.update(0, 0, 256, 256)
    assert not breaker.is_tripped


def test_it_says_once_that_it_trips_and_stays_tripped():
    breaker = CircuitBreaker(5_000)
    trips = [breaker.update(20, 0, 20, 20) for _ in range(20)]
    assert trips.count(True) == 1
    assert breaker.is_tripped


@pytest.mark.parametrize("weight_bp", [500, 2_000, 5_000, 9_700])
@pytest.mark.parametrize("rate", [0.001, 0.05, 0.5, 1.0])
@pytest.mark.parametrize("seed", range(3))
def test_failures_that_both_versions_share_never_trip_it(weight_bp, rate, seed):
    generator = np.random.default_rng(seed)
    breaker = CircuitBreaker(weight_bp)
    for _ in range(3_000):
        canary = generator.poisson(20 * weight_bp / 10_000)
        stable = generator.poisson(20 * (1 - weight_bp / 10_000))
        breaker.update(
            int(stable), int(generator.binomial(stable, rate)), int(canary), int(generator.binomial(canary, rate))
        )
    assert not breaker.is_tripped


def test_stable_failing_alone_never_trips_it():
    breaker = CircuitBreaker(2_000)
    for _ in range(1_000):
        breaker.update(10, 10, 2, 0)
    assert breaker.ln_e < 1.0


def test_a_higher_weight_is_no_evidence():
    """Right after 5 % -> 50 % the canary has half of the errors, as of the requests."""
    generator = np.random.default_rng(1)
    breaker = CircuitBreaker(500)
    for _ in range(2_000):
        breaker.update(19, int(generator.binomial(19, 0.3)), 1, int(generator.binomial(1, 0.3)))
    breaker.set_weight(5_000)
    for _ in range(2_000):
        breaker.update(10, int(generator.binomial(10, 0.3)), 10, int(generator.binomial(10, 0.3)))
    assert not breaker.is_tripped


@given(st.integers(-5, 1_000), st.integers(-5, 1_000), st.integers(-5, 1_000), st.integers(-5, 1_000))
def test_whatever_is_counted_the_evidence_is_finite(stable, stable_errors, canary, canary_errors):
    breaker = CircuitBreaker(2_000)
    for _ in range(5):
        breaker.update(stable, stable_errors, canary, canary_errors)
    assert np.isfinite(breaker.ln_e)


@given(st.floats(0.01, 0.99), st.floats(0.1, TOLERANCE))
def test_one_error_is_an_e_variable_under_the_null(share, ratio):
    chance = share * ratio / (share * ratio + 1 - share)
    expected = chance * np.exp(batch_ln_e(share, 0, 1)) + (1 - chance) * np.exp(batch_ln_e(share, 1, 0))
    assert expected.shape == (len(THETAS),)
    assert (expected <= 1 + 1e-9).all()


def test_the_threshold_is_one_in_a_million():
    assert pytest.approx(np.log(1e6)) == LN_THRESHOLD
