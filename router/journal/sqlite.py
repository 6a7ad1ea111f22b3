"""The journal in a file of the home: SQLite, write-ahead log, fsynced. ``journal.head`` lies beside it.

In WAL mode SQLite survives a kill at any point: a transaction is there, or it is not.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import quote

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.pool import NullPool

from divisions.errors import ClusterError, JournalDamagedError, JournalUnavailableError
from router.journal import past, schema, tables
from router.journal.database import ERRORS, reason
from router.journal.place import has_copies, head_path
from router.journal.seal import REMEDY, Contents, Head, Seal
from router.journal.verify import load, verify

BUSY_S = 1.0
"""How long a write waits for another process that locks the file. A rollback must not wait longer."""


class SqliteDatabase:
    """See the module, and `router.journal.database.Database`.

    Args:
        path: the file; its folder exists.
        is_synchronous: whether a write is on disk when it returns. Tests that kill only the process turn it off.
    """

    is_shared = False
    remedy = "free space on its disk or mend it; until then weights can fall, but not rise"

    def __init__(self, path: Path, *, is_synchronous: bool = True) -> None:
        self.path = path
        self.name = f"the journal {path}"
        self.place = path.parent
        self._head = head_of(path, is_synchronous=is_synchronous)
        self._is_synchronous = is_synchronous
        self._engine = engine_of(self._connect, "BEGIN IMMEDIATE")
        self._connection: Connection | None = None

    def check(self, *, with_head: bool = True) -> Seal | None:
        return check_before_start(self.path) if with_head else verify_alone(self.path)

    def open(self) -> None:
        self.check()
        is_there = self.path.exists() and self.path.stat().st_size > 0
        os.close(os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600))
        try:
            self._connection = self._engine.connect()
            with self.write() as connection:
                if not is_there:
                    schema.create(connection)
                elif (found := schema.format_of(connection)) != tables.FORMAT:
                    schema.migrate(connection, found)
        except ERRORS as error:
            raise JournalUnavailableError(f"{self.name} cannot be opened: {reason(error)}", remedy=REMEDY) from None
        if not self._head.exists:
            with self.read() as connection:
                self._head.write(load(connection)[1])

    def head_of(self, contents: Contents) -> Head:
        return self._head

    def reason(self, error: BaseException) -> str:
        return reason(error)

    def now_s(self, connection: Connection) -> float:
        return 0.0

    @contextlib.contextmanager
    def write(self, limit_s: float | None = None) -> Iterator[Connection]:
        with self._opened() as connection, connection.begin():
            yield connection

    @contextlib.contextmanager
    def read(self) -> Iterator[Connection]:
        with self._opened() as connection, _deferred(connection):
            yield connection

    @contextlib.contextmanager
    def view(self) -> Iterator[Connection]:
        with engine_of(lambda: connect_to_read(self.path), "BEGIN").connect() as connection, connection.begin():
            yield connection

    def copy_to(self, target: Path) -> None:
        copy_file(self.path, target)

    def replace_by(self, copy: Path, aside: Path) -> None:
        aside.mkdir(mode=0o700)
        restored = aside / "restored.db"
        try:
            copy_file(copy, restored)
            seal = verify_alone(restored)
        except ERRORS as error:
            shutil.rmtree(aside)
            raise ClusterError(f"{copy} cannot be copied: {reason(error)}", remedy="free space on the disk") from None
        for name in (
            self.path.name,
            f"{self.path.name}-wal",
            f"{self.path.name}-shm",
            head_path(self.path).name,
        ):
            with contextlib.suppress(FileNotFoundError):
                (self.place / name).rename(aside / name)
        restored.rename(self.path)
        self.path.chmod(0o600)
        if seal is not None:
            self._head.write(seal)

    def trust(self) -> None:
        seal = verify_alone(self.path)
        head_path(self.path).unlink(missing_ok=True)
        if seal is not None:
            self._head.write(seal)

    def close(self) -> None:
        if self._connection is not None:
            with contextlib.suppress(*ERRORS):
                self._connection.close()
            self._connection = None

    @contextlib.contextmanager
    def _opened(self) -> Iterator[Connection]:
        if self._connection is None:
            raise sqlite3.ProgrammingError("it is closed")
        yield self._connection

    def _connect(self) -> sqlite3.Connection:
        db = sqlite3.connect(self.path, isolation_level=None, check_same_thread=False, timeout=BUSY_S)
        db.execute("PRAGMA journal_mode=WAL")
        db.execute(f"PRAGMA synchronous={'FULL' if self._is_synchronous else 'OFF'}")
        return db


@contextlib.contextmanager
def _deferred(connection: Connection) -> Iterator[None]:
    """A transaction that takes no lock: a read must not wait for another process."""
    with connection.execution_options(is_read=True).begin():
        try:
            yield
        finally:
            connection.execution_options(is_read=False)


def engine_of(connect: Callable[[], sqlite3.Connection], begin: str) -> Engine:
    """SQLAlchemy over connections in autocommit mode, in which it is told how to begin."""
    engine = create_engine("sqlite://", creator=connect, poolclass=NullPool)

    @event.listens_for(engine, "begin")
    def begin_transaction(connection: Connection) -> None:
        is_read = connection.get_execution_options().get("is_read", False)
        connection.exec_driver_sql("BEGIN" if is_read else begin)

    return engine


def copy_file(source: Path, target: Path) -> None:
    """Copies a journal's file into a new one, with what its write-ahead log has."""
    with (
        contextlib.closing(connect_to_read(source)) as db,
        contextlib.closing(sqlite3.connect(target)) as copy,
    ):
        db.backup(copy)
        copy.execute("PRAGMA journal_mode=DELETE")  # one file, without a write-ahead log beside it


