"""The choice of a salt by its formula, and the memory of a minute by its borders."""

from __future__ import annotations

import math
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from divisions.reports import SaltScores
from router.evidence import quantiles, salts, split
from router.evidence.salts import CANDIDATES, MAX_KEPT, MAX_TRIED, MIN_REQUESTS, QUANTILES, CustomerLoad, SaltTrial

NUMBERS = st.lists(st.integers(0, 200), min_size=4, max_size=4).map(lambda row: [max(row), *sorted(row)[:3]])


def logit(hits, requests):
    return math.log((hits + 0.5) / (max(requests - hits, 0) + 0.5))


@given(NUMBERS, NUMBERS, NUMBERS, st.sampled_from([0.03, 0.2, 0.5, 0.8, 0.97]))
def test_a_score_is_the_formula_of_the_module(total, heavy, canary, weight):
    total = [a + b + c for a, b, c in zip(total, heavy, canary, strict=True)]
    heavy = [b + c for b, c in zip(heavy, canary, strict=True)]
    mine = [c + weight * (t - h) for t, h, c in zip(total, heavy, canary, strict=True)]
    rest = [t - m for t, m in zip(total, mine, strict=True)]
    gap = max(abs(logit(mine[q], mine[0]) - logit(rest[q], rest[0])) for q in (1, 2, 3))
    smaller, of = (mine[0], weight) if weight <= 0.5 else (rest[0], 1 - weight)
    expected = gap + 2 * abs(math.log((smaller + 0.5) / (total[0] + 1) / of))
    assert salts.score(np.array(total), np.array(heavy), np.array(canary), weight) == pytest.approx(expected)


def scores(rows, total=(1_000, 500, 100, 10), heavy=(400, 200, 40, 4)):
    return SaltScores("base", total, heavy, tuple(tuple(row) for row in rows))


def test_the_salt_with_the_smallest_greatest_score_over_all_weights_is_taken():
    even, skew = (80, 40, 8, 1), (200, 40, 8, 1)
    rows = [(*skew, *even), (*even, *skew), (*even, *(200, 100, 20, 2)), (*skew, *skew)]
    assert salts.best([scores(rows)], (2_000, 5_000)) == 2
    (gaps_first, gaps_later) = salts.gaps([scores(rows)], (2_000, 5_000), 2)
    mine = [80 + 0.2 * 600, 40 + 0.2 * 300, 8 + 0.2 * 60, 1 + 0.2 * 6]
    rest = [1_000 - mine[0], 500 - mine[1], 100 - mine[2], 10 - mine[3]]
    expected = [round(logit(mine[q], mine[0]) - logit(rest[q], rest[0]), 4) for q in (1, 2, 3)]
    assert list(gaps_first) == expected
    assert len(gaps_later) == 3


@pytest.mark.parametrize(("index", "is_told"), [(-1, False), (0, True), (1, True), (2, False)])
def test_gaps_are_told_of_salts_that_were_tried(index, is_told):
    assert bool(salts.gaps([scores([(80, 40, 8, 1), (90, 40, 8, 1)])], (2_000,), index)) is is_told
    assert salts.gaps([], (2_000,), 0) == ()


def test_gaps_are_interpolated_over_log_odds_of_quantiles():
    known = (0.1, 0.3, 0.9)
    found = salts.at_quantiles(known)
    xs = [math.log(q / (1 - q)) for q in QUANTILES]
    for quantile, value in zip(quantiles.QUANTILES, found, strict=True):
        assert value == pytest.approx(np.interp(math.log(quantile / (1 - quantile)), xs, known))
    assert (found[0], found[2], found[4], found[5]) == tuple(pytest.approx(each) for each in (0.1, 0.3, 0.9, 0.9))
    assert salts.at_quantiles((-1.0, -1.0, -1.0)).tolist() == [0.0] * 6
    assert salts.at_quantiles((1.0, 1.0)).tolist() == salts.at_quantiles(()).tolist() == [0.0] * 6


def test_the_base_salt_is_the_first_candidate():
    assert [salts.candidate("base", number) for number in (0, 1, 2)] == ["base", "base.1", "base.2"]


def full(load: CustomerLoad, tick: int, number: int = MIN_REQUESTS, latency_s: float = 0.01) -> None:
    load.add(tick, [b"c%d" % (each % 7) for each in range(number)], [latency_s] * number)


