"""The e-processes: silent while nothing is wrong, quick when something is, finite whatever the counts."""

import math

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from divisions.analysis_spec import AnalysisSpec
from router.evidence import error_evidence, latency_evidence
from router.evidence.detectable import min_detectable_ratio
from router.evidence.histogram import NUM_BUCKETS, count, empty
from router.evidence.mixture import CAP_LN_E, MAX_STARTS, RESTART_TICKS, RestartMixture
from router.evidence.tolerance import tolerance_of
from router.evidence.windows import RecentCounts, VersionCounts
from router.rollouts.analysis import RolloutAnalysis

ANALYSIS = AnalysisSpec(warmup_s=2, warmup_requests=50, tolerance_ms=0.0)
TENTH = tolerance_of(0.104, 0.0)
histograms = npst.arrays(np.int64, NUM_BUCKETS, elements=st.integers(0, 3), fill=st.just(0))


def counts_of(latencies_s):
    return VersionCounts(len(latencies_s), int(np.isinf(latencies_s).sum()), count(latencies_s))


def ticks_to_fire(
    seed,
    *,
    ticks,
    rps=300,
    share=0.2,
    change=lambda x, g: x,
    onset=0,
    base_error_rate=0.0,
    tolerance_ms=0.0,
    scale_s=0.0005,
):
    """Simulates a rollout under load that swings by 40 %; returns (ticks after onset until a guard fires, judge)."""
    generator = np.random.default_rng(seed)
    judge = RolloutAnalysis(msgspec.structs.replace(ANALYSIS, tolerance_ms=tolerance_ms))
    judge.enter_step(0, 0)
    recent = RecentCounts()
    for tick in range(-35, ticks):
        load = rps * (1 + 0.4 * math.sin(tick / 40))
        scale = scale_s * (1 + 0.2 * math.sin(tick / 15))
        n_canary = generator.poisson(load * share) if tick >= 0 else 0
        stable_s = generator.lognormal(math.log(scale), 0.5, generator.poisson(load * (1 - share)))
        canary_s = generator.lognormal(math.log(scale), 0.5, n_canary)
        for arm_s in (stable_s, canary_s):
            arm_s[generator.random(len(arm_s)) < base_error_rate] = np.inf
        if tick >= onset:
            canary_s = change(canary_s, generator)
        stable = counts_of(stable_s)
        if tick >= 0:
            judge.observe(tick, recent.total(tick).counts, stable, counts_of(canary_s))
            found = judge.evidence()
            if found.latency_log_e >= found.threshold or found.error_log_e >= found.error_threshold:
                return tick - onset + 1, judge
        recent.add(tick, stable)
    return None, judge


@pytest.mark.parametrize("seed", range(30))
def test_two_equal_versions_never_fire(seed):
    fired, judge = ticks_to_fire(seed, ticks=300, base_error_rate=0.002)
    assert fired is None
    assert judge.evidence().latency_log_e < 0.5 * judge.evidence().threshold


@pytest.mark.parametrize("seed", range(5))
def test_half_as_slow_again_is_found(seed):
    fired, judge = ticks_to_fire(seed, rps=1_000, ticks=20, change=lambda x, g: 1.5 * x)
    assert (fired or math.inf) <= 10
    assert judge.explain().guard == "latency"


@pytest.mark.parametrize("seed", range(5))
def test_a_slow_down_that_begins_late_is_found_thanks_to_the_restarts(seed):
    fired, _ = ticks_to_fire(seed, rps=1_000, ticks=330, onset=300, change=lambda x, g: 1.5 * x)
    assert fired is not None


@pytest.mark.parametrize("seed", range(5))
def test_ten_milliseconds_on_half_a_millisecond_are_found_at_250_requests_per_second(seed):
    fired, judge = ticks_to_fire(seed, rps=250, ticks=15, change=lambda x, g: x + 0.010)
    assert (fired or math.inf) <= 12
    explanation = judge.explain()
    assert explanation.canary_exceeded > explanation.stable_exceeded * explanation.canary_requests / (
        explanation.stable_requests
    )


