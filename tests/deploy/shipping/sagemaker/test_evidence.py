"""Minutes as evidence: what is found how fast, and what is no evidence."""

from __future__ import annotations

import dataclasses
import math
import random

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy.shipping.sagemaker.evidence import LATE_S, Arm, Minute, StepTime, is_slower, judge, known, totals
from divisions.analysis_spec import AnalysisSpec

ANALYSIS = AnalysisSpec()
GOOD, STEP = Arm(1_000, 1, 20.0), StepTime(0, 0.0)
LATENCY, ERRORS = -math.log(ANALYSIS.alpha), -math.log(ANALYSIS.error_alpha)


def minutes(count, canary=GOOD, stable=GOOD):
    return [Minute(60.0 * number, stable, canary) for number in range(count)]


def after(found, late_s=LATE_S):
    return max((each.start_s for each in found), default=0.0) + 60.0 + late_s


def judged(found, step=STEP, analysis=ANALYSIS, now_s=None):
    return judge(found, step, analysis, after(found) if now_s is None else now_s)


def minutes_until(threshold, arm, value):
    """How many minutes of this canary it takes."""
    return next(count for count in range(1, 60) if value(judged(minutes(count, arm))) >= threshold)


def test_a_canary_that_fails_is_found_in_three_minutes():
    assert minutes_until(ERRORS, Arm(1_000, 1_000, 20.0), lambda found: found.error_ln_e) == 3
    assert minutes_until(ERRORS, Arm(1_000, 30, 20.0), lambda found: found.error_ln_e) == 3


def test_one_terrible_minute_is_not_enough():
    found = [*minutes(5), Minute(300.0, GOOD, Arm(1_000, 900, 900.0))]
    assert judged(found).error_ln_e < ERRORS
    assert judged(found).latency_ln_e < LATENCY


def test_a_slower_canary_is_found_ten_minutes_after_its_first_however_slow():
    for latency_ms in (24.0, 2_000.0):
        assert minutes_until(LATENCY, Arm(1_000, 1, latency_ms), lambda found: found.latency_ln_e) == 11


@pytest.mark.parametrize("arm", [GOOD, Arm(1_000, 0, 5.0), Arm(1_000, 1, 22.0)])
def test_a_canary_within_the_tolerance_is_never_found(arm):
    found = judged(minutes(300, arm))
    assert found.error_ln_e < ERRORS / 2
    assert found.latency_ln_e < LATENCY / 2


def test_equal_arms_of_noisy_minutes_are_rarely_called_slower():
    """The null hypothesis at its edge: in half of all minutes the canary's average is higher. alpha is 1 %."""
    rng = random.Random(1)
    alarms = 0
    for _ in range(400):
        found = [
            Minute(60.0 * number, Arm(100, 0, rng.expovariate(1 / 20)), Arm(100, 0, rng.expovariate(1 / 20) + 2.08))
            for number in range(60)
        ]
        alarms += judged(found, analysis=msgspec.structs.replace(ANALYSIS, tolerance=0.104)).latency_ln_e >= LATENCY
    assert alarms / 400 <= 0.02


def test_samples_and_dwell_count_from_the_steps_first_whole_minute():
    found = judged(minutes(10), StepTime(1, 241.0))
    assert (found.step_index, found.step_requests, found.step_s) == (1, 5_000, 300.0)


def test_the_warm_up_is_left_out_of_latency_and_samples_but_not_of_errors():
    slow_start = [Minute(0.0, GOOD, Arm(100, 100, 900.0)), *[Minute(60.0 * n, GOOD, GOOD) for n in range(1, 4)]]
    with_warm_up = judged(slow_start)
    without = judged(slow_start, analysis=msgspec.structs.replace(ANALYSIS, warmup_s=0.0))
    assert with_warm_up.step_requests == 3_000
    assert without.step_requests == 3_100
    assert with_warm_up.latency_ln_e < without.latency_ln_e
    assert with_warm_up.error_ln_e == without.error_ln_e > 0


def test_a_minute_is_known_two_minutes_after_its_end():
    found = minutes(3)
    assert [each.start_s for each in known(reversed(found), 299.0)] == [0.0, 60.0]
    assert len(known(found, 300.0)) == 3


def test_evidence_that_got_old_raises_no_weight():
    assert judged(minutes(5)).is_fresh
    assert not judged(minutes(5), now_s=5 * 60.0 + 301.0).is_fresh
    assert not judged([]).is_fresh
    assert not judged(minutes(5, Arm())).is_fresh


def test_guards_that_are_off_say_nothing():
    bad = minutes(30, Arm(1_000, 900, 900.0))
    assert judged(bad, analysis=msgspec.structs.replace(ANALYSIS, guards=("errors",))).latency_ln_e <= 0
    assert judged(bad, analysis=msgspec.structs.replace(ANALYSIS, guards=("latency",))).error_ln_e <= 0


def test_slower_means_by_more_than_both_tolerances():
    stable = Arm(10, 0, 1.0)
    assert is_slower(stable, Arm(10, 0, 1.19), ANALYSIS) is False  # 0.2 ms
    assert is_slower(stable, Arm(10, 0, 1.21), ANALYSIS) is True
    assert is_slower(Arm(10, 0, 100.0), Arm(10, 0, 110.0), ANALYSIS) is False  # 10.4 %
    assert is_slower(Arm(10, 0, 100.0), Arm(10, 0, 111.0), ANALYSIS) is True
    assert is_slower(stable, Arm(), ANALYSIS) is is_slower(Arm(), stable, ANALYSIS) is None


def test_totals_weigh_averages_by_requests():
    found = totals([Minute(0.0, Arm(), Arm(100, 1, 10.0)), Minute(60.0, Arm(), Arm(300, 2, 30.0))], 1_000.0)
    assert found.canary == Arm(400, 3, 25.0)
    assert found.stable == Arm()


arms = st.builds(
    lambda requests, share, latency: Arm(requests, round(requests * share), latency if requests else None),
    st.integers(0, 10_000),
    st.floats(0, 1),
    st.floats(0.1, 1e5),
)


@given(st.lists(st.tuples(arms, arms), max_size=40), st.randoms(use_true_random=False))
def test_evidence_is_finite_and_does_not_depend_on_the_order_of_points(pairs, rng):
    found = [Minute(60.0 * number, *pair) for number, pair in enumerate(pairs)]
    shuffled = list(found)
    rng.shuffle(shuffled)
    first, second = judged(found), judged(shuffled)
    assert first == second
    assert all(math.isfinite(value) for value in (first.latency_ln_e, first.error_ln_e))


@given(st.lists(arms, min_size=1, max_size=20), st.integers(1, 50))
def test_more_errors_of_the_canary_are_never_less_evidence(canaries, more):
    found = [Minute(60.0 * number, Arm(5_000, 5, 20.0), arm) for number, arm in enumerate(canaries)]
    worse = [
        dataclasses.replace(
            each, canary=dataclasses.replace(each.canary, errors=min(each.canary.requests, each.canary.errors + more))
        )
        for each in found
    ]
    assert judged(worse).error_ln_e >= judged(found).error_ln_e - 1e-9
