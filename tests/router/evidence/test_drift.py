"""Drift within a rollout: counted in gateways, compared by the controller."""

import msgspec
import numpy as np
import pytest

from divisions.bundle import read_reference
from divisions.reports import ArmSample, SplitReport, VersionReport
from divisions.schema import Feature, FeatureKind, FeatureSchema
from router.evidence.drift import NO_BINS, DriftMonitor, FeatureBins, InputBins, count_inputs, count_scores, parse_bins
from router.predict.split_monitor import SplitMonitor
from trainers.data.reference import build_reference, count

AGE = Feature("age", FeatureKind.NUMERIC)
PLAN = Feature("plan", FeatureKind.CATEGORICAL, ("basic", "gold"))
ABROAD = Feature("abroad", FeatureKind.BOOLEAN)
SCHEMA = FeatureSchema((AGE, PLAN, ABROAD))
BINS = InputBins(
    (
        FeatureBins(AGE, (250, 250, 250, 250, 0), (-0.67, 0.0, 0.67)),
        FeatureBins(PLAN, (500, 500, 0, 0)),
        FeatureBins(ABROAD, (500, 500, 0)),
    )
)


def rows(generator, number, shift=0.0):
    ages = generator.normal(shift, 1, number)
    return np.column_stack([ages, generator.integers(1, 3, number), generator.integers(0, 2, number)]).astype("<f4")


def sample(rows_NF):
    return ArmSample(inputs=count_inputs(BINS.histograms, SCHEMA, rows_NF), num_rows=len(rows_NF))


def report(stable, canary):
    return SplitReport("salt", 2_000, 0, sample(stable), sample(canary), ("age", "plan", "abroad"))


def test_values_fall_into_the_bins_that_training_has_fixed():
    x = np.array([[-2, 1, 0], [-0.67, 2, 1], [0.5, 0, np.nan], [9, np.nan, 1], [np.nan, 1, 1]], dtype="<f4")
    age, plan, abroad = count_inputs(BINS.histograms, SCHEMA, x)
    assert age == (2, 0, 1, 1, 1)  # the last holds what is missing
    assert plan == (2, 1, 1, 1)  # basic, gold, unknown, missing
    assert abroad == (1, 3, 1)


def test_the_bins_are_those_that_a_bundle_holds():
    data = msgspec.json.encode({"num_rows": 1_000, "histograms": msgspec.to_builtins(BINS.histograms)})
    assert msgspec.json.decode(data, type=InputBins) == BINS


def test_gateways_count_as_training_does():
    """Two packages that must not import one another, one file between them."""
    generator = np.random.default_rng(5)
    trained = build_reference(SCHEMA, rows(generator, 2_000))
    bins = msgspec.json.decode(trained.to_json(), type=InputBins)
    new = rows(generator, 500)
    new[::7, 0] = np.nan
    new[::5, 1] = 0  # a text that training did not know
    expected = tuple(count(each.feature, each.edges, x_N) for each, x_N in zip(trained.histograms, new.T, strict=True))
    assert count_inputs(bins.histograms, SCHEMA, new) == expected


def test_features_that_mean_something_else_in_the_canary_are_not_compared():
    other = FeatureSchema((AGE, Feature("plan", FeatureKind.CATEGORICAL, ("gold", "basic")), ABROAD))
    assert [bins.feature.name for bins in BINS.common(SCHEMA, other)] == ["age", "abroad"]


def test_two_alike_arms_show_no_drift_and_a_shifted_one_does():
    generator = np.random.default_rng(0)
    watch = DriftMonitor()
    watch.add_split(report(rows(generator, 4_000), rows(generator, 1_000)))
    assert watch.inputs().index < 0.02
    watch.add_split(report(rows(generator, 4_000), rows(generator, 4_000, shift=1.0)))
    assert watch.inputs().index > 0.15
    assert watch.inputs().feature == "age"


def test_too_few_rows_say_nothing():
    generator = np.random.default_rng(0)
    watch = DriftMonitor()
    watch.add_split(report(rows(generator, 4_000), rows(generator, 999, shift=3.0)))
    assert watch.inputs().index == 0.0


