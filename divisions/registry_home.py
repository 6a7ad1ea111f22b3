"""Where MLflow keeps what belongs to a registry, and its embedded database in a home that was moved or copied.

MLflow writes absolute locations of artifacts into its database. In another place, a new run would write into the old
one, or fail. So the locations follow the home.
"""

from __future__ import annotations

import re
import sqlite3
import time
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from divisions.registry_template import keep_template, read_template

if TYPE_CHECKING:
    from mlflow import MlflowClient

_TABLE_ATTEMPTS = 8
_TABLE_PAUSE_S = 1.0
_TABLES_EXIST = re.compile("already exists|UniqueViolation|duplicate key|alembic_version|does not exist|out-of-date")
_DATABASES = ("postgresql", "mysql", "sqlite", "mssql")
_LOCATIONS = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
    ("logged_models", "artifact_location"),
)


def artifact_root(home: Path) -> str:
    """Where the embedded registry keeps artifacts, as a URI."""
    return (home / "mlartifacts").as_uri()


def store_uri(artifacts: str) -> str:
    """The address of the store of bundles as a URI; empty without one.

    >>> store_uri("s3://models/team/"), store_uri("/shared/models")
    ('s3://models/team', 'file:///shared/models')
    """
    uri = artifacts if not artifacts or "://" in artifacts else Path(artifacts).as_uri()
    return uri.rstrip("/")


def is_server(tracking_uri: str) -> bool:
    """Whether a tracking server, which knows a place for artifacts, is between us and the database.

    Without one, MLflow would write artifacts into the current folder, and note its path for every machine.

    >>> is_server("https://mlflow.example"), is_server("postgresql+psycopg://db/mlflow"), is_server("sqlite:///a.db")
    (True, False, False)
    """
    return not tracking_uri.startswith(_DATABASES)


def make_database(database: Path) -> None:
    """Makes the embedded database if it is not there: whole, or not at all. The caller holds the registry's lock.

    MLflow's migrations take seconds, are no transaction, and fail when they are begun a second time. So they run in a
    draft beside it: a process that ends meanwhile leaves no half of a database. One without runs and models that was
    left so is made anew. What they have made is kept for this user's next home (`divisions.registry_template`).

    Raises:
        sqlite3.Error: the database cannot be read.
    """
    if _is_made(database):
        return
    draft = database.with_name(f"{database.name}.draft")
    for leftover in (draft, draft.with_name(f"{draft.name}-journal")):
        leftover.unlink(missing_ok=True)
    if template := read_template():
        draft.write_bytes(template)
    else:
        _migrate(draft)
        keep_template(draft.read_bytes())
    draft.replace(database)


def _migrate(database: Path) -> None:
    from mlflow.store.db import utils

    engine = utils.create_sqlalchemy_engine(f"sqlite:///{database}")
    try:
        utils._initialize_tables(engine)
    finally:
        engine.dispose()


def _is_made(database: Path) -> bool:
    if not database.exists():
        return False
    # Writable, so that SQLite takes back what a killed process has left in its journal.
    with closing(sqlite3.connect(database, timeout=30.0)) as connection:
        tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        for table in tables & {"runs", "registered_models"}:
            if connection.execute(f"SELECT 1 FROM {table} LIMIT 1").fetchone():
                return True
        if "alembic_version" not in tables:
            return False
        from mlflow.store.db import utils

        revision: tuple[str] | None = connection.execute("SELECT version_num FROM alembic_version").fetchone()
        return revision == (utils._get_latest_schema_revision(),)


def follow_home(database: Path, home: Path) -> int:
    """Makes the locations in ``database`` those of ``home``; returns how many were another home's.

    Raises:
        sqlite3.Error: the database cannot be read or written.
    """
    root = artifact_root(home)
    with closing(sqlite3.connect(database, timeout=30.0)) as connection:
        query = (
            "SELECT DISTINCT artifact_location FROM experiments WHERE artifact_location LIKE 'file:///%/mlartifacts'"
        )
        others = [old for (old,) in connection.execute(query) if old != root]
        if not others:
            return 0
        before = connection.total_changes
        with connection:
            for old in others:
                for table, column in _LOCATIONS:
                    connection.execute(
                        f"UPDATE {table} SET {column} = ? || substr({column}, ?)"
                        f" WHERE {column} = ? OR substr({column}, 1, ?) = ?",
                        (root, len(old) + 1, old, len(old) + 1, f"{old}/"),
                    )
        return connection.total_changes - before


def shared_client(kind: type[MlflowClient], uri: str) -> MlflowClient:
    """A client of a server or a shared database. MLflow creates the tables of an empty database.

    Of two machines that create them together, one fails; it finds them a moment later.
    """
    for attempt in range(_TABLE_ATTEMPTS):
        try:
            client = kind(uri, uri)
            if not is_server(uri):
                client.search_experiments(max_results=1)
        except Exception as error:
            if attempt + 1 == _TABLE_ATTEMPTS or not _TABLES_EXIST.search(str(error)):
                raise
            time.sleep(_TABLE_PAUSE_S)
        else:
            return client
    raise AssertionError("unreachable")
