"""Counting one second's answers."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.evidence import histogram
from router.predict.tally import TickTally, VersionTally

SECONDS = st.floats(1e-5, 10.0)
BATCHES = st.lists(st.tuples(SECONDS, st.lists(SECONDS, min_size=1, max_size=5)), max_size=20)


def record(tally, batches):
    for compute_s, latencies_s in batches:
        tally.latencies_s += latencies_s
        tally.computed.append((compute_s, len(latencies_s)))


@given(BATCHES, BATCHES)
def test_folding_now_and_then_counts_what_folding_once_does(early, late):
    once, twice = TickTally(1), TickTally(1)
    record(once, early + late)
    once.fold()
    record(twice, early)
    twice.fold()
    record(twice, late)
    twice.fold()
    assert (once.latency == twice.latency).all()
    assert (once.compute == twice.compute).all()
    assert once.compute_sum_s == pytest.approx(twice.compute_sum_s)
    assert once.answered == twice.answered


@given(BATCHES)
def test_every_answer_counts_with_the_time_of_its_batch(batches):
    tally = TickTally(1)
    record(tally, batches)
    tally.fold()
    one_by_one = [compute_s for compute_s, latencies_s in batches for _ in latencies_s]
    assert (tally.compute == histogram.count(np.array(one_by_one))).all()
    assert tally.compute_sum_s == pytest.approx(sum(one_by_one))
    assert tally.compute.sum() == tally.latency.sum() == tally.answered


@given(st.lists(st.one_of(st.floats(0.0, 6.0), st.integers(0, 7)), max_size=40))
def test_every_arrival_counts_in_its_own_second_and_in_none_that_was_taken(steps):
    """Floats are arrivals, whose clock may step back; whole numbers take the seconds before them."""
    tallies = VersionTally("v")
    expected: dict[int, int] = {}
    for step in steps:
        if isinstance(step, float):
            tallies.at(step).requests += 1
            expected[int(step)] = expected.get(int(step), 0) + 1
        else:
            taken = {tally.tick: tally.requests for tally in tallies.take(step)}
            assert taken == {tick: expected.pop(tick) for tick in sorted(expected) if tick < step}
    assert {tally.tick: tally.requests for tally in tallies.take(8)} == expected
