"""The error guard's e-values: the formula of the module's docstring, number by number."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.evidence.error_evidence import THETAS, TOLERANCE, ErrorEvidence, frozen_ln_e, tick_ln_e

COUNTS = st.integers(1, 10_000)
ERRORS = st.integers(0, 50)


def q(theta, share):
    return share * theta / (share * theta + 1 - share)


@given(COUNTS, ERRORS, COUNTS, ERRORS)
def test_a_tick_is_the_likelihood_ratio_of_the_docstring(stable, stable_errors, canary, canary_errors):
    share = canary / (canary + stable)
    expected = [
        canary_errors * math.log(q(theta, share) / q(TOLERANCE, share))
        + stable_errors * math.log((1 - q(theta, share)) / (1 - q(TOLERANCE, share)))
        for theta in THETAS
    ]
    assert tick_ln_e(stable, stable_errors, canary, canary_errors) == pytest.approx(expected, abs=1e-7)


@given(st.floats(0.01, 0.99), st.sampled_from([0.5, 1.0, TOLERANCE]))
def test_one_failure_is_worth_nothing_in_expectation_at_the_tolerated_ratio_and_less_below(share, ratio):
    canary, stable = round(share * 10_000), 10_000 - round(share * 10_000)
    chance = q(ratio, canary / 10_000)
    expected = chance * np.exp(tick_ln_e(stable, 0, canary, 1)) + (1 - chance) * np.exp(tick_ln_e(stable, 1, canary, 0))
    assert (expected <= 1 + 1e-9).all()
    if ratio == TOLERANCE:
        assert expected == pytest.approx(np.ones(len(THETAS)))


@pytest.mark.parametrize(("stable", "canary"), [(0, 10), (10, 0)])
def test_one_arm_alone_says_nothing(stable, canary):
    assert not tick_ln_e(stable, 0, canary, 5).any()


@pytest.mark.parametrize("rate", [0.001, 0.1, 0.4, 0.9])
def test_alone_the_canary_is_compared_with_the_known_rate(rate):
    null = min(1.2 * rate, 0.5)
    expected = []
    for theta in THETAS:
        odds = null / (1 - null) * theta / 1.2
        worse = odds / (1 + odds)
        expected.append(3 * math.log(worse / null) + 97 * math.log((1 - worse) / (1 - null)))
    assert frozen_ln_e(rate, 100, 3) == pytest.approx(expected)


def test_failures_of_the_canary_alone_count_only_if_it_had_requests():
    evidence = ErrorEvidence()
    evidence.update_frozen(0.01, 0, 0)
    assert evidence.dominant()[1] == 0
    for _ in range(20):
        evidence.update_frozen(0.01, 1_000, 100)
    assert evidence.ln_e() > 5
    ratio, ticks = evidence.dominant()
    assert ratio in THETAS
    assert ticks == 20


def test_it_goes_on_from_a_snapshot():
    first, second = ErrorEvidence(), ErrorEvidence()
    for _ in range(40):
        first.update(80, 1, 20, 1)
    second.restore(first.snapshot())
    for evidence in (first, second):
        evidence.update(80, 0, 20, 2)
    assert second.ln_e() == first.ln_e() != 0.0
    assert second.dominant() == first.dominant()
