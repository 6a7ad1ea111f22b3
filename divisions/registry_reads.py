"""Reads from the registry: through MLflow's client, or from its SQLite file without importing MLflow.

The import of MLflow takes over a second of CPU time, and its SQLite store takes about as long again. So commands that
only read an embedded registry query its tables. The tables are those of the MLflow release that pyproject.toml allows;
`tests/divisions/test_registry_reads.py` compares both ways.
"""

from __future__ import annotations

import itertools
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from divisions.errors import RegistryError
from divisions.registry_records import VersionRecord, run_record
from divisions.versions import RunRecord

if TYPE_CHECKING:
    from mlflow import MlflowClient

MOST_COUNTED = 1_000
_TIMEOUT_S = 10.0
_DELETED = "Deleted_Internal"
"""MLflow keeps the row of a deleted version, in this stage."""


class Reads(Protocol):
    """What the registry reads."""

    def versions(self, model: str | None) -> list[VersionRecord]:
        """The versions of a model, or of all models. Empty for a model that does not exist."""
        ...

    def run(self, run_id: str) -> RunRecord: ...

    def runs(self, pipeline: str | None, most: int) -> list[RunRecord]:
        """The newest runs of a pipeline, or of all pipelines; newest first."""
        ...

    def count_runs(self) -> dict[tuple[str, str], int]:
        """How many runs a pipeline has by status; by pipeline and status."""
        ...

    def metric_history(self, run_id: str, name: str) -> list[tuple[int, float]]:
        """Step and value of each record of a run's metric."""
        ...


class ClientReads:
    """Reads through MLflow's client, for tracking servers. Every search asks for all pages."""

    def __init__(self, client: MlflowClient) -> None:
        self._client = client

    def versions(self, model: str | None) -> list[VersionRecord]:
        # A search per model would be thousands of requests to a large registry.
        if model is None:
            registered = {one.name: one for one in _pages(self._client.search_registered_models)}
            found = list(_pages(self._client.search_model_versions))
        else:
            one = self._find_model(model)
            registered, found = ({model: one}, list(self._versions_of(model))) if one is not None else ({}, [])
        records = []
        for entity in found:
            number = int(entity.version)
            # A model may come between the two searches.
            owners = registered[entity.name].aliases if entity.name in registered else {}
            aliases = tuple(alias for alias, owner in owners.items() if int(owner) == number)
            run_id, tags = entity.run_id or "", entity.tags
            storage = getattr(entity, "source", None) or ""
            created_ms = entity.creation_timestamp
            records.append(VersionRecord(entity.name, number, run_id, created_ms, tags, aliases, storage))
        return records

    def run(self, run_id: str) -> RunRecord:
        return _record_of(self._client.get_run(run_id))

    def runs(self, pipeline: str | None, most: int) -> list[RunRecord]:
        experiments = [one.experiment_id for one in _pages(self._client.search_experiments)]
        quoted = "" if pipeline is None else pipeline.replace("'", "")  # names have no quotes
        found = _pages(
            self._client.search_runs,
            experiment_ids=experiments,
            filter_string=f"tags.`divisions.pipeline` {'!=' if pipeline is None else '='} '{quoted}'",
            order_by=["attributes.start_time DESC"],
        )
        return [_record_of(run) for run in itertools.islice(found, most)]

    def count_runs(self) -> dict[tuple[str, str], int]:
        """Of the newest `MOST_COUNTED`: MLflow counts nothing, and gives a thousand runs in a page."""
        return Counter((run.pipeline, run.status) for run in self.runs(None, MOST_COUNTED))

    def metric_history(self, run_id: str, name: str) -> list[tuple[int, float]]:
        return [(one.step, one.value) for one in self._client.get_metric_history(run_id, name)]

    def _find_model(self, model: str) -> Any | None:
        """Asks for the model by its name: a search would need all pages, and a page has 100 models."""
        from mlflow.exceptions import MlflowException

        try:
            return self._client.get_registered_model(model)
        except MlflowException as error:
            if error.error_code == "RESOURCE_DOES_NOT_EXIST":
                return None
            raise

    def _versions_of(self, model: str) -> Iterator[Any]:
        # A name with a quote is another tool's. MLflow's filters cannot escape it, so it needs the other quote.
        quote = '"' if "'" in model else "'"
        return _pages(self._client.search_model_versions, filter_string=f"name={quote}{model}{quote}")


def _record_of(run: Any) -> RunRecord:
    info, data = run.info, run.data
    times = info.start_time, info.end_time
    return run_record(info.run_id, info.run_name, info.status, *times, data.params, data.metrics, data.tags)


def _pages(search: Callable[..., Any], **arguments: Any) -> Iterator[Any]:
    """All results of one of MLflow's searches, page by page."""
    token = None
    while True:
        page = search(page_token=token, **arguments)
        yield from page
        token = page.token
        if not token:
            return


