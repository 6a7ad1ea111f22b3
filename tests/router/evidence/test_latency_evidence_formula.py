"""The latency guard against its formula, in plain numbers; and its constants against the documentation."""

from __future__ import annotations

import itertools
import math
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.evidence import histogram
from router.evidence.clustering import MEMORY_S, Clustering, design_effect
from router.evidence.detectable import min_detectable_ratio
from router.evidence.histogram import FINITE_BUCKETS, NUM_BUCKETS, OVERFLOW
from router.evidence.latency_evidence import (
    CAPS_LN_E,
    MOST_DEVIATIONS,
    THETAS,
    LatencyEvidence,
    frozen_ln_e,
    slower_by,
    tick_ln_e,
)
from router.evidence.mixture import RESTART_TICKS
from router.evidence.quantiles import MIN_REFERENCE, QUANTILES, exceedance_rates, raised, threshold_indices
from router.evidence.tolerance import tolerance_of
from router.evidence.windows import REFERENCE_S
from router.predict.split_monitor import MAX_ROWS

TEXT = " ".join((Path(__file__).parents[3] / "docs" / "rollouts.md").read_text().split())
NO_TOLERANCE = np.arange(NUM_BUCKETS)
WORDS = {"five": 5, "Five": 5, "six": 6, "thirty": 30, "three": 3}


def counts(**buckets: int):
    made = histogram.empty()
    for name, number in buckets.items():
        made[int(name[1:])] = number
    return made


def documented(pattern: str) -> float:
    found = re.search(pattern, TEXT)[1]
    return WORDS[found] if found in WORDS else float(found)


def test_the_constants_are_those_of_the_documentation():
    assert documented(r"for (\w+) quantiles of stable's") == len(QUANTILES)
    assert documented(r"stable's previous (\d+) seconds") == REFERENCE_S
    assert documented(r"(\w+) effect sizes for each") == len(THETAS)
    assert documented(r"give (\w+) e-values") == len(QUANTILES) * len(THETAS)
    assert documented(r"No second may multiply E by more than e\^([\d.]+),") == max(CAPS_LN_E)
    assert documented(r"more than e\^([\d.]+) at the far quantiles") == CAPS_LN_E[-1] == CAPS_LN_E[-2]
    assert documented(r"Every (\d+) seconds the product also starts anew") == RESTART_TICKS
    far = [deviations for deviations in MOST_DEVIATIONS if deviations < math.inf]
    assert set(far) == {documented(r"cut off at (\w+) standard deviations")}
    first = QUANTILES[[each < math.inf for each in MOST_DEVIATIONS].index(True)]
    assert first == documented(r"From p(\d+) on, the share") / 100
    assert documented(r"stable's seconds of the last (\w+) minutes") * 60 == MEMORY_S
    assert documented(r"at most (\d+) per second and arm") == MAX_ROWS


