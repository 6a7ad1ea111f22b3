"""Seconds at their borders, and sums that a scrape reads."""

from __future__ import annotations

import numpy as np
import pytest

from router.evidence import histogram
from router.predict.tally import FOLD_ANSWERS, Counted, TickTally, Totals, VersionTally, report


def bucket(seconds: float) -> int:
    return int(histogram.bucket_indices(np.array(seconds)))


def test_a_second_begins_with_it_and_ends_before_the_next():
    tally = VersionTally("m-v1")
    second = tally.at(5.0)
    assert tally.at(5.999) is second
    assert tally.at(6.0) is not second
    assert tally.at(5.5) is second, "also after a later one"
    assert tally.at(4.999).tick == 4
    assert (second.tick, tally.at(6.0).tick) == (5, 6)


def test_what_is_taken_is_not_added_to_any_more():
    tally = VersionTally("m-v1")
    second = tally.at(5.5)
    assert tally.take(5) == []
    assert tally.take(6) == [second]
    assert tally.at(5.6) is not second


def test_seconds_are_taken_oldest_first():
    tally = VersionTally("m-v1")
    for now_s in (7.0, 5.0, 6.0, 8.0):
        tally.at(now_s)
    assert [second.tick for second in tally.take(8)] == [5, 6, 7]


@pytest.mark.parametrize(("answers", "is_folded"), [(FOLD_ANSWERS - 1, False), (FOLD_ANSWERS, True)])
def test_enough_answers_are_folded_before_they_are_reported(answers, is_folded):
    tally = VersionTally("m-v1")
    for second in (tally.at(5.0), tally.at(6.0)):
        second.latencies_s += [0.01] * answers
        second.computed.append((0.001, answers))
    tally.take(6)
    tally.fold()
    for second in (*tally._reported, *tally._open.values()):
        assert second.answered == (answers if is_folded else 0)
        assert (second.latencies_s == []) is is_folded


def test_a_folded_second_keeps_its_sums():
    second = TickTally(5)
    assert (second.requests, second.errors, second.shed, second.answered) == (0, 0, 0, 0)
    assert (second.latency_sum_s, second.compute_sum_s) == (0.0, 0.0)
    second.fold()
    assert second.answered == 0
    for _ in range(2):
        second.latencies_s += [0.25, 0.5]
        second.computed += [(0.125, 2)]
        second.fold()
        second.fold()
    assert second.answered == 4
    assert second.latency_sum_s == pytest.approx(1.5)
    assert second.compute_sum_s == pytest.approx(0.5)
    assert second.compute[bucket(0.125)] == 4
    assert second.latency[bucket(0.25)] == 2


def test_a_report_counts_answered_failed_and_pending():
    second = TickTally(5)
    second.requests, second.errors = 10, 2
    second.latencies_s += [0.25] * 5
    second.computed.append((0.1, 5))
    told = report("m-v1", second, 0.5, {3: 4})
    assert (told.app_name, told.requests, told.errors, told.scores) == ("m-v1", 10, 2, {3: 4})
    assert dict(told.buckets) == {bucket(0.25): 5, bucket(0.5): 3, histogram.OVERFLOW: 2}
    assert second.latency.sum() == 5, "the second itself is not changed"
    assert report("m-v1", TickTally(6), 0.5).scores == {}


def test_more_answers_than_requests_leave_nothing_pending():
    second = TickTally(5)
    second.requests = 1
    second.latencies_s += [0.25] * 3
    second.computed.append((0.1, 3))
    assert dict(report("m-v1", second, 0.5).buckets) == {bucket(0.25): 3}


def test_totals_are_by_class_of_status():
    second = TickTally(5)
    second.requests, second.errors, second.shed = 10, 6, 1
    second.latencies_s += [0.25] * 4
    second.computed.append((0.125, 4))
    second.rescued_s += [0.5, 1.0]
    totals = Totals()
    for _ in range(2):
        totals.add(second)
    assert totals.requests == {"2xx": 2 * (4 + 2), "5xx": 2 * (6 - 2 - 1)}
    assert totals.latency.sum() == 2 * 6
    assert totals.latency_sum_s == pytest.approx(2 * 2.5)
    assert totals.compute.sum() == 2 * 4
    assert totals.compute_sum_s == pytest.approx(2 * 0.5)
    assert totals.retries == 0


def test_without_failures_there_is_no_class_of_failures():
    totals = Totals()
    totals.add(TickTally(5))
    assert totals.requests == {"2xx": 0}


def test_what_is_settled_counts_once_in_all_sums():
    tally = VersionTally("m-v1")
    tally.totals.retries = 3
    for now_s in (5.0, 6.0, 7.0):
        second = tally.at(now_s)
        second.requests += 2
        second.errors += 1
        second.latencies_s.append(0.5)
        second.computed.append((0.25, 1))
    named = tally.at_unjudged(5.5)
    assert tally.at_unjudged(5.9) is named
    named.latencies_s.append(0.5)
    named.computed.append((0.25, 1))
    for settle_tick, settled in ((5, 0), (6, 2), (7, 3), (8, 4)):
        tally.take(8)
        tally.settle(settle_tick)
        assert tally.totals.requests.get("2xx", 0) == settled
        assert tally.counted() == Counted(6, 3), "those who named their version are not judged"
        running = tally.running_totals()
        assert running.requests == {"2xx": 4, "5xx": 3}
        assert running.retries == 3
        assert (running.latency_sum_s, running.compute_sum_s) == (pytest.approx(2.0), pytest.approx(1.0))


def test_a_version_begins_with_nothing():
    tally = VersionTally("m-v1")
    assert (tally.batches, tally.rows, tally.counted()) == (0, 0, Counted(0, 0))
    assert (tally.running_totals().latency_sum_s, tally.running_totals().compute_sum_s) == (0.0, 0.0)
