"""Reference histograms: the distribution of each feature in a version's training data (``reference.json``).

The training data fixes the bins. New data is counted in the same bins later:

    numeric       tenths of the training values (fewer where values repeat), then missing
    boolean       false, true, missing
    categorical   each category, unknown, missing
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import numpy as np

from divisions.schema import Feature, FeatureKind, FeatureSchema
from trainers.data.encoding import encode_columns

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from trainers.data.customer_rows import CustomerRows

NUM_QUANTILES = 10


class FeatureHistogram(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One feature's bins and their training counts. ``edges`` are the inclusive upper ends of all numeric bins except
    the last; ``median`` is an observed number, None for other kinds and in bundles of earlier releases."""

    feature: Feature
    counts: tuple[int, ...]
    edges: tuple[float, ...] = ()
    median: float | None = None


class Reference(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The histograms of all features over ``num_rows`` training customers.

    ``scores`` has the scores of held-out customers; None in bundles of earlier releases.
    """

    num_rows: int
    histograms: tuple[FeatureHistogram, ...]
    scores: FeatureHistogram | None = None

    def to_json(self) -> bytes:
        return msgspec.json.encode(self, order="deterministic")

    @classmethod
    def from_json(cls, data: bytes) -> Reference:
        """Raises:
        msgspec.MsgspecError: the text is not a reference.
        """
        return msgspec.json.decode(data, type=cls)

    @property
    def features(self) -> tuple[Feature, ...]:
        return tuple(histogram.feature for histogram in self.histograms)


def build_reference(schema: FeatureSchema, x: NDArray[np.float32], scores: FeatureHistogram | None = None) -> Reference:
    """Chooses bins from encoded training rows ``x`` (``float32[N, F]``) and counts the rows in them."""
    histograms = []
    for feature, x_N in zip(schema.features, x.T, strict=True):
        is_numeric = feature.kind is FeatureKind.NUMERIC
        edges = _edges(x_N) if is_numeric else ()
        median = _median(x_N) if is_numeric else None
        histograms.append(FeatureHistogram(feature, count(feature, edges, x_N), edges, median))
    return Reference(len(x), tuple(histograms), scores)


def build_scores(scores_N: NDArray[np.float32]) -> FeatureHistogram:
    """Chooses bins for a model's scores of held-out rows, and counts them: what its predictions should be like."""
    feature, edges = Feature("prediction", FeatureKind.NUMERIC), _edges(scores_N)
    return FeatureHistogram(feature, count(feature, edges, scores_N), edges)


def count_rows(reference: Reference, rows: CustomerRows) -> tuple[tuple[int, ...], ...]:
    """Counts new raw rows in the reference's bins, feature by feature.

    It takes raw rows, because categories have other codes in a later version's schema. If a feature's column no longer
    exists, all of its values count as missing; that is a drift.
    """
    x = encode_columns(reference.features, rows.columns, len(rows))
    return tuple(
        count(histogram.feature, histogram.edges, x_N) for histogram, x_N in zip(reference.histograms, x.T, strict=True)
    )


def count(feature: Feature, edges: tuple[float, ...], x_N: NDArray[np.float32]) -> tuple[int, ...]:
    """Counts encoded values ``float32[N]`` in a feature's bins. The last bin counts missing values."""
    present = x_N[~np.isnan(x_N)]
    match feature.kind:
        case FeatureKind.NUMERIC:
            positions, num_bins = np.searchsorted(edges, present.astype(np.float64), side="left"), len(edges) + 1
        case FeatureKind.BOOLEAN:
            positions, num_bins = present.astype(np.int64), 2
        case FeatureKind.CATEGORICAL:
            # Code 0 is the unknown text. Its bin comes after those of the categories.
            num_bins = len(feature.categories) + 1
            positions = (present.astype(np.int64) - 1) % num_bins
    counts = np.bincount(positions, minlength=num_bins)
    return (*(int(number) for number in counts), len(x_N) - len(present))


def _edges(x_N: NDArray[np.float32]) -> tuple[float, ...]:
    present = x_N[~np.isnan(x_N)].astype(np.float64)
    if not len(present):
        return ()
    # Quantiles are observed values, not values between two. So the share at or below an edge is exact.
    tenths = np.quantile(present, np.arange(1, NUM_QUANTILES) / NUM_QUANTILES, method="inverted_cdf")
    inner = np.unique(tenths)
    # With the greatest value as an edge, the last bin would always be empty.
    return tuple(float(edge) for edge in inner[inner < present.max()])


def _median(x_N: NDArray[np.float32]) -> float | None:
    present = x_N[~np.isnan(x_N)].astype(np.float64)
    return float(np.quantile(present, 0.5, method="inverted_cdf")) if len(present) else None
