"""Reference histograms: how each feature was distributed when a version was trained (``reference.json``).

Bins are fixed by the training data and never move; new data is counted in them later:

    numeric       tenths of the training values (fewer where values repeat), then missing
    boolean       false, true, missing
    categorical   each category, unknown, missing
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import numpy as np

from divisions.schema import Feature, FeatureKind, FeatureSchema
from trainers.data.encoding import encode_frame

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

NUM_QUANTILES = 10


class FeatureHistogram(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One feature's bins and their training counts. ``edges`` are the upper ends, inclusive, of all numeric bins
    but the last one."""

    feature: Feature
    counts: tuple[int, ...]
    edges: tuple[float, ...] = ()

    @property
    def bin_names(self) -> tuple[str, ...]:
        """What each bin holds, for people."""
        match self.feature.kind:
            case FeatureKind.NUMERIC:
                names = [f"<= {edge:g}" for edge in self.edges]
                names.append(f"> {self.edges[-1]:g}" if self.edges else "any number")
            case FeatureKind.BOOLEAN:
                names = ["false", "true"]
            case FeatureKind.CATEGORICAL:
                names = [*self.feature.categories, "(unknown)"]
        return (*names, "(missing)")


class Reference(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The histograms of all features over ``num_rows`` training customers."""

    num_rows: int
    histograms: tuple[FeatureHistogram, ...]

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


def build_reference(schema: FeatureSchema, x: NDArray[np.float32]) -> Reference:
    """Chooses bins from encoded training rows ``x`` (``float32[N, F]``) and counts the rows in them."""
    histograms = []
    for feature, x_N in zip(schema.features, x.T, strict=True):
        edges = _edges(x_N) if feature.kind is FeatureKind.NUMERIC else ()
        histograms.append(FeatureHistogram(feature, count(feature, edges, x_N), edges))
    return Reference(len(x), tuple(histograms))


def count_rows(reference: Reference, raw: pd.DataFrame) -> tuple[tuple[int, ...], ...]:
    """Counts new raw rows in the reference's bins, feature by feature.

    Raw rows, because categories have other codes in a later version's schema. A feature whose column is gone is
    counted as missing throughout, which is the drift that it is.
    """
    x = encode_frame(reference.features, raw)
    return tuple(
        count(histogram.feature, histogram.edges, x_N) for histogram, x_N in zip(reference.histograms, x.T, strict=True)
    )


def count(feature: Feature, edges: tuple[float, ...], x_N: NDArray[np.float32]) -> tuple[int, ...]:
    """Counts encoded values ``float32[N]`` in a feature's bins; the last bin holds the missing ones."""
    present = x_N[~np.isnan(x_N)]
    match feature.kind:
        case FeatureKind.NUMERIC:
            positions, num_bins = np.searchsorted(edges, present.astype(np.float64), side="left"), len(edges) + 1
        case FeatureKind.BOOLEAN:
            positions, num_bins = present.astype(np.int64), 2
        case FeatureKind.CATEGORICAL:
            # Code 0 is the unknown text; its bin stands after those of the categories.
            num_bins = len(feature.categories) + 1
            positions = (present.astype(np.int64) - 1) % num_bins
    counts = np.bincount(positions, minlength=num_bins)
    return (*(int(number) for number in counts), len(x_N) - len(present))


def _edges(x_N: NDArray[np.float32]) -> tuple[float, ...]:
    present = x_N[~np.isnan(x_N)].astype(np.float64)
    if not len(present):
        return ()
    # An observed value, not one between two: then the share at or below it is what the quantile says.
    tenths = np.quantile(present, np.arange(1, NUM_QUANTILES) / NUM_QUANTILES, method="inverted_cdf")
    inner = np.unique(tenths)
    # The greatest value as an edge would leave the last bin empty for ever.
    return tuple(float(edge) for edge in inner[inner < present.max()])
