"""MLflow's database as its migrations make it, kept in the user's cache: a new home copies it in place of migrating.

Migrations take most of a second of processor time. What they make depends on MLflow only: it has no path and no time.
So a template's name has MLflow's version and the names of its migrations, of which another MLflow has others. Its first
bytes are the hash of the rest: what is damaged or half written is not taken, and is made anew.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from pathlib import Path

from divisions.deployment import write_private
from divisions.environment import cache_folder

_HASH_BYTES = 32
_OTHERS_MAY_WRITE = 0o022


def read_template() -> bytes:
    """The database, for this MLflow; empty if there is none that can be trusted."""
    path = _place()
    if path is None:
        return b""
    with contextlib.suppress(OSError), path.open("rb") as file:
        found = os.fstat(file.fileno())
        if found.st_uid != os.geteuid() or found.st_mode & _OTHERS_MAY_WRITE:
            return b""
        given, database = file.read(_HASH_BYTES), file.read()
        if hashlib.sha256(database).digest() == given:
            return database
    return b""


def keep_template(database: bytes) -> None:
    """Keeps what migrations have just made, if the cache can be written. Of two at once, one stays."""
    path = _place()
    if path is not None:
        with contextlib.suppress(OSError):
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            write_private(path, hashlib.sha256(database).digest() + database)


def _place() -> Path | None:
    import mlflow
    from mlflow.store import db_migrations

    folder = cache_folder()
    if folder is None:
        return None
    migrations = sorted(path.name for path in Path(db_migrations.__path__[0]).glob("versions/*.py"))
    known = hashlib.sha256("\n".join([mlflow.__version__, *migrations]).encode()).hexdigest()
    return folder / f"mlflow-{mlflow.__version__}-{known[:16]}.db"