@pytest.mark.parametrize("seed", range(5))
def test_a_slow_tail_is_found(seed):
    slow_tail = lambda x, g: np.where(g.random(len(x)) < 0.1, 3 * x, x)  # noqa: E731  # reads as data here
    fired, judge = ticks_to_fire(seed, rps=1_000, ticks=30, change=slow_tail)
    assert fired is not None
    assert judge.explain().quantile >= 0.75


@pytest.mark.parametrize("seed", range(5))
def test_five_percent_errors_are_found_by_the_error_guard(seed):
    fired, judge = ticks_to_fire(
        seed, rps=250, ticks=15, change=lambda x, g: np.where(g.random(len(x)) < 0.05, np.inf, x)
    )
    assert (fired or math.inf) <= 12
    assert judge.explain().guard == "errors"


def test_fast_failures_do_not_look_fast():
    fired, _ = ticks_to_fire(1, ticks=15, change=lambda x, g: np.where(g.random(len(x)) < 0.5, np.inf, x / 10))
    assert fired is not None


def test_slowness_only_while_warming_up_never_fires():
    calls = iter(range(1_000))

    def slow_at_first(latencies_s, generator):
        return latencies_s + (0.2 if next(calls) < 1 else 0.0)

    fired, _ = ticks_to_fire(2, ticks=200, change=slow_at_first)
    assert fired is None


def test_a_faster_canary_is_no_regression():
    fired, judge = ticks_to_fire(3, ticks=100, change=lambda x, g: x / 2)
    assert fired is None
    assert judge.evidence().latency_log_e < 0


def run_at_a_third_of_a_millisecond(seed, change, *, tolerance_ms):
    return ticks_to_fire(seed, rps=1_000, ticks=120, scale_s=0.0003, change=change, tolerance_ms=tolerance_ms)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("wakes_s", [30e-6, 100e-6])
def test_what_an_idle_processor_takes_to_wake_is_no_regression(seed, wakes_s):
    usual_ms = AnalysisSpec().tolerance_ms
    fired, judge = run_at_a_third_of_a_millisecond(seed, lambda x, g: x + wakes_s, tolerance_ms=usual_ms)
    assert fired is None
    assert judge.evidence().latency_log_e < judge.evidence().threshold / 2


def test_a_tenth_alone_would_have_rolled_it_back():
    assert run_at_a_third_of_a_millisecond(1, lambda x, g: x + 100e-6, tolerance_ms=0.0)[0] is not None


@pytest.mark.parametrize("seed", range(3))
def test_a_third_of_a_millisecond_that_becomes_two_thirds_is_found_all_the_same(seed):
    usual_ms = AnalysisSpec().tolerance_ms
    fired, judge = run_at_a_third_of_a_millisecond(seed, lambda x, g: 2 * x, tolerance_ms=usual_ms)
    assert (fired or math.inf) <= 30
    assert judge.explain().guard == "latency"


def test_less_than_the_tolerance_is_no_regression():
    for seed in range(5):
        assert ticks_to_fire(seed, rps=1_000, ticks=120, change=lambda x, g: 1.08 * x)[0] is None


@given(histograms, histograms, histograms)
def test_every_tick_is_finite(reference, stable, canary):
    ln_e = latency_evidence.tick_ln_e(reference, stable, canary, TENTH.once)
    assert ln_e.shape == (6, 5)
    assert np.isfinite(ln_e).all()


@given(st.integers(0, 10**6), st.integers(0, 10**6), st.integers(0, 10**6), st.integers(0, 10**6))
def test_every_tick_of_errors_is_finite(stable, stable_errors, canary, canary_errors):
    assert np.isfinite(error_evidence.tick_ln_e(stable, stable_errors, canary, canary_errors)).all()


def test_without_traffic_on_one_arm_a_tick_says_nothing():
    busy, idle = count(np.full(100, 0.001)), empty()
    for stable, canary in ((busy, idle), (idle, busy)):
        assert not latency_evidence.tick_ln_e(busy, stable, canary, TENTH.once).any()
    assert not latency_evidence.tick_ln_e(idle, busy, busy, TENTH.once).any()


