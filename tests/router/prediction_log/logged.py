"""What tests of the prediction log share: a version, and its answers."""

import struct

import pyarrow.parquet as pq

from divisions.prediction_log import LogPolicy, hash_key
from divisions.schema import Feature, FeatureKind, FeatureSchema
from divisions.settings import S3Settings
from router.prediction_log import places
from router.prediction_log.frames import Entry, Opened, Rows
from router.prediction_log.shipper import Shipper
from router.prediction_log.writer import LogWriter

SCHEMA = FeatureSchema(
    (
        Feature("minutes", FeatureKind.NUMERIC),
        Feature("plan", FeatureKind.CATEGORICAL, ("basic", "gold")),
        Feature("abroad", FeatureKind.BOOLEAN),
    )
)
APP = "churn-predictor-v3.1"
TOKEN = b"token"
"""Of the cluster, for hashes."""
BEGIN_S = 1_767_225_600.0  # 2026-01-01 00:00 UTC


def opened(policy: LogPolicy | None = None, schema: FeatureSchema = SCHEMA) -> Opened:
    return Opened(APP, "churn", "churn-predictor", "3.1", schema, policy or LogPolicy(10_000))


def entry(number: int = 1, rows: int = 1, key: str | None = None) -> Entry:
    """An answer whose rows have ``number`` minutes, and whose scores are thousandths of it."""
    row = struct.pack("<3f", number, 2.0, 1.0)
    return APP, b"r-%d" % number, list(range(rows)), [key] * rows, float(number), row * rows, [number / 1000] * rows


def log(home, policy: LogPolicy, *entries: Entry, is_shipped: bool = True) -> LogWriter:
    """Logs answers as a gateway's writer does; they stay on their way if they are not shipped."""
    shipper = Shipper(lambda table, place, path: places.put(table, place, path, S3Settings()), lambda: 0.0)
    writer = LogWriter(home, f"gw{len(list(home.rglob('*')))}", hash_key(TOKEN), shipper)
    writer.take(opened(policy), 0.0, BEGIN_S)
    writer.take(Rows(BEGIN_S, list(entries)), 0.0, BEGIN_S)
    writer.turn(2.0, BEGIN_S)
    if is_shipped:
        writer.close(0.0, BEGIN_S)
        while shipper.turn():
            pass
    return writer


def logged(folder) -> list[tuple[str, str | None]]:
    """Request and customer of every row in a folder's files."""
    rows = [row for path in sorted(folder.rglob("*.parquet")) for row in pq.ParquetFile(path).read().to_pylist()]
    return sorted((row["request_id"], row["entity"]) for row in rows)
