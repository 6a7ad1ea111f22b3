"""The reference of a version, and the rows that lie between it and a customer."""

from __future__ import annotations

import math
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from divisions.schema import Feature, FeatureKind, FeatureSchema
from router.evidence.drift import FeatureBins, InputBins, parse_bins
from router.explain.contributions import num_rows
from router.explain.reference import differing, occluded, reference_row
from trainers.data.reference import build_reference

MINUTES = Feature("minutes", FeatureKind.NUMERIC)
PLAN = Feature("plan", FeatureKind.CATEGORICAL, ("basic", "gold"))
ABROAD = Feature("abroad", FeatureKind.BOOLEAN)
SCHEMA = FeatureSchema((MINUTES, PLAN, ABROAD))


def test_it_is_made_of_what_training_wrote():
    x = np.array([[1, 2, 1], [4, 2, 0], [9, 1, 1], [2, math.nan, 1], [3, 2, 1]], np.float32)
    row = reference_row(SCHEMA, parse_bins(build_reference(SCHEMA, x).to_json()))
    assert row.values == (3.0, "gold", True)
    assert struct.unpack("<3f", row.packed) == (3.0, 2.0, 1.0)


def test_the_median_may_be_the_greatest_number():
    x = np.array([[0.0], [1.0], [1.0], [1.0]], np.float32)
    schema = FeatureSchema((MINUTES,))
    assert reference_row(schema, parse_bins(build_reference(schema, x).to_json())).values == (1.0,)


def one(feature: Feature, counts: tuple[int, ...], edges: tuple[float, ...] = (), median: float | None = None):
    return reference_row(FeatureSchema((feature,)), InputBins((FeatureBins(feature, counts, edges, median),))).values[0]


def test_each_kind_has_its_typical_value():
    assert one(MINUTES, (5, 3, 9, 0), (1.0, 2.0)) == 2.0  # a bundle without medians: the end of the middle bin
    assert one(MINUTES, (1, 1, 9, 0), (1.0, 2.0)) == 2.0  # the last bin has no end
    assert one(MINUTES, (7, 0)) is None  # all values are equal, and the bins do not say which
    assert one(MINUTES, (7, 0), median=4.0) == 4.0
    assert one(ABROAD, (3, 2, 0)) is False
    assert one(ABROAD, (2, 3, 0)) is True
    assert one(PLAN, (3, 4, 9, 0)) == "gold"  # the bin of unknown texts is no category
    assert one(PLAN, (0, 0, 9, 0)) is None


@pytest.mark.parametrize("feature", [MINUTES, PLAN, ABROAD])
def test_what_half_of_the_customers_lack_the_reference_lacks_too(feature):
    filled = (0,) * (len(feature.categories) or 1)
    assert one(feature, (4, *filled, 4), (1.0,), 1.0) is None
    assert one(feature, (5, *filled, 4), (1.0,), 1.0) is not None


def test_a_feature_without_bins_is_missing():
    row = reference_row(SCHEMA, InputBins((FeatureBins(ABROAD, (0, 4, 0)),)))
    assert row.values == (None, None, True)
    assert math.isnan(struct.unpack("<3f", row.packed)[0])


ROWS = st.integers(1, 6).flatmap(
    lambda size: st.tuples(*[st.lists(st.sampled_from([0.0, 1.0, 2.5, math.nan]), min_size=size, max_size=size)] * 2)
)


@given(ROWS, st.integers(1, 5))
def test_rows_lie_between_customer_and_reference_and_can_be_packed_in_portions(pair, portion):
    customer, reference = (np.array(each, "<f4") for each in pair)
    row, base = customer.tobytes(), reference.tobytes()
    columns = differing(row, base)
    assert list(columns) == [
        n for n in range(len(customer)) if not np.array_equal(customer[n], reference[n], equal_nan=True)
    ]
    total = num_rows(len(columns))
    packed = b"".join(occluded(row, base, columns, at, min(at + portion, total)) for at in range(0, total, portion))
    expected = [customer]
    if columns:
        expected.append(reference)
        expected += [np.where(np.arange(len(customer)) == column, customer, reference) for column in columns]
        expected += [np.where(np.arange(len(customer)) == column, reference, customer) for column in columns]
    np.testing.assert_array_equal(np.frombuffer(packed, "<f4").reshape(total, -1), np.array(expected, "<f4"))
