"""The version in use on today's hold-out: would it have been better than the new one?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from divisions.bundle import read_bundle, read_model
from divisions.errors import BundleError
from divisions.versions import RegisteredVersion
from trainers.data.encoding import encode_columns
from trainers.data.preparation import Prepared
from trainers.validation.comparison import UNKNOWN_GAIN, AucGain, auc_gain


@dataclass(frozen=True, slots=True)
class Champion:
    """``note`` names the version, or says why there is no comparison."""

    gain: AucGain
    note: str
    is_missing: bool = False

    def __str__(self) -> str:
        gain = self.gain
        return (
            f"auc is {gain.challenger_auc:.4f} and that of {self.note} {gain.champion_auc:.4f} on the same customers:"
            f" {gain.gain:+.4f}, 95 % interval {gain.lower:+.4f} to {gain.upper:+.4f}"
        )


def compare_with_champion(
    prepared: Prepared, scores_N: NDArray[np.float32], previous: RegisteredVersion | None
) -> Champion:
    """Scores the hold-out with the previous version, from the same raw rows, and compares.

    No version has trained on the hold-out (`trainers.data.feature_table.is_holdout`), unless the seed has changed. A
    column that is gone counts as missing for the previous version, as it would in production.
    """
    if previous is None:
        return Champion(UNKNOWN_GAIN, "there is no earlier version", is_missing=True)
    name = f"version {previous.version}"
    try:
        manifest = read_bundle(previous.bundle_path, previous.bundle_sha256)
        model_onnx = read_model(previous.bundle_path, manifest)
    except BundleError as error:
        return Champion(UNKNOWN_GAIN, f"{name} cannot be read: {error.message}")
    if manifest.schema.label != prepared.table.schema.label:
        return Champion(UNKNOWN_GAIN, f"{name} predicts {manifest.schema.label!r}, another label")
    table = prepared.table
    is_measured_N = table.is_held_N & table.rows.is_last_N if table.rows.is_repeated else table.is_held_N
    rows = table.rows.where(is_measured_N)
    x_NF = encode_columns(manifest.schema.features, rows.columns, len(rows))
    champion_N, why = _scores(model_onnx, x_NF)
    if why:
        return Champion(UNKNOWN_GAIN, f"{name} cannot score the hold-out: {why}")
    return Champion(auc_gain(prepared.holdout.y, scores_N, champion_N), name)


def _scores(model_onnx: bytes, x_NF: NDArray[np.float32]) -> tuple[NDArray[np.float32], str]:
    from trainers.export.onnx_export import score

    try:
        scores_N = score(model_onnx, x_NF)
    except Exception as error:  # noqa: BLE001 (a graph that others made may fail in any way; then nothing is known)
        return np.zeros(0, np.float32), (str(error).splitlines() or [type(error).__name__])[0]
    is_whole = scores_N.shape == (len(x_NF),) and np.isfinite(scores_N).all()
    return scores_N, "" if is_whole else "it does not give one number for each row"