def head_of(path: Path, *, is_synchronous: bool = True) -> Head:
    """The head of a journal's file."""
    return Head(head_path(path), is_synchronous=is_synchronous)


def check_before_start(path: Path) -> Seal | None:
    """Checks a journal without changing it; returns its seal, or None if there is none, or one without checksums.

    Raises:
        JournalDamagedError: it is damaged, empty or missing although there was one.
        ClusterError: it is no journal, or a later release wrote it.
    """
    if path.exists() and path.stat().st_size > 0:
        return verify_file(path)
    if head_of(path).exists or has_copies(path.parent):
        what = "is empty" if path.exists() else "is missing"
        raise JournalDamagedError(f"the journal {path} {what}, but there was one", remedy=REMEDY)
    return None


def verify_file(path: Path) -> Seal | None:
    """Checks a journal without changing it; returns its seal, or None for one of a release without checksums.

    Raises:
        JournalDamagedError: it is damaged.
        ClusterError: it is no journal, or a later release wrote it.
    """
    head = head_of(path)
    try:
        seal = verify_alone(path)
        if seal is None and head.exists:
            raise JournalDamagedError("its checksums are missing", remedy=REMEDY)
        if seal is not None and (seal.writes or head.exists):  # A new journal has no head before its first write.
            head.check(seal)
    except JournalDamagedError as error:
        raise JournalDamagedError(f"the journal {path} is damaged: {error.message}", remedy=error.remedy) from None
    return seal


def verify_alone(path: Path) -> Seal | None:
    """As `verify_file`, without its head: for copies."""
    try:
        with contextlib.closing(connect_to_read(path)) as db:
            (found,) = db.execute("PRAGMA integrity_check(1)").fetchone()
            if found != "ok":
                raise JournalDamagedError(f"SQLite finds: {' '.join(str(found).split())}", remedy=REMEDY)
            with engine_of(lambda: connect_to_read(path), "BEGIN").connect() as connection, connection.begin():
                version = schema.format_of(connection)
                if version == tables.FORMAT:
                    return verify(connection)[1]
            if version == "0001":
                past.verify_without_sums(db)
                return None
            if version == "0002":
                return past.verify_second(db)
    except (*ERRORS, TypeError, ValueError) as error:
        raise JournalDamagedError(f"it cannot be read: {reason(error)}", remedy=REMEDY) from None
    if not version:
        raise JournalDamagedError("it has no tables", remedy=REMEDY)
    schema.refuse_unknown(version, f"the journal {path}")
    return None


def connect_to_read(path: Path) -> sqlite3.Connection:
    """A connection that changes nothing. One that may write merges the write-ahead log when it is closed."""
    return sqlite3.connect(
        f"file:{quote(str(path))}?mode=ro", uri=True, isolation_level=None, timeout=BUSY_S, check_same_thread=False
    )