@given(st.integers(2, 40), st.integers(2, 40), st.floats(0.05, 0.95), st.sampled_from(latency_evidence.THETAS))
def test_the_two_by_two_e_variable_is_one_in_expectation_under_the_null(n_b, n_c, p, theta):
    """Exact sum over both binomials, at any true rate that the arms share."""
    y_b, y_c = np.meshgrid(np.arange(n_b + 1), np.arange(n_c + 1))
    chance = np.array([math.comb(n_b, k) * p**k * (1 - p) ** (n_b - k) for k in range(n_b + 1)])[y_b]
    chance = chance * np.array([math.comb(n_c, k) * p**k * (1 - p) ** (n_c - k) for k in range(n_c + 1)])[y_c]
    ln_e = latency_evidence.two_by_two_ln_e(np.array(0.3), np.array(theta), y_b, n_b, y_c, n_c)
    assert float((chance * np.exp(ln_e)).sum()) <= 1 + 1e-9


@given(st.floats(0.05, 0.95), st.floats(0.1, error_evidence.TOLERANCE), st.integers(1, 30))
def test_the_error_e_variable_is_at_most_one_in_expectation_under_the_null(share, ratio, errors):
    requests = 1_000_000
    canary = round(share * requests)
    q = canary * ratio / (canary * ratio + requests - canary)
    expected = sum(
        math.comb(errors, k)
        * q**k
        * (1 - q) ** (errors - k)
        * np.exp(error_evidence.tick_ln_e(requests - canary, errors - k, canary, k))
        for k in range(errors + 1)
    )
    assert (expected <= 1 + 1e-9).all()


@given(st.lists(npst.arrays(np.float64, 3, elements=st.floats(-50, 50)), min_size=1, max_size=100))
def test_the_mixture_grows_by_at_most_the_cap_and_survives_a_snapshot(ticks):
    mixture = RestartMixture(3)
    before = mixture.ln_e()
    assert before == 0.0
    for ln_e in ticks:
        mixture.update(ln_e)
        assert mixture.ln_e() <= before + CAP_LN_E + 1e-9
        before = mixture.ln_e()
    copy = RestartMixture(3)
    copy.restore(mixture.snapshot())
    assert copy.ln_e() == mixture.ln_e()
    assert copy.dominant() == mixture.dominant()


def test_the_mixture_of_a_silent_process_stays_one():
    mixture = RestartMixture(4)
    for _ in range(10 * RESTART_TICKS):
        mixture.update(np.zeros(4))
        assert mixture.ln_e() == pytest.approx(0.0, abs=1e-12)


def test_a_very_long_rollout_keeps_a_bounded_number_of_starts():
    mixture = RestartMixture(2)
    for _ in range((MAX_STARTS + 20) * RESTART_TICKS):
        mixture.update(np.array([-0.01, -0.02]))
    assert len(mixture.snapshot().starts) == MAX_STARTS
    for _ in range(60):
        mixture.update(np.array([1.0, 1.0]))
    assert mixture.ln_e() > -math.log(0.01)


def test_more_traffic_detects_smaller_changes():
    reference = count(np.random.default_rng(0).lognormal(-7, 0.5, 30_000))
    ratios = [min_detectable_ratio(reference, 0.8 * rps, 0.2 * rps, TENTH.once, 4.6, 60) for rps in (50, 500, 5_000)]
    assert ratios == sorted(ratios, reverse=True)
    assert 1.104 < ratios[-1] < ratios[0] < 3
    assert min_detectable_ratio(reference, 100, 0, TENTH.once, 4.6, 60) is None


def baking_ln_e(before_s, stable_s, canary_s, ticks=10):
    """Seconds of baking; latencies of stable before the rollout ``[N]``, and of both arms now ``[ticks, N]``."""
    process = latency_evidence.LatencyEvidence(TENTH)
    reference = empty()
    for arm_s in stable_s:
        reference += count(arm_s)
    for tick in range(ticks):
        process.update_unlike(count(before_s), reference, count(stable_s[tick]), count(canary_s[tick]))
    return process.ln_e()


