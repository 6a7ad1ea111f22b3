"""Outcomes to logged predictions.

An outcome by request belongs to the one row of that request. An outcome by customer belongs to the customer's last
prediction of each version before it; so a customer counts once for a version, as intervals need it. Predictions that
were made after their outcome say nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from divisions.errors import ArtifactStoreError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from divisions.settings import S3Settings

COLUMNS = ("time", "request_id", "entity", "version", "score")


@dataclass(frozen=True, slots=True)
class Joined:
    """Predictions with their outcome, by version and time.

    Attributes:
        versions_N: labels of the versions.
        times_N: of the predictions, in seconds since the Unix epoch.
        labels_N: 0 or 1.
        scores_N: probabilities.
        joined: outcomes that belong to a prediction.
        unknown: outcomes that belong to none.
        early: outcomes that belong only to predictions made after them.
        ambiguous: outcomes of requests with several rows.
    """

    versions_N: NDArray[Any]
    times_N: NDArray[np.float64]
    labels_N: NDArray[np.float64]
    scores_N: NDArray[np.float64]
    joined: int
    unknown: int
    early: int
    ambiguous: int


def read_log(place: str, endpoint: str, s3: S3Settings) -> Any:
    """The predictions of an endpoint, as an Arrow table; empty without a log.

    Raises:
        ArtifactStoreError: the log cannot be read.
    """
    import pyarrow as pa
    import pyarrow.dataset as ds
    from pyarrow.fs import FileSelector, FileType, LocalFileSystem

    from divisions.s3 import s3_filesystem

    is_remote = place.startswith("s3://")
    filesystem = s3_filesystem(s3) if is_remote else LocalFileSystem()
    root = f"{place.removeprefix('s3://')}/{endpoint}"
    types = [pa.timestamp("us", "UTC"), pa.string(), pa.string(), pa.string(), pa.float32()]
    schema = pa.schema([pa.field(name, kind) for name, kind in zip(COLUMNS, types, strict=True)])
    try:
        found = filesystem.get_file_info(FileSelector(root, recursive=True, allow_not_found=True))
        files = sorted(each.path for each in found if each.type == FileType.File and each.path.endswith(".parquet"))
        if not files:
            return schema.empty_table()
        return ds.dataset(files, schema=schema, format="parquet", filesystem=filesystem).to_table()
    except (OSError, pa.ArrowInvalid) as error:
        raise ArtifactStoreError(
            f"the prediction log in {place} cannot be read: {error}",
            remedy="look at serving.log.to of the pipeline file, and at the credentials",
        ) from None


def join(log: Any, outcomes: Sequence[tuple[str, str, bool, float | None]]) -> Joined:
    """Joins a log (see `read_log`) with outcomes (see `OutcomeStore.read`)."""
    import duckdb
    import pyarrow as pa

    columns = list(zip(*outcomes, strict=True)) or [(), (), (), ()]
    kinds = (pa.string(), pa.string(), pa.bool_(), pa.float64())
    names = ("kind", "id", "is_positive", "at_s")
    table = pa.table({name: pa.array(each, kind) for name, each, kind in zip(names, columns, kinds, strict=True)})
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'; SET enable_progress_bar = false")
        connection.register("log_rows", log)
        connection.register("outcomes", table)
        connection.execute(_MATCHES)
        counts = connection.execute(_COUNTS).fetchall()[0]
        found = connection.execute(_CHOSEN).fetchnumpy()
    return Joined(
        np.asarray(found["version"], dtype=str),
        np.asarray(found["made_s"], np.float64),
        np.asarray(found["is_positive"], np.float64),
        np.asarray(found["score"], np.float64),
        *(int(count) for count in counts),
    )


_MATCHES = """
CREATE TEMP TABLE matches AS
WITH logged AS (
    SELECT epoch(time) AS made_s, request_id, entity, version, score,
           count(*) OVER (PARTITION BY request_id) AS num_rows
    FROM log_rows
), found AS (
    SELECT o.*, l.*, l.num_rows > 1 AS is_ambiguous
    FROM outcomes o LEFT JOIN logged l ON o.id = l.request_id WHERE o.kind = 'request'
    UNION ALL
    SELECT o.*, l.*, false AS is_ambiguous FROM outcomes o LEFT JOIN logged l ON o.id = l.entity WHERE o.kind = 'entity'
)
SELECT * REPLACE (coalesce(is_ambiguous, false) AS is_ambiguous), made_s IS NOT NULL AS is_known,
       coalesce(made_s > at_s, false) AS is_early
FROM found
"""
_GOOD = "is_known AND NOT is_ambiguous AND NOT is_early"
_COUNTS = f"""
SELECT count(*) FILTER (has_good), count(*) FILTER (NOT is_known),
       count(*) FILTER (is_known AND NOT has_good AND NOT is_ambiguous),
       count(*) FILTER (is_known AND NOT has_good AND is_ambiguous)
FROM (SELECT bool_or({_GOOD}) AS has_good, bool_or(is_known) AS is_known, bool_or(is_ambiguous) AS is_ambiguous
      FROM matches GROUP BY kind, id)
"""
# One prediction counts once, also where there is an outcome of its request and one of its customer.
_CHOSEN = f"""
SELECT version, made_s, is_positive::DOUBLE AS is_positive, score::DOUBLE AS score FROM (
    SELECT version, made_s, request_id, entity, is_positive, score, kind, id FROM matches WHERE {_GOOD}
    QUALIFY row_number() OVER (PARTITION BY kind, id, version ORDER BY made_s DESC, score) = 1
) QUALIFY row_number() OVER (
    PARTITION BY version, made_s, request_id, entity, score ORDER BY kind = 'request' DESC, id
) = 1 ORDER BY version, made_s, id
"""
