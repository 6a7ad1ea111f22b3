"""Drift in a rollout: do both arms get the same customers, and do the two versions answer alike? Pure.

Gateways count, the controller compares. Two things are counted:

- The features of some rows per second, in the bins that were fixed when stable was trained (``reference.json`` of its
  bundle). Each *distinct* customer counts once. Rows of one customer are alike, so a few heavy customers would make two
  well-split arms look different.
- All scores, in `SCORE_BINS` equal bins from 0 to 1.

Arms are compared by the corrected index of `divisions.stability`, once each has `MIN_ROWS`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import msgspec
import numpy as np
import numpy.typing as npt

from divisions.reports import ArmSample, SplitReport, VersionReport
from divisions.schema import Feature, FeatureKind, FeatureSchema
from divisions.stability import corrected_psi

MIN_ROWS = 1_000
SCORE_BINS = 20
PREDICTION = "prediction"
"""What the scores are called beside the features."""


class FeatureBins(msgspec.Struct, frozen=True):
    """One feature's bins, and how many training rows fell into each. ``edges`` are the upper ends, inclusive, of all
    numeric bins but the last; categories come in the feature's order, then unknown; missing comes last. ``median`` is
    of numbers, for explanations; earlier releases did not keep it."""

    feature: Feature
    counts: tuple[int, ...]
    edges: tuple[float, ...] = ()
    median: float | None = None

    def positions(self, x_N: npt.NDArray[np.float32]) -> npt.NDArray[np.int64]:
        """The bin of each encoded value."""
        is_missing_N = np.isnan(x_N)
        missing = len(self.counts) - 1
        match self.feature.kind:
            case FeatureKind.NUMERIC:
                found_N = np.searchsorted(self.edges, x_N.astype(np.float64), side="left")
            case FeatureKind.BOOLEAN:
                found_N = np.where(is_missing_N, 0.0, x_N).astype(np.int64)
            case FeatureKind.CATEGORICAL:
                # Code 0 is the unknown text; its bin stands after those of the categories.
                found_N = (np.where(is_missing_N, 1.0, x_N).astype(np.int64) - 1) % missing
        # A value that no bin was made for counts in the last one that is not for missing values.
        within_N = np.clip(found_N, 0, max(missing - 1, 0))
        return np.where(is_missing_N, missing, within_N)


class InputBins(msgspec.Struct, frozen=True):
    """The bins of all features of a version, as its bundle's ``reference.json`` has them."""

    histograms: tuple[FeatureBins, ...] = ()
    scores: FeatureBins | None = None
    """The scores of held-out rows; None in bundles of earlier releases."""

    def common(self, *schemas: FeatureSchema) -> tuple[FeatureBins, ...]:
        """The bins of features that are equal in all versions. Codes of categories may differ between versions."""
        return tuple(bins for bins in self.histograms if all(bins.feature in schema.features for schema in schemas))


NO_BINS = InputBins()


def parse_bins(data: bytes) -> InputBins:
    """The bins in a bundle's ``reference.json``; `NO_BINS` if there are none to read."""
    try:
        return msgspec.json.decode(data, type=InputBins)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return NO_BINS


def count_inputs(
    bins: Sequence[FeatureBins], schema: FeatureSchema, rows_NF: npt.NDArray[np.float32]
) -> tuple[tuple[int, ...], ...]:
    """Counts a version's encoded rows in the bins of some of its features."""
    return tuple(_count(each, rows_NF[:, schema.features.index(each.feature)]) for each in bins)


def _count(bins: FeatureBins, x_N: npt.NDArray[np.float32]) -> tuple[int, ...]:
    return tuple(map(int, np.bincount(bins.positions(x_N), minlength=len(bins.counts))))


def bin_rows(
    bins: Sequence[FeatureBins], schema: FeatureSchema, rows_NF: npt.NDArray[np.float32]
) -> npt.NDArray[np.int64]:
    """The bins of a version's encoded rows, ``int64[N, len(bins)]``."""
    return np.column_stack([each.positions(rows_NF[:, schema.features.index(each.feature)]) for each in bins])


