"""Reports become ticks: once each, in order, whatever is lost, late, repeated or strange."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from divisions.errors import ReportError
from divisions.reports import EndpointReport, GatewayReport, VersionReport
from router.evidence.histogram import OVERFLOW
from router.evidence.windows import Ledger, RecentCounts, VersionCounts, WarmUp


def report(tick, gateway="g1", epoch=1, requests=3, app="m-v1", buckets=None):
    version = VersionReport(app, requests, 0, {100: requests} if buckets is None else buckets)
    return GatewayReport(gateway, epoch, tick, (EndpointReport("churn", (version,)),))


def requests_of(closed):
    return {tick.tick: tick.endpoints["churn"]["m-v1"].requests for tick in closed}


def test_a_tick_is_closed_as_soon_as_its_only_gateway_has_reported_it():
    ledger = Ledger()
    assert ledger.add(report(10), 12.0)
    assert requests_of(ledger.close(12.0)) == {10: 3}
    assert ledger.close(13.0) == []


def test_a_report_counts_once_by_gateway_epoch_and_tick():
    ledger = Ledger()
    assert ledger.add(report(10), 12.0)
    assert not ledger.add(report(10), 12.1)
    assert ledger.add(report(10, epoch=2), 12.2), "the table changed within the second"
    assert ledger.add(report(10, gateway="g2"), 12.3)
    assert requests_of(ledger.close(12.5)) == {10: 9}


def test_a_late_report_is_left_out():
    ledger = Ledger()
    ledger.add(report(10), 12.0)
    ledger.close(12.0)
    assert not ledger.add(report(10, gateway="g2"), 12.5)


def test_a_tick_waits_for_every_living_gateway_but_not_for_ever():
    ledger = Ledger()
    for gateway in ("g1", "g2"):
        ledger.add(report(10, gateway=gateway), 12.0)
    ledger.close(12.0)
    ledger.add(report(11), 13.0)
    assert ledger.close(13.0) == []
    assert ledger.close(15.9) == []
    assert requests_of(ledger.close(16.0)) == {11: 3}


def test_a_gateway_on_a_host_with_another_clock_is_brought_in_line():
    ledger = Ledger()
    ledger.add(report(1_010), 1_012.0)
    ledger.add(report(77, gateway="far"), 1_012.0)
    assert requests_of(ledger.close(1_012.5)) == {1_010: 6}
    ledger.add(report(1_011), 1_013.0)
    ledger.add(report(78, gateway="far"), 1_013.0)
    assert requests_of(ledger.close(1_013.5)) == {1_011: 6}


def test_a_report_that_makes_no_sense_is_refused_whole():
    ledger = Ledger()
    with pytest.raises(ReportError):
        ledger.add(report(10, buckets={OVERFLOW + 1: 3}), 12.0)
    assert ledger.close(20.0) == []
    assert ledger.gateways(12.0) == {}


def test_gateways_are_forgotten_when_they_fall_silent():
    ledger = Ledger()
    ledger.add(report(10, epoch=4), 12.0)
    assert ledger.gateways(13.0) == {"g1": 4}
    assert ledger.gateways(60.0) == {}


@given(st.lists(st.tuples(st.integers(0, 20), st.sampled_from(["g1", "g2"]), st.integers(1, 2)), max_size=60))
def test_whatever_comes_in_each_tick_is_closed_once_and_in_order(arrivals):
    ledger, taken, closed = Ledger(), 0, []
    for now_s, (tick, gateway, epoch) in enumerate(arrivals):
        taken += ledger.add(report(tick, gateway, epoch, requests=1), float(now_s) / 4)
        closed += ledger.close(float(now_s) / 4)
    closed += ledger.close(1e6)
    ticks = [tick.tick for tick in closed]
    assert ticks == sorted(set(ticks))
    assert sum(requests_of(closed).values()) == taken


def test_recent_counts_are_those_of_the_last_thirty_ticks():
    recent = RecentCounts()
    for tick in range(100):
        counts = VersionCounts(tick, 1)
        counts.counts[7] = tick
        recent.add(tick, counts)
    total = recent.total(100)
    assert total.requests == sum(range(70, 100)) == total.counts[7]
    assert total.errors == 30
    assert not recent.total(1_000).counts.any()
    assert np.array_equal(recent.total(1_000).counts, np.zeros_like(total.counts))


def test_the_warm_up_ends_after_its_requests_or_its_seconds_whichever_comes_first():
    by_requests = WarmUp(30.0, 200)
    assert [by_requests.leaves_out(tick, 120) for tick in range(4)] == [True, True, False, False]
    by_seconds = WarmUp(3.0, 200)
    assert [by_seconds.leaves_out(tick, 1) for tick in range(5)] == [True, True, True, False, False]


def test_the_warm_up_begins_with_the_first_request():
    warm_up = WarmUp(2.0, 200)
    assert [warm_up.leaves_out(tick, requests) for tick, requests in enumerate([0, 0, 0, 5, 5, 5])] == [
        *[True] * 5,
        False,
    ]


def test_a_tick_of_which_only_a_tenth_is_warm_up_is_judged():
    warm_up = WarmUp(30.0, 200)
    assert [warm_up.leaves_out(tick, 190) for tick in range(3)] == [True, False, False]
    assert not WarmUp(30.0, 200).leaves_out(0, 4_000)
    assert WarmUp(30.0, 200).leaves_out(0, 1_000)


def test_reports_out_of_order_do_not_move_a_gateway_back():
    ledger = Ledger()
    ledger.add(report(11), 13.0)
    ledger.add(report(10, epoch=2), 13.1)
    assert requests_of(ledger.close(13.2)) == {10: 3, 11: 3}
    assert ledger.gateways(13.2) == {"g1": 2}
    ledger.add(report(12, epoch=1), 14.0)
    assert ledger.gateways(14.0) == {"g1": 2}, "an epoch does not fall"


def test_a_tick_waits_five_seconds_and_a_gateway_lives_eight():
    ledger = Ledger()
    for gateway in ("g1", "g2"):
        ledger.add(report(10, gateway=gateway), 12.0)
    ledger.close(12.0)
    ledger.add(report(11), 13.0)
    assert ledger.close(15.9) == []
    assert requests_of(ledger.close(16.0)) == {11: 3}
    for now_s in range(14, 21):
        ledger.add(report(now_s - 2), float(now_s))
    assert "g2" in ledger.gateways(20.0)
    assert "g2" not in ledger.gateways(20.1)


@pytest.mark.parametrize(("difference_s", "tick"), [(0.0, 100), (30.0, 100), (31.0, 129), (-30.0, 100), (-31.0, 67)])
def test_only_a_clock_that_is_far_off_is_brought_in_line(difference_s, tick):
    ledger = Ledger()
    ledger.add(report(100), 100.0 + difference_s)
    assert [each.tick for each in ledger.close(1e6)] == [tick]


def test_errors_and_buckets_of_all_gateways_add_up():
    ledger = Ledger()
    for gateway in ("g1", "g2"):
        version = VersionReport("m-v1", 5, 2, {100: 3, OVERFLOW: 2})
        ledger.add(GatewayReport(gateway, 1, 10, (EndpointReport("churn", (version,)),)), 12.0)
    (closed,) = ledger.close(12.0)
    counts = closed.endpoints["churn"]["m-v1"]
    assert (counts.requests, counts.errors, counts.counts[100], counts.counts[OVERFLOW]) == (10, 4, 6, 4)


def test_recent_counts_may_span_fewer_ticks():
    recent = RecentCounts(span_s=2)
    for tick in range(5):
        recent.add(tick, VersionCounts(1, 0))
    assert recent.num_ticks == 2
    assert recent.total(5).requests == 2


def test_a_closed_tick_leaves_nothing_behind():
    ledger = Ledger()
    for tick in range(100):
        ledger.add(report(tick), tick + 2.0)
        ledger.close(tick + 2.0)
    assert not ledger._pending
    assert not ledger._seen