@pytest.mark.parametrize(
    ("queueing", "regression", "fires"),
    [
        (1.5, 1.0, False),  # slower than the holdback, but not than stable was with all of the load: that is the load
        (1.5, 1.6, True),
        (1.0, 1.0, False),
        (1.0, 1.6, True),
        (1.0, 1.15, False),  # within twice the tolerance
    ],
)
def test_while_baking_a_canary_is_not_blamed_for_the_load_that_it_carries(queueing, regression, fires):
    generator = np.random.default_rng(7)
    before_s = queueing * generator.lognormal(-7, 0.5, 30_000)
    stable_s = generator.lognormal(-7, 0.5, (10, 300))
    canary_s = queueing * regression * generator.lognormal(-7, 0.5, (10, 970))
    assert (baking_ln_e(before_s, stable_s, canary_s) >= math.log(100)) is fires


def test_what_stable_did_before_the_rollout_survives_a_restart():
    judge = RolloutAnalysis(ANALYSIS)
    judge.observe(0, count(np.full(500, 0.001)), counts_of(np.full(80, 0.001)), counts_of(np.full(20, 0.001)))
    copy = RolloutAnalysis(ANALYSIS)
    copy.restore(judge.snapshot())
    assert copy.snapshot().before == judge.snapshot().before
    assert sum(copy.snapshot().before.values()) == 500


def stalls_of_one_arm_ln_e(seed, deviations):
    """A tenth of the canary's requests wait 300 ms in every fourth second of thirty, and none of stable's."""
    generator = np.random.default_rng(seed)
    reference = count(generator.lognormal(-7, 0.5, 24_000))
    capped_alike = RestartMixture(latency_evidence.NUM_CELLS, 1.25)
    process = latency_evidence.LatencyEvidence(TENTH)
    highest = highest_alike = 0.0
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(latency_evidence, "_DEVIATIONS", np.array(deviations))
        for tick in range(30):
            canary_s = generator.lognormal(-7, 0.5, 200)
            canary_s[:20] += 0.3 * (tick % 4 == 0)
            stable, canary = count(generator.lognormal(-7, 0.5, 800)), count(canary_s)
            process.update(reference, stable, canary)
            capped_alike.update(latency_evidence.tick_ln_e(reference, stable, canary, TENTH.once).ravel())
            highest, highest_alike = max(highest, process.ln_e()), max(highest_alike, capped_alike.ln_e())
    return highest, highest_alike


@pytest.mark.parametrize("seed", range(3))
def test_stalls_of_one_arm_do_not_roll_it_back(seed):
    highest, _ = stalls_of_one_arm_ln_e(seed, latency_evidence.MOST_DEVIATIONS)
    assert highest < math.log(100) / 2
    # What neither lower caps far out nor limits of a second's share would have done:
    assert stalls_of_one_arm_ln_e(seed, [math.inf] * 6)[1] > math.log(100)


def test_what_the_canarys_customers_were_slower_by_before_is_not_held_against_it():
    """Its customers' requests take a third longer under either version; with the gap known, that is no evidence."""
    generator = np.random.default_rng(5)
    everybody = generator.lognormal(-7, 0.5, 24_000)
    slower = 1.33 * generator.lognormal(-7, 0.5, 24_000)
    gaps = np.array(
        [
            math.log(share / (1 - share)) - math.log((1 - q) / q)
            for q in latency_evidence.QUANTILES
            for share in [(slower > np.quantile(everybody, q)).mean()]
        ]
    )
    found = {}
    for known, regression in ((False, 1.0), (True, 1.0), (True, 1.5)):
        process = latency_evidence.LatencyEvidence(TENTH)
        for _ in range(30):
            canary = regression * 1.33 * generator.lognormal(-7, 0.5, 200)
            stable = generator.lognormal(-7, 0.5, 800)
            process.update(
                count(everybody), count(stable), count(canary), gaps=gaps if known else latency_evidence.ALIKE
            )
        found[known, regression] = process.ln_e() >= math.log(100)
    assert found == {(False, 1.0): True, (True, 1.0): False, (True, 1.5): True}