@pytest.mark.parametrize(("requests", "is_tried"), [(MIN_REQUESTS - 1, False), (MIN_REQUESTS, True)])
def test_with_few_requests_no_salt_is_chosen(requests, is_tried):
    load = CustomerLoad()
    full(load, 0, requests)
    trial = SaltTrial("base", (2_000,), load, 0)
    assert trial.is_done is not is_tried
    while not trial.is_done:
        assert trial.scores() is None
        trial.step()
    assert (trial.scores() is not None) is is_tried
    if is_tried:
        text = (Path(__file__).parents[3] / "docs" / "rollouts.md").read_text()
        assert len(trial.scores().canary) == CANDIDATES == int(re.search(r"try (\d+) salts", text)[1])


@pytest.mark.parametrize(("later", "is_known"), [(59, True), (69, True), (70, False), (500, False)])
def test_a_minute_is_remembered_in_slices_of_ten_seconds(later, is_known):
    load = CustomerLoad()
    full(load, 5)
    total, customers = load.heaviest(later)
    assert total[0] == (MIN_REQUESTS if is_known else 0)
    assert bool(customers) is is_known
    for tick in range(15, 15 + 10 * 6, 10):
        full(load, tick)
    assert load.heaviest(65)[0][0] == 6 * MIN_REQUESTS, "six slices are kept"


def test_customers_of_all_slices_add_up_heaviest_first():
    load = CustomerLoad()
    load.add(0, [b"a", b"b", b"a", b""], [0.1, 0.2, 0.3, 0.4])
    load.add(9, [b"b", b"b"], [0.1, 0.9])
    load.add(10, [b"a", b"b", b"c"], [0.1, 0.1, 0.1])
    total, customers = load.heaviest(10)
    assert total[0] == 9
    assert [(key, numbers[0]) for key, numbers in customers] == [(b"b", 4), (b"a", 3), (b"c", 1)]
    load.clear()
    assert load.heaviest(10) == ([0, 0, 0, 0], [])


@pytest.mark.parametrize(("requests", "slow"), [(MIN_REQUESTS - 1, 0), (MIN_REQUESTS, 10)])
def test_slow_is_what_was_slow_in_the_last_full_second(requests, slow):
    load = CustomerLoad()
    load.add(0, [b"a"] * 200, [0.5] * 200)
    load.add(1, [b"a"] * requests, [0.1] * requests)  # from here on more than 0.1 s is slow, if these are enough
    before = load.heaviest(1)[0]
    load.add(2, [b"b"] * 10, [0.3] * 10)
    total, _ = load.heaviest(2)
    assert [now - then for now, then in zip(total, before, strict=True)] == [10, slow, slow, slow]


def test_the_first_second_is_measured_by_its_own_quantiles():
    load = CustomerLoad()
    load.add(0, [b"a"] * 100, [number / 1_000 for number in range(100)])
    assert load.heaviest(0)[0] == [100, 50, 10, 1]


@pytest.mark.parametrize(("customers", "kept"), [(2 * MAX_KEPT, 2 * MAX_KEPT), (2 * MAX_KEPT + 1, MAX_KEPT)])
def test_a_slice_is_pruned_to_its_heaviest_customers(customers, kept):
    load = CustomerLoad()
    keys = [b"%d" % number for number in range(customers)] + [b"%d" % number for number in range(MAX_KEPT)]
    load.add(0, keys, [0.01] * len(keys))
    ((_, known, _),) = load._slices
    assert len(known) == kept
    assert set(known) >= {b"%d" % number for number in range(MAX_KEPT)}
    _, heaviest = load.heaviest(0)
    assert len(heaviest) == MAX_TRIED
    assert {numbers[0] for _, numbers in heaviest} == {2}


def test_a_trial_splits_as_the_split_does():
    load = CustomerLoad()
    full(load, 0, 700)
    weights = (2_000, 5_000)
    trial = SaltTrial("base", weights, load, 0)
    for _ in range(3):
        trial.step()
    for number in range(3):
        salt = salts.candidate("base", number).encode()
        expected = [
            100 * sum(split.place(salt, b"c%d" % each) < split.threshold(weight_bp) for each in range(7))
            for weight_bp in weights
        ]
        row = trial._canary[number]
        assert [row[0], row[4]] == expected