def test_drift_of_both_arms_from_training_is_no_drift_between_them():
    generator = np.random.default_rng(0)
    watch = DriftMonitor()
    watch.add_split(report(rows(generator, 4_000, shift=1.0), rows(generator, 1_000, shift=1.0)))
    assert watch.inputs().index < 0.02
    assert watch.training(BINS).index > 0.15
    assert watch.training(BINS).feature == "age"


@pytest.mark.parametrize(("change", "low", "high"), [(lambda x: x, 0.0, 0.02), (lambda x: x**0.5, 0.25, 9.0)])
def test_scores_that_are_distributed_otherwise_are_drift(change, low, high):
    generator = np.random.default_rng(1)
    watch = DriftMonitor()
    for is_canary in (False, True):
        scores = generator.beta(2, 6, 2_000)
        counts = count_scores([(change(scores) if is_canary else scores).astype("<f4").tobytes()])
        watch.add_scores(VersionReport("v", 0, 0, {}, counts), is_canary=is_canary)
    assert low <= watch.predictions() <= high
    watch.clear()
    assert watch.predictions() == 0.0


def test_scores_out_of_range_are_counted_at_the_ends():
    parts = [np.array(scores, "<f4").tobytes() for scores in ([-1.0, 0.0], [0.5, 1.0, 7.0])]
    assert count_scores(parts) == {0: 2, 10: 1, 19: 2}
    assert count_scores([]) == {}


def test_a_gateway_counts_one_row_per_customer_in_the_bins_of_stables_bundle():
    bins = parse_bins(msgspec.json.encode({"num_rows": 1_000, "histograms": BINS.histograms}))
    monitor = SplitMonitor("salt", "m-v3.2", 2_000, bins, (SCHEMA, SCHEMA))
    row = rows(np.random.default_rng(0), 1).tobytes()
    for digest in (1, 1, 2, 1):
        monitor.stable.record(digest, row)
    monitor.canary.record(3, row)
    told = monitor.report()
    assert told.features == ("age", "plan", "abroad")
    assert (told.stable.num_rows, told.canary.num_rows) == (2, 1)
    assert [sum(counts) for counts in told.stable.inputs] == [2, 2, 2]
    monitor.stable.record(1, row)
    again = monitor.report()
    assert (again.stable.num_rows, again.stable.digests) == (0, ()), "a customer that is known is no new draw"


@pytest.mark.parametrize("content", [b"", b"{}", b'{"histograms": 3}', b"\xff"])
def test_a_bundle_without_a_readable_reference_has_no_bins(tmp_path, content):
    assert parse_bins(content) == NO_BINS
    assert read_reference(tmp_path / "absent", "0" * 64) == b""


def test_a_report_of_another_shape_is_left_out():
    watch = DriftMonitor()
    watch.add_split(SplitReport("salt", 2_000, 0, ArmSample(inputs=((1, 2),), num_rows=3), ArmSample(), ("a", "b")))
    watch.add_scores(VersionReport("v", 0, 0, {}, {99: 5, -1: 3}), is_canary=True)
    assert (watch.inputs().index, watch.predictions()) == (0.0, 0.0)


def test_both_arms_together_must_have_a_thousand_rows_to_be_compared_with_training():
    generator = np.random.default_rng(0)
    watch = DriftMonitor()
    watch.add_split(report(rows(generator, 500, shift=1.0), rows(generator, 499, shift=1.0)))
    assert watch.training(BINS).index == 0.0
    watch.add_split(report(rows(generator, 1, shift=1.0), rows(generator, 0)))
    assert watch.training(BINS).index > 0.15


def test_one_arm_with_too_few_rows_or_scores_says_nothing():
    generator = np.random.default_rng(0)
    for sizes in ((999, 4_000), (4_000, 999)):
        watch = DriftMonitor()
        watch.add_split(report(rows(generator, sizes[0]), rows(generator, sizes[1], shift=3.0)))
        for is_canary, number in zip((False, True), sizes, strict=True):
            watch.add_scores(VersionReport("v", 0, 0, {}, {19 if is_canary else 0: number}), is_canary=is_canary)
        assert (watch.inputs().index, watch.predictions()) == (0.0, 0.0)
