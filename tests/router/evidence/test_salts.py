"""The choice of salt: arms that resemble each other, in bounded memory, and never worse than chance."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from divisions.reports import SaltScores
from router.evidence import salts, split
from router.evidence.salts import CANDIDATES, MAX_KEPT, MAX_TRIED, CustomerLoad, SaltTrial


def heavy_traffic(seed, seconds=60, rps=500, slow_customers=3):
    """Zipf customers; the heaviest few are ten times as slow."""
    generator = np.random.default_rng(seed)
    load = CustomerLoad()
    for tick in range(seconds):
        customers = np.minimum(generator.zipf(1.3, rps), 5_000)
        latencies_s = generator.lognormal(-7, 0.4, rps) * np.where(customers <= slow_customers, 10.0, 1.0)
        load.add(tick, [b"c%d" % customer for customer in customers], latencies_s.tolist())
    return load


def tried(load, base="base", weights_bp=(2_000,), now_tick=60):
    trial = SaltTrial(base, weights_bp, load, now_tick)
    while not trial.is_done:
        trial.step()
    return trial.scores()


def gap(scores, index, weight=0.2):
    return salts.score(np.array(scores.total), np.array(scores.heavy), np.array(scores.canary[index]), weight)


@pytest.mark.parametrize("seed", range(3))
def test_the_best_salt_splits_heavy_traffic_more_evenly_than_the_usual_one(seed):
    scores = tried(heavy_traffic(seed))
    best = salts.best([scores], (2_000,))
    gaps = sorted(gap(scores, index) for index in range(CANDIDATES))
    assert gap(scores, best) == gaps[0]
    assert gaps[0] < 0.5 * gaps[CANDIDATES // 2]


def test_the_counts_are_those_of_the_split_itself():
    load = heavy_traffic(0)
    scores = tried(load, "rollout")
    total, heaviest = load.heaviest(60)
    assert tuple(total) == scores.total
    for index in (0, 1, 63):
        salt = salts.candidate("rollout", index).encode()
        mine = sum(each[0] for key, each in heaviest if split.place(salt, key) < split.threshold(2_000))
        assert scores.canary[index][0] == mine


@pytest.mark.parametrize("seed", range(3))
def test_the_best_salt_is_the_best_of_all_steps_together(seed):
    weights_bp = (2_000, 5_000, 9_700)
    load = heavy_traffic(seed)
    chosen = salts.best([tried(load, weights_bp=weights_bp)], weights_bp)
    worst = {
        index: max(gap(tried(load, weights_bp=(bp,)), index, bp / 10_000) for bp in weights_bp)
        for index in (chosen, 0, 1, 2, 3)
    }
    assert worst[chosen] == min(worst.values())


def test_scores_for_other_weights_choose_nothing():
    assert salts.best([tried(heavy_traffic(0))], (2_000, 5_000)) == 0


def test_without_traffic_the_salt_is_the_random_one():
    assert tried(CustomerLoad()) is None
    assert salts.best([], (2_000,)) == 0
    assert salts.candidate("abc", salts.best([], (2_000,))) == "abc"


def test_gateways_add_up():
    one, two = tried(heavy_traffic(1)), tried(heavy_traffic(2))
    both = SaltScores(
        "base",
        tuple(a + b for a, b in zip(one.total, two.total, strict=True)),
        tuple(a + b for a, b in zip(one.heavy, two.heavy, strict=True)),
        tuple(tuple(a + b for a, b in zip(x, y, strict=True)) for x, y in zip(one.canary, two.canary, strict=True)),
    )
    assert salts.best([one, two], (2_000,)) == salts.best([both], (2_000,))


def test_memory_is_bounded_whatever_the_number_of_customers():
    load = CustomerLoad()
    for tick in range(9):
        load.add(tick, [b"%d" % number for number in range(tick * 5_000, tick * 5_000 + 5_000)], [0.001] * 5_000)
    total, heaviest = load.heaviest(9)
    assert total[0] == 45_000
    assert len(heaviest) == MAX_TRIED
    assert len(load._slices[-1][1]) <= 2 * MAX_KEPT


def test_what_is_older_than_a_minute_is_forgotten():
    load = heavy_traffic(0, seconds=10)
    assert load.heaviest(200)[0] == [0, 0, 0, 0]


def test_requests_of_many_customers_belong_to_nobody():
    load = CustomerLoad()
    load.add(0, [b"", b"", b"a"], [0.1, 0.2, 0.3])
    total, heaviest = load.heaviest(1)
    assert total[0] == 3
    assert [(key, each[0]) for key, each in heaviest] == [(b"a", 1)]


rows = st.lists(st.integers(0, 10_000), min_size=4, max_size=4)


@given(rows, rows, rows, st.floats(0.01, 0.99))
def test_every_score_is_finite(total, heavy, mine, weight):
    assert math.isfinite(salts.score(np.array(total), np.array(heavy), np.array(mine), weight))


def test_the_gap_that_remains_is_told_for_every_weight():
    """Of 1,000 requests 100 are slow; the canary's half has 70 of them, and at its other weight exactly its share."""
    scores = SaltScores("s", (1_000, 500, 100, 10), (1_000, 500, 100, 10), ((500, 250, 70, 5, 200, 100, 20, 2),))
    found = salts.gaps([scores], (5_000, 2_000), 0)
    assert len(found) == 2
    assert abs(found[0][0]) < 0.01
    assert abs(found[0][1] - (math.log(70.5 / 430.5) - math.log(30.5 / 470.5))) < 1e-3
    assert all(abs(gap) < 0.2 for gap in found[1])
    assert salts.gaps([], (2_000,), 0) == ()


def test_gaps_reach_the_guard_between_their_quantiles_and_never_favour_the_canary():
    assert not salts.at_quantiles(()).any()
    found = salts.at_quantiles((0.4, 0.2, -0.3))
    assert found[0] == pytest.approx(0.4)
    assert 0.2 < found[1] < 0.4
    assert found[2] == pytest.approx(0.2)
    assert (found[3:] >= 0).all()
    assert found[4] == found[5] == 0.0
