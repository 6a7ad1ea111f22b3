"""What tests of the prediction log share: a version, and its answers."""

import struct
from typing import NamedTuple

import pyarrow.parquet as pq

from divisions.prediction_log import LogPolicy, hash_key
from divisions.schema import Feature, FeatureKind, FeatureSchema
from divisions.settings import S3Settings
from router.gateway import log_link
from router.predict.answer_log import Columns, LogBuffer
from router.prediction_log import places
from router.prediction_log.frames import Opened, Rows
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


class Entry(NamedTuple):
    """The answer to one request."""

    request_id: bytes
    keys: list[str | None]
    arrived_s: float
    encoded: bytes
    scores: list[float]


def entry(number: int = 1, rows: int = 1, key: str | None = None) -> Entry:
    """An answer whose rows have ``number`` minutes, and whose scores are thousandths of it."""
    row = struct.pack("<3f", number, 2.0, 1.0)
    return Entry(b"r-%d" % number, [key] * rows, float(number), row * rows, [number / 1000] * rows)


def rows_of(offset_s: float, *entries: Entry) -> Rows:
    """What a gateway sends of these answers."""
    columns = Columns(APP)
    for each in entries:
        _add(columns, each)
    return log_link.rows_of(columns, offset_s)


def fill(buffer: LogBuffer, answer: Entry) -> None:
    """Adds an answer to a gateway's buffer."""
    columns = buffer.room(APP, len(answer.keys), len(answer.encoded))
    if columns is not None:
        _add(columns, answer)


def _add(columns: Columns, answer: Entry) -> None:
    for place, key in enumerate(answer.keys):
        columns.add(answer.request_id, place, key, answer.arrived_s)
    columns.encoded += answer.encoded
    columns.scores += answer.scores


def log(home, policy: LogPolicy, *entries: Entry, is_shipped: bool = True) -> LogWriter:
    """Logs answers as a gateway's writer does; they stay on their way if they are not shipped."""
    shipper = Shipper(lambda table, place, path: places.put(table, place, path, S3Settings()), lambda: 0.0)
    writer = LogWriter(home, f"gw{len(list(home.rglob('*')))}", hash_key(TOKEN), shipper)
    writer.take(opened(policy), 0.0, BEGIN_S)
    writer.take(rows_of(BEGIN_S, *entries), 0.0, BEGIN_S)
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
