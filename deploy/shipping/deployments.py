"""The journal of deployments, ``deployments.db`` in the home: each step is on disk before it is done, and after it.

A deployment is of one release to one target. It is under way while the process that works on it holds a lock, so a
process that was killed leaves an unfinished deployment, never a running one.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from deploy.shipping.release import Ending, Release, Step
from divisions.clock import Clock
from divisions.deployments import NAME, Deployment, lock_path, read_deployment, read_latest
from divisions.errors import ClusterError, ConflictError

_SCHEMA = """
CREATE TABLE IF NOT EXISTS deployment (
    number INTEGER PRIMARY KEY, target TEXT NOT NULL, release TEXT NOT NULL, model TEXT NOT NULL, version TEXT NOT NULL,
    endpoint TEXT NOT NULL, who TEXT NOT NULL, began_s REAL NOT NULL, ended_s REAL, ending TEXT);
CREATE TABLE IF NOT EXISTS step (
    deployment INTEGER NOT NULL REFERENCES deployment, name TEXT NOT NULL, title TEXT NOT NULL, began_s REAL NOT NULL,
    ended_s REAL, detail TEXT, error TEXT);
CREATE TABLE IF NOT EXISTS fact (
    deployment INTEGER NOT NULL REFERENCES deployment, key TEXT NOT NULL, value TEXT NOT NULL,
    PRIMARY KEY (deployment, key));
"""
_KEPT = 1_000
"""Deployments that are kept; older ones go."""


class DeploymentJournal:
    """See the module.

    Raises:
        ClusterError: the file cannot be opened or written.
    """

    def __init__(self, home: Path, clock: Clock) -> None:
        self._home = home
        self._clock = clock
        self._path = home / NAME
        with self._connected() as db:
            db.executescript(_SCHEMA)

    @contextlib.contextmanager
    def locked(self, target: str) -> Iterator[None]:
        """Keeps others from deploying to this target from this home.

        Raises:
            ConflictError: another process does.
        """
        with lock_path(self._home, target).open("a+") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                file.seek(0)
                raise ConflictError(
                    f"another deployment to {target} is under way (process {file.read(20).strip() or 'unknown'})",
                    remedy="wait for its end, or stop it; a deployment that was stopped is resumed by the next one",
                ) from None
            file.truncate(0)
            file.write(str(os.getpid()))
            file.flush()
            yield

    def begin(self, target: str, release: Release, who: str) -> tuple[int, Deployment | None]:
        """The number of the deployment, and the unfinished one that it goes on with, if there is one."""
        with self._connected() as db:
            row = db.execute(
                "SELECT number FROM deployment WHERE target = ? AND release = ? AND ending IS NULL"
                " ORDER BY number DESC LIMIT 1",
                (target, release.key),
            ).fetchone()
            if row is not None:
                return row[0], read_deployment(db, row[0])
            cursor = db.execute(
                "INSERT INTO deployment (target, release, model, version, endpoint, who, began_s)"
                " VALUES (?,?,?,?,?,?,?)",
                (target, release.key, release.model, release.version, release.endpoint, who, self._clock.wall_s()),
            )
            number = int(cursor.lastrowid or 0)
            db.execute("DELETE FROM step WHERE deployment <= ?", (number - _KEPT,))
            db.execute("DELETE FROM fact WHERE deployment <= ?", (number - _KEPT,))
            db.execute("DELETE FROM deployment WHERE number <= ?", (number - _KEPT,))
            return number, None

    def step_began(self, number: int, step: Step) -> None:
        with self._connected() as db:
            db.execute(
                "INSERT INTO step (deployment, name, title, began_s) VALUES (?,?,?,?)",
                (number, step.name, step.title, self._clock.wall_s()),
            )

    def step_ended(self, number: int, step: Step, *, detail: str = "", error: str = "") -> None:
        with self._connected() as db:
            db.execute(
                "UPDATE step SET ended_s = ?, detail = ?, error = ? WHERE rowid ="
                " (SELECT max(rowid) FROM step WHERE deployment = ? AND name = ?)",
                (self._clock.wall_s(), detail, error, number, step.name),
            )

    def note(self, number: int, key: str, value: str) -> None:
        """Keeps a fact of a deployment; a later one of the same key replaces it."""
        with self._connected() as db:
            db.execute("INSERT OR REPLACE INTO fact (deployment, key, value) VALUES (?,?,?)", (number, key, value))

    def facts(self, number: int) -> dict[str, str]:
        with self._connected() as db:
            return dict(db.execute("SELECT key, value FROM fact WHERE deployment = ?", (number,)).fetchall())

    def end(self, number: int, ending: Ending) -> None:
        with self._connected() as db:
            db.execute(
                "UPDATE deployment SET ended_s = ?, ending = ? WHERE number = ?", (self._clock.wall_s(), ending, number)
            )

    def version_before(self, target: str, endpoint: str, now: str) -> str:
        """The latest version that was deployed from here and is not ``now``; empty if there is none."""
        with self._connected() as db:
            row = db.execute(
                "SELECT version FROM deployment WHERE target = ? AND endpoint = ? AND version != ?"
                " AND ending IN (?, ?) ORDER BY number DESC LIMIT 1",
                (target, endpoint, now, Ending.PROMOTED, Ending.UNCHANGED),
            ).fetchone()
        return "" if row is None else str(row[0])

    def versions(self) -> set[tuple[str, str]]:
        """Model and version of every deployment that is kept."""
        with self._connected() as db:
            return set(db.execute("SELECT DISTINCT model, version FROM deployment").fetchall())

    def latest(self, limit: int) -> list[Deployment]:
        """The latest deployments, newest first."""
        with self._connected() as db:
            return read_latest(db, limit)

    @contextlib.contextmanager
    def _connected(self) -> Iterator[sqlite3.Connection]:
        try:
            with closing(sqlite3.connect(self._path, timeout=10.0)) as db, db:
                db.execute("PRAGMA synchronous = FULL")
                yield db
        except sqlite3.Error as error:
            raise ClusterError(
                f"{self._path} cannot be used: {error}", remedy="check the disk's space and permissions"
            ) from None
