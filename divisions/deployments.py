"""What ``divisions deploy`` has done, as it is read: `deploy.shipping.deployments` writes it into the home.

Reading makes no file, and takes no lock of deployments: one that is about to begin must not find it.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

NAME: Final = "deployments.db"
_LOCKS: Final = Path("/proc/locks")


@dataclass(frozen=True, slots=True)
class StepRecord:
    """A step as it was done. ``ended_s`` is None if the process ended in it; times are seconds since the Unix epoch."""

    name: str
    title: str
    began_s: float
    ended_s: float | None = None
    detail: str = ""
    error: str = ""


@dataclass(frozen=True, slots=True)
class Deployment:
    """One deployment. ``ending`` is empty while it is unfinished."""

    number: int
    target: str
    model: str
    version: str
    endpoint: str
    who: str
    began_s: float
    ended_s: float | None
    ending: str
    steps: tuple[StepRecord, ...] = ()

    @property
    def last_step(self) -> StepRecord | None:
        return self.steps[-1] if self.steps else None


def lock_path(home: Path, target: str) -> Path:
    """The file whose lock a deployment to a target holds."""
    return home / f"deploy-{target}.lock"


def latest_of(home: Path, limit: int) -> list[Deployment]:
    """The latest deployments from a home, newest first; none if nothing was deployed from it.

    The file is opened for writing: SQLite may have to undo what a killed deployment left half-written.

    Raises:
        sqlite3.Error: the file cannot be read.
    """
    path = home / NAME
    if not path.exists():
        return []
    with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=rw", uri=True, timeout=2.0)) as db:
        return read_latest(db, limit)


def read_latest(db: sqlite3.Connection, limit: int) -> list[Deployment]:
    """The latest deployments, newest first."""
    rows = db.execute("SELECT number FROM deployment ORDER BY number DESC LIMIT ?", (limit,)).fetchall()
    return [found for (number,) in rows if (found := read_deployment(db, number)) is not None]


def read_deployment(db: sqlite3.Connection, number: int) -> Deployment | None:
    """One deployment with its steps; None if there is no such number."""
    row = db.execute(
        "SELECT number, target, model, version, endpoint, who, began_s, ended_s, coalesce(ending, '')"
        " FROM deployment WHERE number = ?",
        (number,),
    ).fetchone()
    if row is None:
        return None
    steps = db.execute(
        "SELECT name, title, began_s, ended_s, coalesce(detail, ''), coalesce(error, '')"
        " FROM step WHERE deployment = ? ORDER BY rowid",
        (number,),
    )
    return replace(Deployment(*row), steps=tuple(StepRecord(*each) for each in steps))


def is_worked_on(home: Path, target: str) -> bool | None:
    """Whether a process of this machine deploys to a target now, by the kernel's list of locks; None if that is not
    known."""
    path = lock_path(home, target)
    try:
        inode, pid = path.stat().st_ino, path.read_text().strip()
        lines = _LOCKS.read_text().splitlines()
    except FileNotFoundError:
        return False if _LOCKS.exists() else None
    except OSError:
        return None
    return any(_is_held_by(line.split(), inode, pid) for line in lines)


def _is_held_by(place: list[str], inode: int, pid: str) -> bool:
    """Whether a line such as ``1: FLOCK ADVISORY WRITE 16333 fe:00:4112808 0 EOF`` is of a file, and of the process
    that the file names. The device is left out: it is another one where file systems lie over one another.
    """
    if "FLOCK" not in place[:-4]:
        return False
    holder, file = place[place.index("FLOCK") + 3 : place.index("FLOCK") + 5]
    return file.endswith(f":{inode}") and pid in ("", holder)