class SqliteReads:
    """Reads the embedded registry's file. A file that does not exist, or has no tables, has no versions."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def versions(self, model: str | None) -> list[VersionRecord]:
        where, values = ("", ()) if model is None else (" AND name = ?", (model,))
        tags: dict[tuple[str, int], dict[str, str]] = {}
        aliases: dict[tuple[str, int], list[str]] = {}
        with self._open() as connection:
            if connection is None:
                return []
            query = "SELECT name, version, key, value FROM model_version_tags WHERE TRUE" + where
            for name, number, key, value in connection.execute(query, values):
                tags.setdefault((name, number), {})[key] = value
            query = "SELECT name, version, alias FROM registered_model_aliases WHERE TRUE" + where
            for name, number, alias in connection.execute(query, values):
                aliases.setdefault((name, number), []).append(alias)
            query = (
                "SELECT name, version, run_id, creation_time, COALESCE(storage_location, source) FROM model_versions"
                " WHERE current_stage IS NOT ?"
            )
            rows = connection.execute(query + where, (_DELETED, *values)).fetchall()
        return [
            VersionRecord(
                name,
                number,
                run_id or "",
                created_ms or 0,
                tags.get((name, number), {}),
                tuple(aliases.get((name, number), ())),
                storage or "",
            )
            for name, number, run_id, created_ms, storage in rows
        ]

    def run(self, run_id: str) -> RunRecord:
        with self._open() as connection:
            if connection is None:
                raise _no_run(run_id)
            return _run_of(connection, run_id)

    def runs(self, pipeline: str | None, most: int) -> list[RunRecord]:
        with self._open() as connection:
            if connection is None:
                return []
            query = (
                "SELECT run_uuid FROM runs JOIN tags USING (run_uuid) WHERE lifecycle_stage = 'active' AND"
                " tags.key = 'divisions.pipeline' AND (? IS NULL OR tags.value = ?)"
                " ORDER BY start_time DESC, run_uuid LIMIT ?"
            )
            found = connection.execute(query, (pipeline, pipeline, most)).fetchall()
            return [_run_of(connection, run_id) for (run_id,) in found]

    def count_runs(self) -> dict[tuple[str, str], int]:
        with self._open() as connection:
            if connection is None:
                return {}
            query = (
                "SELECT tags.value, runs.status, COUNT(*) FROM runs JOIN tags USING (run_uuid)"
                " WHERE lifecycle_stage = 'active' AND tags.key = 'divisions.pipeline' GROUP BY 1, 2"
            )
            return {(pipeline, status): count for pipeline, status, count in connection.execute(query).fetchall()}

    def metric_history(self, run_id: str, name: str) -> list[tuple[int, float]]:
        with self._open() as connection:
            if connection is None:
                return []
            query = "SELECT step, value FROM metrics WHERE run_uuid = ? AND key = ? ORDER BY timestamp, step"
            return connection.execute(query, (run_id, name)).fetchall()

    def is_empty(self) -> bool:
        """Whether no run was ever recorded: the file is absent, has no tables, or has only MLflow's own experiment."""
        with self._open() as connection:
            if connection is None:
                return True
            query = "SELECT COUNT(*) FROM experiments WHERE name != 'Default'"
            (count,) = connection.execute(query).fetchone()
        return not count

    def _open(self) -> closing[sqlite3.Connection] | _Nothing:
        try:
            if not self._path.stat().st_size:
                return _Nothing()
        except FileNotFoundError:
            return _Nothing()
        connection = sqlite3.connect(f"{self._path.absolute().as_uri()}?mode=rw", uri=True, timeout=_TIMEOUT_S)
        try:
            if connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'model_versions'").fetchone():
                return closing(connection)
        except sqlite3.Error:
            connection.close()
            raise
        connection.close()
        return _Nothing()


def _run_of(connection: sqlite3.Connection, run_id: str) -> RunRecord:
    query = "SELECT name, status, start_time, end_time FROM runs WHERE run_uuid = ?"
    found = connection.execute(query, (run_id,)).fetchone()
    if found is None:
        raise _no_run(run_id)
    params, metrics, tags = (
        dict(connection.execute(f"SELECT key, value FROM {table} WHERE run_uuid = ?", (run_id,)).fetchall())
        for table in ("params", "latest_metrics", "tags")
    )
    name, status, start_ms, end_ms = found
    return run_record(run_id, name, status, start_ms, end_ms, params, metrics, tags)


def _no_run(run_id: str) -> RegistryError:
    return RegistryError(f"the registry has no run {run_id}", remedy="see `divisions runs list`")


class _Nothing:
    """The connection to a file without tables."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, *_: object) -> None:
        pass
