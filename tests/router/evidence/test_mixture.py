"""The mixture over starts and cells: the formula of the module's docstring, and what is dropped."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from router.evidence.mixture import MAX_STARTS, RESTART_TICKS, RestartMixture

TICKS = st.lists(st.tuples(st.floats(-2, 0.9), st.floats(-2, 0.9)), max_size=100)


def expected_ln_e(ticks, cells=2):
    starts = range(0, len(ticks), RESTART_TICKS)
    total = 1 / (len(starts) + 1)
    for number, start in enumerate(starts, start=1):
        products = np.exp(np.sum(ticks[start:], axis=0))
        total += 1 / (number * (number + 1)) * products.sum() / cells
    return math.log(total)


@given(TICKS)
@settings(max_examples=40)
def test_it_is_the_formula_of_the_docstring(ticks):
    mixture = RestartMixture(2)
    for tick in ticks:
        mixture.update(np.array(tick))
    assert mixture.ln_e() == pytest.approx(expected_ln_e(ticks), abs=1e-9)
    assert mixture.ticks == len(ticks)


def test_it_begins_at_one_and_one_tick_adds_at_most_the_cap():
    mixture = RestartMixture(1, cap_ln_e=1.5)
    assert mixture.ln_e() == 0.0
    assert mixture.dominant() == (0, 0)
    mixture.update(np.array([100.0]))
    assert mixture.ln_e() == pytest.approx(math.log(0.5 * math.exp(1.5) + 0.5))


def test_each_cell_may_have_a_cap_of_its_own():
    mixture = RestartMixture(2, cap_ln_e=np.array([0.5, 2.0]))
    mixture.update(np.array([9.0, 9.0]))
    assert mixture.ln_e() == pytest.approx(math.log(0.5 * (math.exp(0.5) + math.exp(2.0)) / 2 + 0.5))
    assert mixture.dominant() == (1, 1)


def test_the_dominant_start_is_the_one_that_need_not_win_back_what_was_lost():
    mixture = RestartMixture(2)
    for tick in range(RESTART_TICKS + 7):
        mixture.update(np.array([-1.0, -1.0]) if tick < RESTART_TICKS else np.array([0.1, 0.9]))
    assert mixture.dominant() == (7, 1)


def test_of_many_starts_the_weakest_is_dropped_and_the_best_stays():
    mixture = RestartMixture(1)
    for tick in range(RESTART_TICKS * (MAX_STARTS + 5)):
        mixture.update(np.array([0.5 if tick < RESTART_TICKS else -0.001]))
    snapshot = mixture.snapshot()
    assert len(snapshot.starts) == MAX_STARTS
    assert snapshot.starts[0] == 1, "the first start has won most"
    assert snapshot.starts[-1] == MAX_STARTS + 5, "the newest start has had no time yet"
    assert mixture.ln_e() > 0.5 * RESTART_TICKS - math.log(2) - 3


def test_a_snapshot_is_the_whole_state():
    first, second = RestartMixture(3), RestartMixture(3)
    generator = np.random.default_rng(0)
    for tick in generator.normal(size=(70, 3)):
        first.update(tick)
    second.restore(first.snapshot())
    assert second.ticks == 70
    for tick in generator.normal(size=(25, 3)):
        first.update(tick)
        second.update(tick)
    assert second.snapshot() == first.snapshot()
    assert second.ln_e() == first.ln_e()
