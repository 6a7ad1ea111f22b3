"""Counting one second's answers."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.evidence import histogram
from router.predict.tally import FOLD_ANSWERS, TickTally, Totals, VersionTally, report

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
    latencies_s = [each for _, latencies in early + late for each in latencies]
    assert once.latency_sum_s == pytest.approx(sum(latencies_s))
    assert twice.latency_sum_s == pytest.approx(sum(latencies_s))


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


@given(BATCHES)
def test_the_sum_of_latencies_is_that_of_the_answers(batches):
    tally = TickTally(1)
    record(tally, batches)
    tally.fold()
    assert tally.latency_sum_s == pytest.approx(sum(sum(latencies_s) for _, latencies_s in batches))


def test_a_pending_request_is_reported_with_its_age_and_a_failed_one_as_slower_than_all():
    tally = TickTally(1)
    tally.requests, tally.errors = 6, 2
    record(tally, [(0.001, [0.010, 0.010])])
    found = report("v", tally, 1.0, {3: 2})
    assert (found.app_name, found.requests, found.errors, found.scores) == ("v", 6, 2, {3: 2})
    answered, pending = histogram.bucket_indices(np.array([0.010, 1.0]))
    assert found.buckets == {int(answered): 2, int(pending): 2, histogram.OVERFLOW: 2}


def test_totals_count_each_second_once_it_is_settled():
    tallies = VersionTally("v")
    for now_s in (1.0, 2.0):
        tally = tallies.at(now_s)
        tally.requests += 3
        tally.errors += 1
        record(tally, [(0.002, [0.010, 0.020])])
    unjudged = tallies.at_unjudged(1.5)
    record(unjudged, [(0.001, [0.5])])
    assert tallies.counted() == (6, 2)
    tallies.take(3)
    tallies.settle(2)
    assert tallies.totals.requests == {"2xx": 3, "5xx": 1}
    assert tallies.totals.latency_sum_s == pytest.approx(0.53)
    assert tallies.totals.compute_sum_s == pytest.approx(0.005)
    assert tallies.totals.latency.sum() == tallies.totals.compute.sum() == 3
    tallies.settle(3)
    assert tallies.totals.requests == {"2xx": 5, "5xx": 2}
    assert tallies.counted() == (6, 2)


def test_what_a_second_attempt_answered_is_no_error_to_callers():
    tally = TickTally(1)
    tally.requests, tally.errors, tally.shed = 5, 4, 1
    tally.rescued_s = [0.1, 0.2]
    record(tally, [(0.001, [0.01])])
    totals = Totals()
    totals.add(tally)
    assert totals.requests == {"2xx": 3, "5xx": 1}
    assert totals.latency_sum_s == pytest.approx(0.31)
    assert totals.latency.sum() == 3


def test_only_seconds_with_many_answers_are_folded_early():
    tallies = VersionTally("v")
    few, many = tallies.at(1.0), tallies.at(2.0)
    record(few, [(0.001, [0.01] * (FOLD_ANSWERS - 1))])
    record(many, [(0.001, [0.01] * FOLD_ANSWERS)])
    tallies.fold()
    assert (few.answered, many.answered) == (0, FOLD_ANSWERS)


def test_totals_are_what_callers_got():
    """Of ten requests: five answers, two failures, one of a rescued caller, one refused, one pending."""
    tallies = VersionTally("v")
    tally = tallies.at(1.5)
    tally.requests, tally.errors, tally.shed = 10, 4, 1
    tally.latencies_s += [0.1] * 5
    tally.computed.append((0.05, 5))
    tally.rescued_s.append(0.3)
    running = tallies.running_totals()
    assert tallies.counted() == (10, 4)
    tallies.take(2)
    assert tallies.running_totals().requests == running.requests
    tallies.settle(2)
    for totals in (running, tallies.totals):
        assert totals.requests == {"2xx": 6, "5xx": 2}
        assert totals.latency.sum() == 6
        assert totals.latency_sum_s == pytest.approx(0.8)
        assert totals.compute_sum_s == pytest.approx(0.25)
    assert tallies.counted() == (10, 4)
    tallies.settle(3)
    assert tallies.totals.requests == {"2xx": 6, "5xx": 2}, "each second is added once"
