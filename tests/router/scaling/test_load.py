"""Loads of gateways: what is asked of a version, what one replica can do, and when that is not known."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from divisions.reports import GatewayReport, VersionLoad
from router.scaling.load import LoadLedger, replica_rate


def load(rows=0, batches=0, refused=0, queued=0, intercept_s=0.01, slope_s=0.001, channels=1, app="m-v1"):
    return VersionLoad(app, rows, batches, refused, queued, intercept_s, slope_s, channels)


def report(gateway, *loads, span_s=1.0):
    return GatewayReport(gateway, 1, 1, (), 0, loads, span_s)


def demand(ledger, gateways=("g1",), now_s=0.0, max_batch=8, app="m-v1"):
    return ledger.demand(app, max_batch, gateways, now_s)


def test_arrivals_are_what_was_answered_refused_and_what_waits_longer_than_before():
    ledger = LoadLedger()
    ledger.add(report("g1", load(rows=100, batches=10, queued=4)), 0.0)
    ledger.add(report("g1", load(rows=100, batches=10, queued=10, refused=20), span_s=2.0), 1.0)
    assert demand(ledger, now_s=1.0).rows_per_s == (100 + 6 + 20) / 2.0


def test_what_waits_when_a_gateway_is_first_heard_has_arrived():
    ledger = LoadLedger()
    ledger.add(report("g1", load(rows=10, batches=1, queued=4)), 0.0)
    assert demand(ledger).rows_per_s == 14.0


def test_gateways_add_up():
    ledger = LoadLedger()
    ledger.add(report("g1", load(rows=30, batches=3)), 0.0)
    ledger.add(report("g2", load(rows=70, batches=7)), 0.0)
    assert demand(ledger, ("g1", "g2")).rows_per_s == 100.0


def test_a_living_gateway_that_is_late_or_unheard_makes_the_demand_unknown():
    ledger = LoadLedger()
    ledger.add(report("g1", load(rows=30, batches=3)), 0.0)
    assert demand(ledger, ("g1", "g2")) is None
    assert demand(ledger, ()) is None
    assert demand(ledger, now_s=4.0) is not None
    assert demand(ledger, now_s=4.1) is None


def test_a_gateway_that_was_forgotten_is_unknown_until_it_is_heard_again():
    ledger = LoadLedger()
    for gateway in ("g1", "g2"):
        ledger.add(report(gateway, load(rows=30, batches=3)), 0.0)
    ledger.forget(["g1"])
    assert demand(ledger, ("g1",)).rows_per_s == 30.0
    assert demand(ledger, ("g1", "g2")) is None


def test_a_version_that_no_gateway_names_is_asked_for_nothing():
    ledger = LoadLedger()
    ledger.add(report("g1", load(rows=30, batches=3)), 0.0)
    other = demand(ledger, app="m-v2")
    assert (other.rows_per_s, other.replica_rows_per_s, other.is_pressed) == (0.0, None, False)


def test_a_report_without_loads_changes_nothing():
    ledger = LoadLedger()
    ledger.add(report("g1", load(rows=30, batches=3)), 0.0)
    ledger.add(report("g1", span_s=0.0), 1.0)
    assert demand(ledger, now_s=1.0).rows_per_s == 30.0


@pytest.mark.parametrize(
    ("each", "is_pressed"),
    [
        (load(refused=1), True),
        (load(queued=17, channels=2), True),
        (load(queued=16, channels=2), False),
        (load(queued=9, channels=0), True),
        (load(queued=8, channels=0), False),
    ],
)
def test_pressure_is_refusal_or_more_waiting_than_the_next_batches_take(each, is_pressed):
    ledger = LoadLedger()
    ledger.add(report("g1", each), 0.0)
    assert demand(ledger).is_pressed is is_pressed


def test_the_fit_is_believed_up_to_four_times_the_batches_seen():
    single = [load(rows=50, batches=50, intercept_s=0.01, slope_s=0.0)]
    assert replica_rate(single, 256) == pytest.approx(4 / 0.01)
    assert replica_rate([load(rows=150, batches=50, intercept_s=0.01, slope_s=0.0)], 256) == pytest.approx(12 / 0.01)
    assert replica_rate(single, 2) == pytest.approx(2 / 0.01)
    assert replica_rate([load()], 8) is None
    assert replica_rate([load(rows=9, batches=9, intercept_s=0.0, slope_s=0.0)], 8) is None
    assert replica_rate([], 8) is None


@given(st.floats(1e-5, 0.1), st.floats(0.0, 0.01), st.integers(1, 256), st.integers(1, 500))
def test_a_rate_is_that_of_some_batch_that_may_be_sent(intercept_s, slope_s, max_batch, batches):
    rate = replica_rate([load(rows=3 * batches, batches=batches, intercept_s=intercept_s, slope_s=slope_s)], max_batch)
    slowest, fastest = 1 / (intercept_s + slope_s), max_batch / (intercept_s + slope_s * max_batch)
    assert slowest * 0.999 <= rate <= fastest * 1.001