def prediction_bins(reference: InputBins) -> FeatureBins:
    """The bins of the scores: those of the held-out rows, or equal ones without counts if the bundle has none."""
    if reference.scores is not None:
        return reference.scores
    edges = tuple(number / SCORE_BINS for number in range(1, SCORE_BINS))
    return FeatureBins(Feature(PREDICTION, FeatureKind.NUMERIC), (0,) * (SCORE_BINS + 1), edges)


def count_scores(parts: Sequence[bytes]) -> dict[int, int]:
    """Counts scores by bin; those outside 0 to 1 fall into the outer bins.

    Args:
        parts: little-endian float32 each, as replicas send them.
    """
    scores_N = np.frombuffer(b"".join(parts), dtype="<f4").astype(np.float64)
    positions = np.clip((scores_N * SCORE_BINS).astype(np.int64), 0, SCORE_BINS - 1)
    counts = np.bincount(positions, minlength=SCORE_BINS)
    return {int(position): int(counts[position]) for position in np.nonzero(counts)[0]}


@dataclass(slots=True)
class _Arm:
    num_rows: int = 0
    inputs: dict[str, npt.NDArray[np.int64]] = field(default_factory=dict)
    scores: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros(SCORE_BINS, dtype=np.int64))

    def add_rows(self, names: Sequence[str], sample: ArmSample) -> None:
        if len(names) != len(sample.inputs) or sample.num_rows <= 0:
            return
        self.num_rows += sample.num_rows
        for name, counts in zip(names, sample.inputs, strict=True):
            known = self.inputs.get(name)
            more = np.array(counts, dtype=np.int64)
            self.inputs[name] = more if known is None or len(known) != len(more) else known + more


@dataclass(frozen=True, slots=True)
class Drift:
    """The greatest corrected index of any feature, and that feature's name; 0 while there is too little data."""

    index: float = 0.0
    feature: str = ""


class DriftMonitor:
    """The controller's counts of one rollout's arms in the present step."""

    def __init__(self) -> None:
        self._stable, self._canary = _Arm(), _Arm()

    def clear(self) -> None:
        self._stable, self._canary = _Arm(), _Arm()

    def add_split(self, report: SplitReport) -> None:
        self._stable.add_rows(report.features, report.stable)
        self._canary.add_rows(report.features, report.canary)

    def add_scores(self, report: VersionReport, *, is_canary: bool) -> None:
        arm = self._canary if is_canary else self._stable
        for position, number in report.scores.items():
            if 0 <= position < SCORE_BINS and number > 0:
                arm.scores[position] += number

    def inputs(self) -> Drift:
        """Canary against stable."""
        if min(self._stable.num_rows, self._canary.num_rows) < MIN_ROWS:
            return Drift()
        return _greatest(self._stable.inputs, self._canary.inputs)

    def predictions(self) -> float:
        """The index of the scores, canary against stable."""
        stable, canary = self._stable.scores, self._canary.scores
        if min(int(stable.sum()), int(canary.sum())) < MIN_ROWS:
            return 0.0
        return max(0.0, corrected_psi(stable.tolist(), canary.tolist())[0])

    def training(self, reference: InputBins) -> Drift:
        """Both arms together against stable's training data."""
        if self._stable.num_rows + self._canary.num_rows < MIN_ROWS:
            return Drift()
        both = {
            name: counts + self._canary.inputs.get(name, np.zeros_like(counts))
            for name, counts in self._stable.inputs.items()
        }
        trained = {bins.feature.name: np.array(bins.counts) for bins in reference.histograms}
        return _greatest(trained, both)


def _greatest(reference: Mapping[str, npt.NDArray[np.int64]], new: Mapping[str, npt.NDArray[np.int64]]) -> Drift:
    found = [
        Drift(max(0.0, corrected_psi(counts.tolist(), new[name].tolist())[0]), name)
        for name, counts in reference.items()
        if name in new and len(new[name]) == len(counts) and counts.sum() and new[name].sum()
    ]
    return max(found, key=lambda drift: drift.index, default=Drift())