HISTOGRAMS = st.lists(st.integers(0, 30), min_size=6, max_size=6).map(
    lambda numbers: counts(**{f"b{100 + 20 * at}": number for at, number in enumerate(numbers)}, b701=numbers[0] // 9)
)


@given(HISTOGRAMS, HISTOGRAMS, HISTOGRAMS, st.integers(0, 30), st.floats(0.0, 0.3))
def test_a_tick_is_the_two_by_two_formula_of_every_quantile_and_effect(reference, stable, canary, limit, rho):
    limits = np.minimum(NO_TOLERANCE + limit, OVERFLOW)
    correlations = np.full(len(QUANTILES), rho)
    found = tick_ln_e(reference, stable, canary, limits, correlations)
    assert found.shape == (len(QUANTILES), len(THETAS))
    n, n_b, n_c = int(reference.sum()), int(stable.sum()), int(canary.sum())
    if n < 20 or not n_b or not n_c:
        assert not found.any()
        return
    for row, quantile in enumerate(QUANTILES):
        at = next(each for each in range(NUM_BUCKETS) if reference[: each + 1].sum() >= max(1, quantile * n - 1e-9))
        at_canary = int(limits[at])
        if at_canary > FINITE_BUCKETS:
            assert not found[row].any()
            continue
        p_b = (int(reference[at + 1 :].sum()) + 0.5) / (n + 1)
        most = p_b + MOST_DEVIATIONS[row] * math.sqrt(p_b * (1 - p_b) / min(n_b, n_c))
        arms = []
        for arm, threshold, number in ((stable, at, n_b), (canary, at_canary, n_c)):
            effect = 1 + (number - 1) * rho
            hits = min(int(arm[threshold + 1 :].sum()), number * most)
            arms.append((number / effect, hits / effect))
        (m_b, y_b), (m_c, y_c) = arms
        for column, theta in enumerate(THETAS):
            p_c = theta * p_b / (1 - p_b + theta * p_b)
            p_0 = (m_c * p_c + m_b * p_b) / (m_c + m_b)
            expected = (
                y_c * math.log(p_c / p_0)
                + (m_c - y_c) * math.log((1 - p_c) / (1 - p_0))
                + y_b * math.log(p_b / p_0)
                + (m_b - y_b) * math.log((1 - p_b) / (1 - p_0))
            )
            assert found[row, column] == pytest.approx(expected, abs=1e-9)


@given(HISTOGRAMS, HISTOGRAMS, st.integers(0, 30))
def test_alone_a_tick_is_the_likelihood_ratio_against_old_rates(reference, canary, limit):
    limits = np.minimum(NO_TOLERANCE + limit, OVERFLOW)
    found = frozen_ln_e(reference, canary, limits)
    n, n_c = int(reference.sum()), int(canary.sum())
    if n < 20 or not n_c:
        assert not found.any()
        return
    at = threshold_indices(reference)
    rates = exceedance_rates(reference, at)
    for row in range(len(QUANTILES)):
        at_canary, rate = int(limits[at[row]]), rates[row]
        if at_canary > FINITE_BUCKETS:
            assert not found[row].any()
            continue
        most = rate + MOST_DEVIATIONS[row] * math.sqrt(rate * (1 - rate) / n_c)
        y_c = min(int(canary[at_canary + 1 :].sum()), n_c * most)
        for column, theta in enumerate(THETAS):
            worse = theta * rate / (1 - rate + theta * rate)
            expected = y_c * math.log(worse / rate) + (n_c - y_c) * math.log((1 - worse) / (1 - rate))
            assert found[row, column] == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize(("factor", "buckets"), [(0.5, 0), (1.0, 0), (1.02, 1), (1.021, 2), (1.02**10, 10), (2.0, 36)])
def test_limits_move_up_by_whole_buckets_and_never_down(factor, buckets):
    moved = slower_by(np.array([100, FINITE_BUCKETS - buckets, FINITE_BUCKETS + 1 - buckets]), factor)
    assert moved.tolist() == [100 + buckets, FINITE_BUCKETS, OVERFLOW]


@pytest.mark.parametrize(("num_before", "is_used"), [(MIN_REFERENCE - 1, False), (MIN_REFERENCE, True)])
def test_twenty_requests_before_the_rollout_are_enough_to_compare_with(num_before, is_used):
    """Before the rollout all were slow, so the canary is no slower than they were."""
    now, canary = counts(b100=600), counts(b400=600)
    evidence = LatencyEvidence(tolerance_of(0.1, 0.0))
    for _ in range(5):
        evidence.update_unlike(counts(b500=num_before), now, counts(b100=20), canary)
    assert (evidence.ln_e() < 1.0) is is_used


def test_while_baking_the_tolerance_counts_twice():
    tolerance = tolerance_of(0.104, 0.0)
    buckets = tolerance.once[100] - 100
    assert tolerance.twice[100] == 100 + 2 * buckets
    for slower, is_evidence in ((2 * buckets, False), (2 * buckets + 1, True)):
        evidence = LatencyEvidence(tolerance)
        for _ in range(10):
            reference, stable = counts(b100=1_000), counts(b100=1_000)
            evidence.update_unlike(histogram.empty(), reference, stable, counts(**{f"b{100 + slower}": 1_000}))
        assert (evidence.ln_e() > 1.0) is is_evidence


def test_a_gap_raises_thresholds_until_they_are_exceeded_as_rarely():
    reference = counts(b100=50, b120=30, b140=20)
    at = np.array([100] * len(QUANTILES))  # half exceed it: log-odds 0
    assert raised(reference, at, np.zeros(len(QUANTILES))).tolist() == at.tolist()
    gap = math.log(80.5 / 20.5)
    for gaps, expected in ((0.01, 120), (gap, 120), (gap + 0.01, 140), (99.0, NUM_BUCKETS)):
        assert raised(reference, at, np.full(len(QUANTILES), gaps)).tolist() == [expected] * len(QUANTILES)


def seconds(*rows):
    return [counts(b100=fast, b200=slow) for fast, slow in rows]


def test_the_correlation_is_the_formula_of_successive_differences():
    reference = counts(b100=60, b200=40)
    clustering = Clustering()
    made = seconds((30, 10), (10, 30), (25, 15), (20, 25))
    for each in made:
        clustering.add(reference, each)
    excess, pairs, kept = 0.0, 0.0, math.exp(-1 / 300)
    p = 40.5 / 101
    for last, now in itertools.pairwise(made):
        n_last, n_now = int(last.sum()), int(now.sum())
        inverse = 1 / n_last + 1 / n_now
        step = int(last[200]) / n_last - int(now[200]) / n_now
        excess = kept * excess + (min(step**2 / (p * (1 - p) * inverse), 25.0) - 1) * inverse
        pairs = kept * pairs + 2 - inverse
    assert clustering.correlations()[0] == pytest.approx(excess / pairs)


@pytest.mark.parametrize(("requests", "is_known"), [(1, False), (2, True)])
def test_seconds_of_one_request_say_nothing_of_clustering(requests, is_known):
    reference = counts(b100=60, b200=40)
    clustering = Clustering()
    for number in range(6):
        clustering.add(reference, counts(**{f"b{100 + 100 * (number % 2)}": requests}))
    assert clustering.correlations().any() == is_known


@pytest.mark.parametrize(("rows", "is_known"), [(MIN_REFERENCE - 1, False), (MIN_REFERENCE, True)])
def test_clustering_needs_a_reference(rows, is_known):
    clustering = Clustering()
    for number in range(6):
        clustering.add(counts(b100=rows), counts(**{f"b{100 + 100 * (number % 2)}": 50}))
    assert clustering.correlations().any() == is_known


def test_a_design_effect_is_kishs_and_one_request_is_one():
    rho = np.array([0.0, 0.1, 1.0])
    assert design_effect(11, rho).tolist() == pytest.approx([1.0, 2.0, 11.0])
    assert design_effect(1, rho).tolist() == design_effect(0.1, rho).tolist() == [1.0, 1.0, 1.0]


def test_what_is_detectable_is_what_an_expected_tick_detects():
    """The told ratio reaches the threshold with expected counts, the next smaller bucket does not."""
    generator = np.random.default_rng(0)
    reference = histogram.count(generator.lognormal(-6, 0.5, 30_000))
    per_s, within_s, threshold = 400.0, 60.0, math.log(100)
    ratio = min_detectable_ratio(reference, per_s, per_s, tolerance_of(0.104, 0.0).once, threshold, within_s)
    j = round(math.log(ratio) / math.log(1.02))
    reached = []
    for steps in (j - 1, j):
        slower = histogram.empty()
        slower[steps:] = reference[: NUM_BUCKETS - steps]
        tick = tick_ln_e(
            reference,
            np.asarray(reference * (per_s / 30_000)),
            np.asarray(slower * (per_s / 30_000)),
            tolerance_of(0.104, 0.0).once,
        )
        best = np.minimum(tick, np.array(CAPS_LN_E)[:, np.newaxis]).max()
        reached.append(best * within_s >= threshold + math.log(2 * 30))
    assert reached == [False, True]


@pytest.mark.parametrize("requests", [2, 3, 40])
def test_the_first_two_seconds_give_a_correlation_already(requests):
    reference = counts(b100=60, b200=40)
    clustering = Clustering()
    for fast in (True, False):
        clustering.add(reference, counts(**{"b100" if fast else "b200": requests}))
    p, inverse = 40.5 / 101, 2 / requests
    squares = min(1 / (p * (1 - p) * inverse), 25.0)
    assert clustering.correlations()[0] == pytest.approx(min(1.0, (squares - 1) * inverse / (2 - inverse)))
