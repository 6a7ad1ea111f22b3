"""Ticks, gateways and warm-ups at their exact borders; and the evidence about the split by its formula."""

from __future__ import annotations

import math
import re
from pathlib import Path

import numpy as np
import pytest

from divisions.reports import VersionReport
from divisions.stability import MIN_BIN_ROWS, corrected_psi, null_mean, pool
from router.evidence.drift import MIN_ROWS, SCORE_BINS, DriftMonitor, count_scores
from router.evidence.sample_ratio import MAX_LEVEL, DistinctCustomers, ln_e
from router.evidence.windows import CLOCKS_DIFFER_S, Ledger, RecentCounts, VersionCounts, WarmUp
from tests.router.evidence.test_windows import report, requests_of


@pytest.mark.parametrize(("waited_s", "ticks"), [(4.999, []), (5.0, [10])])
def test_a_tick_waits_five_seconds_for_a_gateway_that_lives(waited_s, ticks):
    ledger = Ledger()
    ledger.add(report(9, "slow"), 11.0)
    ledger.add(report(9, "g1"), 11.0)
    assert [tick.tick for tick in ledger.close(11.0)] == [9]
    ledger.add(report(10, "g1"), 12.0)
    assert [tick.tick for tick in ledger.close(10 + waited_s)] == ticks


@pytest.mark.parametrize(("silent_s", "is_waited_for"), [(8.0, True), (8.001, False)])
def test_a_gateway_lives_eight_seconds_after_its_last_report(silent_s, is_waited_for):
    ledger = Ledger()
    ledger.add(report(100, "old", epoch=7), 102.0)
    ledger.add(report(100, "g1"), 102.0)
    ledger.close(102.0)
    now_s = 102.0 + silent_s
    ledger.add(report(int(now_s) - 2, "g1"), now_s)
    assert (ledger.close(now_s) == []) is is_waited_for
    assert ("old" in ledger.gateways(now_s)) is is_waited_for


@pytest.mark.parametrize(("difference_s", "is_moved"), [(CLOCKS_DIFFER_S, False), (CLOCKS_DIFFER_S + 0.5, True)])
def test_a_clock_may_differ_by_half_a_minute(difference_s, is_moved):
    for sign in (1, -1):
        ledger = Ledger()
        now_s = 1_000.0
        ledger.add(report(1_000, "g1"), now_s + sign * difference_s)
        (tick,) = ledger.close(now_s + sign * difference_s + 10)
        assert (tick.tick != 1_000) is is_moved
        if is_moved:
            assert tick.tick == int(now_s + sign * difference_s) - 2, "reports are due two seconds after their tick"


def test_a_tick_that_was_closed_takes_nothing_more():
    ledger = Ledger()
    assert ledger.add(report(10), 12.0)
    assert requests_of(ledger.close(12.0)) == {10: 3}
    assert not ledger.add(report(10, "other"), 12.0)
    assert not ledger.add(report(9, "other"), 12.0)
    assert ledger.add(report(11, "other"), 13.0)


def test_the_newest_epoch_and_tick_of_a_gateway_count():
    ledger = Ledger()
    ledger.add(report(11, "g1", epoch=5), 13.0)
    ledger.add(report(10, "g1", epoch=4), 13.0)
    assert ledger.gateways(13.0) == {"g1": 5}
    assert [tick.tick for tick in ledger.close(13.0)] == [10, 11], "it has reported 11, so nothing is missing"


def version(requests: int, errors: int = 0) -> VersionCounts:
    made = VersionCounts(requests, errors)
    made.counts[100] = requests
    return made


def test_recent_counts_forget_a_tick_after_their_span():
    recent = RecentCounts(3)
    for tick in (10, 11, 12, 13):
        recent.add(tick, version(tick, 1))
    assert recent.num_ticks == 3
    assert recent.total(14).requests == 11 + 12 + 13
    assert (recent.total(15).requests, recent.total(15).errors) == (12 + 13, 2)
    assert recent.total(15).counts[100] == 25
    assert recent.total(100).requests == 0


@pytest.mark.parametrize(("tick", "is_left_out"), [(10, True), (12, True), (13, False)])
def test_a_warm_up_ends_exactly_after_its_seconds(tick, is_left_out):
    warm_up = WarmUp(3.0, 1_000)
    assert warm_up.leaves_out(9, 0), "before the first request"
    assert warm_up.leaves_out(10, 1)
    assert warm_up.leaves_out(tick, 1) is is_left_out


