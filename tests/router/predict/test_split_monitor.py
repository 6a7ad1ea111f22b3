"""What a gateway keeps of one rollout's split: customers by arm, once each, and what the breaker is told."""

import numpy as np
import pytest

from divisions.schema import Feature, FeatureKind, FeatureSchema
from router.evidence.drift import NO_BINS, FeatureBins, InputBins
from router.evidence.sample_ratio import GATEWAY_CUSTOMERS
from router.predict.split_monitor import MAX_ROWS, Arm, SplitMonitor
from router.predict.tally import Counted

SCHEMA = FeatureSchema(())


def monitor(weight_bp=2_000, **changes):
    return SplitMonitor("salt", "m-v2", weight_bp, NO_BINS, (SCHEMA, SCHEMA), **changes)


def test_customers_are_reported_once_by_arm():
    it = monitor()
    assert it.report() is None, "without customers there is nothing to tell"
    for digest in (1, 2, 2):
        it.stable.record(digest, b"")
    it.canary.record(3, b"")
    told = it.report()
    assert (told.salt, told.weight_bp, told.level) == ("salt", 2_000, 0)
    assert (sorted(told.stable.digests), told.canary.digests) == ([1, 2], (3,))
    it.stable.record(1, b"")
    it.stable.record(4, b"")
    assert it.report().stable.digests == (4,)


def test_many_customers_are_thinned_to_a_part_that_the_hot_path_knows():
    it = monitor()
    for digest in range(GATEWAY_CUSTOMERS + 1):
        it.stable.record(digest, b"")
    told = it.report()
    assert told.level == 1
    assert len(told.stable.digests) == GATEWAY_CUSTOMERS // 2 + 1
    it.stable.record(GATEWAY_CUSTOMERS + 3, b"")  # odd: not in the part that is left
    it.stable.record(GATEWAY_CUSTOMERS + 2, b"")
    assert it.report().stable.digests == (GATEWAY_CUSTOMERS + 2,)


def test_only_a_benchmark_records_nobody():
    it = monitor(is_recording=False)
    it.stable.record(1, b"")
    it.canary.record(2, b"")
    assert it.report() is None


def test_an_arm_keeps_few_rows_and_each_customer_once():
    arm = Arm()
    for digest in (*range(MAX_ROWS + 50), 1, 2):
        arm.record(digest, bytes([digest % 7]))
    assert len(arm.rows) == MAX_ROWS
    assert len({digest for digest, _ in arm.rows}) == MAX_ROWS
    assert len(arm.digests) == MAX_ROWS + 50


def test_a_new_weight_counts_customers_anew_and_keeps_the_breaker():
    it = monitor()
    it.stable.record(1, b"")
    it.report()
    it.sweep(Counted(80, 0), Counted(20, 5))
    evidence = it.breaker.ln_e
    it.set_weight(2_000)
    it.stable.record(1, b"")
    assert it.report().stable.digests == (), "the same weight changes nothing"
    it.set_weight(5_000)
    it.stable.record(1, b"")
    told = it.report()
    assert (told.weight_bp, told.stable.digests) == (5_000, (1,))
    assert it.breaker.ln_e == evidence != 0.0


@pytest.mark.parametrize("before", [None, (Counted(1_000, 500), Counted(1_000, 0))])
def test_the_breaker_is_told_differences_from_the_rollouts_begin_on(before):
    it = monitor(counted=before)
    stable, canary = before or (Counted(), Counted())
    trips = []
    for number in range(1, 21):
        totals = (
            Counted(stable.requests + 80 * number, stable.errors),
            Counted(canary.requests + 20 * number, canary.errors + 10 * number),
        )
        trips.append(it.sweep(*totals))
    assert trips.count(True) == 1
    told = it.trip()
    assert (told.salt, told.app_name) == ("salt", "m-v2")
    errors = 10 * (trips.index(True) + 1)
    assert told.canary_errors >= errors
    assert (told.stable_requests, told.stable_errors) == (80 * 20, 0)
    it.stable.record(1, b"")
    assert it.report() is None, "after a trip no request goes to the canary, and the split means nothing"


def test_without_a_trip_there_is_nothing_to_tell():
    it = monitor()
    it.sweep(Counted(80, 1), Counted(20, 0))
    assert it.trip() is None


def test_bins_that_come_late_are_counted_from_then_on():
    feature = Feature("minutes", FeatureKind.NUMERIC)
    schema = FeatureSchema((feature,))
    it = SplitMonitor("salt", "m-v2", 2_000, NO_BINS, (schema, schema))
    row = np.array([1.0], "<f4").tobytes()
    it.stable.record(1, row)
    assert not it.has_bins
    assert it.report().features == ()
    it.set_bins(InputBins((FeatureBins(feature, (3, 4, 0), (1.5,)),)))
    assert it.has_bins
    it.stable.record(2, row)
    told = it.report()
    assert (told.features, told.stable.inputs) == (("minutes",), ((1, 0, 0),))
