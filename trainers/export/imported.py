"""A model that was trained elsewhere, in place of a trained one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import msgspec
import numpy as np
from numpy.typing import NDArray

from divisions.errors import MissingColumnError, TrainingError
from divisions.schema import Feature
from trainers.data.encoding import encode_columns
from trainers.data.feature_table import split_holdout
from trainers.data.preparation import Prepared
from trainers.export.exported import Calibrated, Exported
from trainers.training.calibration import Calibration

PROBED_ROWS = 32
TOLD_FEATURES = 3


@dataclass(frozen=True, slots=True)
class ImportedModel:
    """A graph as replicas serve it, the features of its rows, and its parity with the original.

    ``facts`` say where it came from, for the lineage.
    """

    features: tuple[Feature, ...]
    model_onnx: bytes
    parity: float
    framework: str
    facts: Mapping[str, str]

    def prepared(self, prepared: Prepared) -> Prepared:
        """The same customers, encoded by the model's own schema.

        Raises:
            MissingColumnError: the data lack one of its features.
        """
        columns = prepared.table.rows.columns
        absent = [feature.name for feature in self.features if feature.name not in columns]
        if absent:
            raise MissingColumnError(
                f"the data have no column {absent[0]!r}, a feature of the imported model"
                + (f" (and {len(absent) - 1} more)" if len(absent) > 1 else ""),
                remedy="mend the schema's names, or name data that have it with --input",
            )
        table = prepared.table
        schema = msgspec.structs.replace(table.schema, features=self.features)
        x_NF = encode_columns(schema.features, columns, len(table))
        table = replace(table, x=x_NF, schema=schema)
        split = split_holdout(table)
        return replace(prepared, table=table, train=split.train, holdout=split.holdout)

    @property
    def params(self) -> dict[str, object]:
        """The parameters of its run."""
        return {"kind": "imported", **self.facts}

    def note_of_missing(self, prepared: Prepared) -> str:
        """Which features it cannot do without, found by customers of the hold-out who lose one at a time."""
        from trainers.export.onnx_export import scorer

        score, unable = scorer(self.model_onnx), []
        for index, feature in enumerate(self.features):
            rows_NF = prepared.holdout.x[:PROBED_ROWS].copy()
            rows_NF[:, index] = np.nan
            if not _are_probabilities(score(rows_NF)).all():
                unable.append(feature.name)
        if not unable:
            return ""
        more = f" and {len(unable) - TOLD_FEATURES} more features" if len(unable) > TOLD_FEATURES else ""
        return (
            f"the imported model gives no probability where {', '.join(unable[:TOLD_FEATURES])}{more} is missing: such "
            "requests will fail with 502. Export it with a value for missing features (NaN), such as an imputer's"
        )

    def exported(self, prepared: Prepared) -> tuple[Calibrated, Exported]:
        """The model in place of a trained, calibrated and exported one.

        Raises:
            TrainingError: a score of the hold-out is not a probability.
        """
        from trainers.export.onnx_export import score

        scores_N = score(self.model_onnx, prepared.holdout.x)
        bad = int((~_are_probabilities(scores_N)).sum())
        if bad:
            raise TrainingError(
                f"the imported model gives {bad:,} of {len(scores_N):,} customers a score that is no probability",
                remedy="export it with its sigmoid or softmax, and with a value for missing features (NaN)",
            )
        calibration = Calibration(note="not calibrated: it was imported")
        exported = Exported(self.model_onnx, self.parity, b"", None, "it was imported", self.framework)
        return Calibrated(calibration, scores_N.astype(np.float64)), exported


def _are_probabilities(scores_N: NDArray[np.float32]) -> NDArray[np.bool_]:
    return (scores_N >= 0.0) & (scores_N <= 1.0)