@pytest.mark.parametrize(("left", "requests", "is_left_out"), [(10, 100, False), (11, 100, True), (0, 1, False)])
def test_a_second_counts_with_a_tenth_of_warm_up_requests(left, requests, is_left_out):
    warm_up = WarmUp(1_000.0, 50)
    warm_up.leaves_out(10, 50 - left)
    assert warm_up.leaves_out(11, requests) is is_left_out
    assert warm_up.requests == 50 - left + requests


@pytest.mark.parametrize(("stable", "canary"), [(0, 0), (80, 20), (500, 20), (20, 80), (9_000, 2_000)])
@pytest.mark.parametrize("weight_bp", [100, 2_000, 5_000])
def test_the_evidence_of_a_wrong_split_is_the_formula_of_the_module(stable, canary, weight_bp):
    w = weight_bp / 10_000

    def ln_beta(a, b):
        return math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)

    a = (100 * (1 - w), 100 * w)
    expected = ln_beta(a[0] + stable, a[1] + canary) - ln_beta(*a) - stable * math.log(1 - w) - canary * math.log(w)
    assert ln_e(stable, canary, weight_bp) == pytest.approx(expected)
    assert ln_e(stable, canary, 0) == ln_e(stable, canary, 10_000) == 0.0


@pytest.mark.parametrize(("limit", "level", "left"), [(8, 0, 8), (7, 1, 4), (4, 1, 4), (3, 2, 2)])
def test_customers_are_thinned_only_beyond_the_limit(limit, level, left):
    customers = DistinctCustomers(limit)
    new = customers.add(range(8), is_canary=False)
    assert (customers.level, len(new), customers.counts) == (level, left, (left, 0))
    assert customers.add(range(8), is_canary=True) == [], "each stays with its first arm"
    assert customers.counts == (left, 0)


def test_the_last_level_is_that_of_the_bits_which_the_split_does_not_use():
    customers = DistinctCustomers(2)
    customers.raise_level(MAX_LEVEL + 5)
    assert customers.level == MAX_LEVEL == 11
    step = 1 << MAX_LEVEL
    assert customers.add([0, step], is_canary=True) == [0, step]
    assert customers.add([2 * step], is_canary=True) == []
    assert customers.counts == (0, 2)
    customers.raise_level(3)
    assert customers.level == MAX_LEVEL


def test_thin_bins_are_pooled_below_five_reference_rows():
    assert MIN_BIN_ROWS == 5, "the usual minimum of a chi-squared cell"
    assert pool([5, 4, 1], [0, 2, 3]) == [(5, 0), (5, 5)]
    assert pool([5, 0], [7, 0]) == [(5, 7)], "an empty rest is left out"
    assert pool([5, 0], [7, 1]) == [(5, 7), (0, 1)]


def test_the_corrected_index_is_its_formula():
    reference, new = [50, 30, 20], [20, 20, 40]
    shares = [((p + 0.5) / 101.5, (q + 0.5) / 81.5) for p, q in zip(reference, new, strict=True)]
    psi = sum((q - p) * math.log(q / p) for p, q in shares)
    assert null_mean(3, 100, 80) == pytest.approx(2 * (1 / 100 + 1 / 80))
    assert corrected_psi(reference, new) == (pytest.approx(psi - null_mean(3, 100, 80)), 3)
    for empty in (([0, 0], [1, 1]), ([1, 1], [0, 0])):
        with pytest.raises(ValueError, match="both sides"):
            corrected_psi(*empty)


def floats(*scores: float) -> bytes:
    return np.array(scores, "<f4").tobytes()


def test_scores_are_counted_in_twenty_bins_of_equal_width():
    text = (Path(__file__).parents[3] / "docs" / "rollouts.md").read_text()
    assert int(re.search(r"Scores are compared in (\d+) bins", text)[1]) == SCORE_BINS
    assert count_scores([floats(0.0, 0.049), floats(0.051), floats(0.951, 1.0, 1.5, -0.5)]) == {0: 3, 1: 1, 19: 3}
    assert count_scores([]) == {}


@pytest.mark.parametrize(("rows", "is_judged"), [(MIN_ROWS - 1, False), (MIN_ROWS, True)])
def test_scores_of_an_arm_are_compared_from_a_thousand_on(rows, is_judged):
    monitor = DriftMonitor()
    monitor.add_scores(VersionReport("a", 1, 0, {}, {3: 5_000, SCORE_BINS: 9, -1: 9, 4: 0}), is_canary=False)
    monitor.add_scores(VersionReport("b", 1, 0, {}, {15: rows}), is_canary=True)
    assert (monitor.predictions() > 1.0) is is_judged
    monitor.clear()
    assert monitor.predictions() == 0.0
