"""Bounds of encoded rows: what is out of range is refused, and the column is named."""

import numpy as np
import pytest

from divisions.errors import InvalidFeaturesError
from divisions.schema import FLOAT32_MAX, Feature, FeatureKind
from router.oip.rows import RowBounds

BOUNDS = RowBounds(
    [
        Feature("minutes", FeatureKind.NUMERIC),
        Feature("plan", FeatureKind.CATEGORICAL, ("basic", "gold")),
        Feature("abroad", FeatureKind.BOOLEAN),
    ]
)
GOOD = [1.5, 2.0, 1.0]


def rows(column, value):
    row = list(GOOD)
    row[column] = value
    return np.array([GOOD, row, GOOD], np.float32)


@pytest.mark.parametrize(
    ("column", "value"),
    [(0, -3.4e38), (0, 3.4e38), (0, np.nan), (1, 0.0), (1, 2.0), (1, np.nan), (2, 0.0), (2, 1.0), (2, np.nan)],
)
def test_the_ends_of_each_range_and_missing_values_pass(column, value):
    BOUNDS.check(rows(column, value))


@pytest.mark.parametrize(
    ("column", "value", "feature"),
    [
        (0, np.inf, "numeric feature 'minutes'"),
        (0, -np.inf, "numeric feature 'minutes'"),
        (1, -1.0, "categorical feature 'plan'"),
        (1, 3.0, "categorical feature 'plan'"),
        (2, -1.0, "boolean feature 'abroad'"),
        (2, 2.0, "boolean feature 'abroad'"),
    ],
)
def test_what_is_out_of_range_is_refused_by_the_name_of_its_column(column, value, feature):
    with pytest.raises(InvalidFeaturesError, match=f"column {column} of `rows`, {feature}, is out of range"):
        BOUNDS.check(rows(column, value))


def test_a_value_at_the_end_of_its_range_is_not_taken_for_the_one_that_is_beyond():
    with pytest.raises(InvalidFeaturesError, match=r"column 2 .* boolean feature 'abroad'"):
        BOUNDS.check(np.array([[-FLOAT32_MAX, 0.0, 2.0], [FLOAT32_MAX, 2.0, 1.0]], np.float32))
