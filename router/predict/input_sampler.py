"""What a gateway tells the controller of an endpoint's inputs: sampled rows in the bins of the training data. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from divisions.control import VersionSpec
from divisions.reports import InputSample
from router.evidence import split
from router.evidence.drift import FeatureBins, InputBins, bin_rows, prediction_bins
from router.predict.row_sample import SampledRow

_SALT = b"drift"
"""All gateways hash with it, so that the controller recognises a customer whom two of them have seen."""


class InputSampler:
    """One endpoint's. Rows are told apart by customer, as a hash; no id leaves the gateway."""

    def __init__(self) -> None:
        self._sha256 = ""
        self._bins: tuple[FeatureBins, ...] = ()
        self._scores: FeatureBins | None = None

    def find_bins(self, stable: VersionSpec, read_bins: Callable[[VersionSpec], InputBins]) -> None:
        """Takes the bins of stable's training data, once they are here. Once a second."""
        if stable.bundle_sha256 == self._sha256 and self._bins:
            return
        found = read_bins(stable)
        self._sha256 = stable.bundle_sha256
        self._bins = found.common(stable.schema)
        self._scores = prediction_bins(found)

    def report(self, stable: VersionSpec, rows: Sequence[SampledRow]) -> InputSample | None:
        """Counts the rows that stable has answered since the last report; None if there is nothing to tell."""
        if not rows or not self._bins or self._scores is None or stable.bundle_sha256 != self._sha256:
            return None
        rows_NF = np.frombuffer(b"".join([row.row for row in rows]), dtype="<f4").reshape(len(rows), -1)
        scores_N = np.frombuffer(b"".join([row.score for row in rows]), dtype="<f4")
        binned_NG = np.column_stack([bin_rows(self._bins, stable.schema, rows_NF), self._scores.positions(scores_N)])
        digests_N = np.array([split.digest(_SALT, row.key) for row in rows], dtype="<u8")
        return InputSample(self._sha256, digests_N.tobytes(), binned_NG.astype("<u2").tobytes())
