"""What tests of the prediction log share: a version, and its answers."""

import struct

from divisions.prediction_log import LogPolicy
from divisions.schema import Feature, FeatureKind, FeatureSchema
from router.prediction_log.frames import Entry, Opened

SCHEMA = FeatureSchema(
    (
        Feature("minutes", FeatureKind.NUMERIC),
        Feature("plan", FeatureKind.CATEGORICAL, ("basic", "gold")),
        Feature("abroad", FeatureKind.BOOLEAN),
    )
)
APP = "churn-predictor-v3.1"


def opened(policy: LogPolicy | None = None, schema: FeatureSchema = SCHEMA) -> Opened:
    return Opened(APP, "churn", "churn-predictor", "3.1", schema, policy or LogPolicy(10_000))


def entry(number: int = 1, rows: int = 1, key: str | None = None) -> Entry:
    """An answer whose rows have ``number`` minutes, and whose scores are thousandths of it."""
    row = struct.pack("<3f", number, 2.0, 1.0)
    return APP, b"r-%d" % number, list(range(rows)), [key] * rows, float(number), row * rows, [number / 1000] * rows
