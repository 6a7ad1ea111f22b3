"""The outcomes that were added, in SQLite: ``outcomes/<endpoint>.db`` of the home.

Adding a file again changes nothing.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from divisions.errors import InputError
from divisions.outcomes import FOLDER
from trainers.outcomes.labels import Outcome

BUSY_S = 30.0


@dataclass(frozen=True, slots=True)
class Added:
    """What came of adding. An outcome that says the opposite of the stored one is ``refused``, unless it replaces."""

    new: int
    known: int
    refused: int
    replaced: int


class OutcomeStore:
    """One endpoint's outcomes, by request or by customer.

    Args:
        home: the home folder.
        endpoint: whose predictions they are about.
    """

    def __init__(self, home: Path, endpoint: str) -> None:
        self._path = home / FOLDER / f"{endpoint}.db"

    def add(self, by: str, outcomes: Sequence[Outcome], *, is_replacing: bool = False) -> Added:
        """Adds outcomes, all or none.

        Args:
            by: ``request`` or ``entity``.
            outcomes: each id once.
            is_replacing: whether an outcome takes the place of a stored one that says the opposite.

        Raises:
            InputError: the disk is full, or fails.
        """
        new = known = refused = replaced = 0
        with self._open() as connection:
            stored = dict(connection.execute("SELECT id, is_positive FROM outcomes WHERE by = ?", (by,)).fetchall())
            for outcome in outcomes:
                before = stored.get(outcome.id)
                if before is None:
                    new += 1
                elif bool(before) == outcome.is_positive:
                    known += 1
                    continue
                elif not is_replacing:
                    refused += 1
                    continue
                else:
                    replaced += 1
                row = (by, outcome.id, outcome.is_positive, outcome.at_s)
                connection.execute("INSERT OR REPLACE INTO outcomes VALUES (?, ?, ?, ?)", row)
        return Added(new, known, refused, replaced)

    def read(self) -> list[tuple[str, str, bool, float | None]]:
        """By what, the id, whether it is positive, and when."""
        if not self._path.exists():
            return []
        with self._open() as connection:
            rows = connection.execute("SELECT by, id, is_positive, at_s FROM outcomes ORDER BY by, id").fetchall()
        return [(by, key, bool(is_positive), at_s) for by, key, is_positive, at_s in rows]

    def remove(self, by: str, ids: Sequence[str]) -> int:
        """Removes outcomes; returns how many.

        Raises:
            InputError: the disk is full, or fails.
        """
        if not ids or not self._path.exists():
            return 0
        with self._open() as connection:
            query = "DELETE FROM outcomes WHERE by = ? AND id = ?"
            return sum(connection.execute(query, (by, key)).rowcount for key in ids)

    @contextlib.contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        try:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            os.close(os.open(self._path, os.O_CREAT | os.O_RDWR, 0o600))
            connection = sqlite3.connect(self._path, timeout=BUSY_S)
            try:
                with connection:
                    connection.execute(
                        "CREATE TABLE IF NOT EXISTS outcomes (by TEXT, id TEXT, is_positive INTEGER NOT NULL,"
                        " at_s REAL, PRIMARY KEY (by, id)) WITHOUT ROWID"
                    )
                    connection.execute("BEGIN IMMEDIATE")
                    yield connection
            finally:
                connection.close()
        except (sqlite3.Error, OSError) as error:
            raise InputError(
                f"the outcomes in {self._path} cannot be used: {error}",
                remedy="make room on that disk; if the file is damaged, remove it and add the files again",
            ) from None
