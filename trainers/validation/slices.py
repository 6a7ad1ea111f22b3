"""How a model does on parts of the customers, one feature at a time. Pure.

A part is a category, yes or no, a quarter of the values of a number, or the customers without a value. Parts of few
customers are shown with their count, but without an AUC: it would be chance.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from divisions.schema import Feature, FeatureKind, FeatureSchema
from trainers.training.evaluate import auc, threshold_metrics
from trainers.validation.thresholds import Vector

MIN_PER_LABEL = 10
MAX_FEATURES = 50
MAX_CATEGORIES = 12


@dataclass(frozen=True, slots=True)
class Slice:
    """One part. Metrics are NaN with fewer than ten customers of either label."""

    feature: str
    part: str
    num_rows: int
    positive_share: float
    mean_score: float
    auc: float
    precision: float
    recall: float


def slices(
    schema: FeatureSchema, x_NF: NDArray[np.float32], labels_N: Vector, scores_N: Vector, threshold: float
) -> list[Slice]:
    """The parts that hold customers, of the first `MAX_FEATURES` features."""
    found = []
    for feature, x_N in zip(schema.features[:MAX_FEATURES], x_NF.T, strict=False):
        for part, is_in_N in _parts(feature, x_N):
            if is_in_N.any():
                found.append(_slice(feature.name, part, labels_N[is_in_N], scores_N[is_in_N], threshold))
    return found


def _slice(feature: str, part: str, labels_N: Vector, scores_N: Vector, threshold: float) -> Slice:
    num_positive = int((labels_N > 0.5).sum())
    is_many = min(num_positive, labels_N.size - num_positive) >= MIN_PER_LABEL
    at = threshold_metrics(labels_N, scores_N, threshold)
    return Slice(
        feature,
        part,
        int(labels_N.size),
        num_positive / labels_N.size,
        float(scores_N.mean()),
        auc(labels_N, scores_N) if is_many else float("nan"),
        at["precision"] if is_many else float("nan"),
        at["recall"] if is_many else float("nan"),
    )


def _parts(feature: Feature, x_N: NDArray[np.float32]) -> Iterator[tuple[str, NDArray[np.bool_]]]:
    is_missing_N = np.isnan(x_N)
    match feature.kind:
        case FeatureKind.BOOLEAN:
            yield from (("false", x_N == 0.0), ("true", x_N == 1.0))
        case FeatureKind.CATEGORICAL:
            codes = range(1, len(feature.categories) + 1)
            largest = sorted(codes, key=lambda code: -int((x_N == code).sum()))[:MAX_CATEGORIES]
            for code in sorted(largest):
                yield feature.categories[code - 1], x_N == code
            yield "other categories", ~is_missing_N & ~np.isin(x_N, largest)
        case FeatureKind.NUMERIC:
            yield from _quarters(x_N, is_missing_N)
    yield "missing", is_missing_N


def _quarters(x_N: NDArray[np.float32], is_missing_N: NDArray[np.bool_]) -> Iterator[tuple[str, NDArray[np.bool_]]]:
    present = x_N[~is_missing_N].astype(np.float64)
    if not present.size:
        return
    edges = np.unique(np.quantile(present, (0.25, 0.5, 0.75), method="inverted_cdf"))
    edges = edges[edges < present.max()]
    low = -np.inf
    for edge in (*edges, np.inf):
        text = (
            f"up to {_bound(edge)}"
            if low == -np.inf
            else f"above {_bound(low)}" + (f" to {_bound(edge)}" if edge < np.inf else "")
        )
        yield ("all values" if low == -np.inf and edge == np.inf else text), (x_N > low) & (x_N <= edge)
        low = float(edge)


def _bound(value: float) -> str:
    """Four digits, and no powers of ten where people write none.

    >>> _bound(98_174.6), _bound(1_234_567.0), _bound(0.61), _bound(3e20)
    ('98,175', '1,234,567', '0.61', '3e+20')
    """
    return f"{value:,.0f}" if 1_000 <= abs(value) < 1e15 else f"{value:.4g}"
