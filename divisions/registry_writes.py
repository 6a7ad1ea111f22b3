"""Changes of tags and aliases: through MLflow's client, or in its SQLite file without importing MLflow.

The import of MLflow and of its SQLite store takes two seconds of CPU time. Archiving and promoting change a row of two
tables, so they do without. A new run or version touches many tables, with rules of MLflow's own, so it goes through the
client. `tests/divisions/test_registry_writes.py` compares both ways.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from mlflow import MlflowClient

_TIMEOUT_S = 10.0


class Writes(Protocol):
    """What the registry changes of versions that exist. ``number`` is MLflow's."""

    def set_tag(self, model: str, number: int, key: str, value: str) -> None: ...

    def delete_tag(self, model: str, number: int, key: str) -> None: ...

    def set_alias(self, model: str, alias: str, number: int) -> None: ...

    def delete_alias(self, model: str, alias: str) -> None: ...


class ClientWrites:
    """Writes through MLflow's client, for tracking servers."""

    def __init__(self, client: Callable[[], MlflowClient]) -> None:
        self._client = client

    def set_tag(self, model: str, number: int, key: str, value: str) -> None:
        self._client().set_model_version_tag(model, str(number), key, value)

    def delete_tag(self, model: str, number: int, key: str) -> None:
        self._client().delete_model_version_tag(model, str(number), key)

    def set_alias(self, model: str, alias: str, number: int) -> None:
        self._client().set_registered_model_alias(model, alias, str(number))

    def delete_alias(self, model: str, alias: str) -> None:
        self._client().delete_registered_model_alias(model, alias)


class SqliteWrites:
    """Writes the embedded registry's file. Each method is one transaction."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def set_tag(self, model: str, number: int, key: str, value: str) -> None:
        self._execute(
            "INSERT OR REPLACE INTO model_version_tags (name, version, key, value) VALUES (?, ?, ?, ?)",
            (model, number, key, value),
        )

    def delete_tag(self, model: str, number: int, key: str) -> None:
        self._execute("DELETE FROM model_version_tags WHERE name = ? AND version = ? AND key = ?", (model, number, key))

    def set_alias(self, model: str, alias: str, number: int) -> None:
        self._execute(
            "INSERT OR REPLACE INTO registered_model_aliases (name, alias, version) VALUES (?, ?, ?)",
            (model, alias, number),
        )

    def delete_alias(self, model: str, alias: str) -> None:
        self._execute("DELETE FROM registered_model_aliases WHERE name = ? AND alias = ?", (model, alias))

    def _execute(self, statement: str, values: tuple[str | int, ...]) -> None:
        uri = f"{self._path.absolute().as_uri()}?mode=rw"
        with closing(sqlite3.connect(uri, uri=True, timeout=_TIMEOUT_S)) as connection, connection:
            connection.execute("PRAGMA foreign_keys = ON")
            connection.execute(statement, values)
