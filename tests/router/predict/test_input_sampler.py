"""What a gateway tells of an endpoint's inputs: bins and hashes, no values and no ids."""

import numpy as np
import pytest

from divisions.control import VersionSpec
from divisions.schema import Feature, FeatureKind, FeatureSchema
from router.evidence.drift import NO_BINS, FeatureBins, InputBins
from router.predict.input_sampler import InputSampler
from router.predict.row_sample import SampledRow

AGE = Feature("age", FeatureKind.NUMERIC)
PLAN = Feature("plan", FeatureKind.CATEGORICAL, ("gold", "silver"))
BINS = InputBins((FeatureBins(AGE, (10, 10, 10, 0), (30.0, 50.0)), FeatureBins(PLAN, (10, 20, 0, 0))))
STABLE = VersionSpec("m", "1", "m/1", "sha", FeatureSchema((PLAN, AGE)))


def row(customer, plan, age, score=0.5):
    return SampledRow(customer, np.array([plan, age], "<f4").tobytes(), np.array([score], "<f4").tobytes())


def sampler(bins=BINS):
    made = InputSampler()
    made.find_bins(STABLE, lambda version: bins)
    return made


def bins_of(sample):
    return np.frombuffer(sample.bins, "<u2").reshape(len(sample.digests) // 8, -1).tolist()


def test_rows_are_told_by_bin_in_the_order_of_the_reference_and_the_score_comes_last():
    told = sampler().report(STABLE, [row(b"a", 1.0, 30.0, 0.04), row(b"b", 0.0, 51.0, 0.96), row(b"c", np.nan, np.nan)])
    assert bins_of(told) == [[0, 0, 0], [2, 2, 19], [3, 3, 9]]
    assert told.bundle_sha256 == "sha"


def test_scores_go_into_the_bins_of_held_out_rows_where_the_bundle_has_them():
    held_out = FeatureBins(Feature("prediction", FeatureKind.NUMERIC), (50, 50, 0), (0.1,))
    told = sampler(InputBins(BINS.histograms, held_out)).report(
        STABLE, [row(b"a", 1.0, 30.0, 0.0625), row(b"a", 1.0, 30.0, 0.2)]
    )
    assert [bins[-1] for bins in bins_of(told)] == [0, 1]


def test_two_gateways_hash_a_customer_alike_and_customers_differ():
    one, other = sampler().report(STABLE, [row(b"a", 1, 1)]), sampler().report(STABLE, [row(b"a", 2, 99)])
    assert one.digests == other.digests
    assert sampler().report(STABLE, [row(b"b", 1, 1)]).digests != one.digests
    assert b"a" not in one.digests


@pytest.mark.parametrize("rows", [[], [row(b"a", 1.0, 30.0)]])
def test_nothing_is_told_without_bins_or_rows(rows):
    assert sampler(NO_BINS).report(STABLE, rows) is None
    assert sampler().report(STABLE, []) is None


def test_bins_are_asked_for_until_they_are_here_and_again_for_another_version():
    made, asked = InputSampler(), []

    def read(version):
        asked.append(version.bundle_sha256)
        return BINS if len(asked) > 1 else NO_BINS

    for _ in range(3):
        made.find_bins(STABLE, read)
    assert asked == ["sha", "sha"]
    after = VersionSpec("m", "2", "m/2", "next", STABLE.schema)
    assert made.report(after, [row(b"a", 1.0, 30.0)]) is None
    made.find_bins(after, read)
    assert made.report(after, [row(b"a", 1.0, 30.0)]).bundle_sha256 == "next"