def test_while_baking_requests_may_be_slower_in_proportion_to_a_load_that_is_higher_than_before():
    generator = np.random.default_rng(3)
    before = count(generator.lognormal(-7, 0.5, 30_000))
    reference, fired = count(generator.lognormal(-7, 0.5, 900)), {}
    for load in (1.0, 1.5):
        process = latency_evidence.LatencyEvidence(TENTH)
        for _ in range(20):
            stable, canary = (generator.lognormal(-7, 0.5, number) for number in (30, int(970 * load)))
            process.update_unlike(before, reference, count(stable), count(1.5 * canary))
        fired[load] = process.ln_e() >= math.log(100)
    assert fired == {1.0: True, 1.5: False}


def test_what_is_known_of_clustering_survives_a_restart():
    judge, rho = RolloutAnalysis(ANALYSIS), np.linspace(0.0, 0.1, 6)
    judge.observe(
        0, count(np.full(500, 0.001)), counts_of(np.full(80, 0.001)), counts_of(np.full(20, 0.001)), correlations=rho
    )
    copy = RolloutAnalysis(ANALYSIS)
    copy.restore(judge.snapshot())
    assert copy.snapshot().correlations == tuple(rho.tolist())


@pytest.mark.parametrize("rows", [19, 20])
def test_a_tick_needs_twenty_reference_requests(rows):
    slow = count(np.full(50, 0.1))
    ln_e = latency_evidence.tick_ln_e(count(np.full(rows, 0.001)), count(np.full(50, 0.001)), slow, TENTH.once)
    assert ln_e.any() == (rows >= 20)
    frozen = latency_evidence.frozen_ln_e(count(np.full(rows, 0.001)), slow, TENTH.once)
    assert frozen.any() == (rows >= 20)


def test_at_high_quantiles_a_stall_counts_as_three_deviations_of_the_smaller_arm():
    generator = np.random.default_rng(0)
    reference = count(generator.lognormal(-7, 0.5, 30_000))
    stable = count(generator.lognormal(-7, 0.5, 800))
    few, many = (count(np.concatenate([np.full(n, 1.0), np.full(200 - n, 0.001)])) for n in (60, 120))
    ln_e_few, ln_e_many = (latency_evidence.tick_ln_e(reference, stable, each, TENTH.once) for each in (few, many))
    assert (ln_e_few[3:] == ln_e_many[3:]).all(), "from p95 on, more than the limit counts as the limit"
    assert (ln_e_few[2] != ln_e_many[2]).any()
    rate, number = 0.05, 200
    limit = number * (rate + 3 * math.sqrt(rate * (1 - rate) / number))
    within = count(np.concatenate([np.full(int(limit) - 1, 1.0), np.full(200 - int(limit) + 1, 0.001)]))
    assert (latency_evidence.tick_ln_e(reference, stable, within, TENTH.once)[3] != ln_e_few[3]).any()


def test_alone_the_canary_is_compared_with_the_rates_of_the_reference():
    reference = count(np.concatenate([np.full(500, 0.001), np.full(500, 0.01)]))
    canary = count(np.concatenate([np.full(40, 0.001), np.full(60, 0.02)]))
    rate = (500 + 0.5) / 1_001
    ln_e = latency_evidence.frozen_ln_e(reference, canary, TENTH.once)
    for cell, theta in enumerate(latency_evidence.THETAS):
        worse = theta * rate / (1 - rate + theta * rate)
        expected = 60 * math.log(worse / rate) + 40 * math.log((1 - worse) / (1 - rate))
        assert ln_e[0, cell] == pytest.approx(expected)


def test_evidence_starts_at_nothing_and_goes_on_from_a_snapshot():
    first, second = (latency_evidence.LatencyEvidence(TENTH) for _ in range(2))
    assert first.ln_e() == 0.0
    busy, slow = count(np.full(100, 0.001)), count(np.full(50, 0.002))
    for _ in range(5):
        first.update(busy, busy, slow)
    second.restore(first.snapshot())
    second.update(busy, busy, slow)
    first.update(busy, busy, slow)
    assert second.ln_e() == first.ln_e() > 4
    dominant = second.dominant()
    assert (dominant.ticks, dominant.quantile in (0.5, 0.75, 0.9)) == (6, True)
