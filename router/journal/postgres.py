"""The journal in PostgreSQL, for a controller that may start again on another machine.

The tables have a schema of their own, ``divisions`` unless the URL names another one (``?schema=team_a``), so the
database may be MLflow's too. Everything else in the URL goes to libpq: TLS, several hosts, ``target_session_attrs``.

A server may be gone, or worse, hang. The controller's loop waits for a write, so a write has a deadline for all of it
(`WRITE_S`), which does not depend on the server or the network. When a connection is lost, a thread looks for a new
one, and until then every write fails at once.

What lies in the home of the controller's machine, in ``journal-server``: the head of the journal, and its copies.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
from psycopg import errors as pg_errors
from sqlalchemy import Connection, Engine, create_engine, event, func, inspect, select, text, update
from sqlalchemy.engine.interfaces import Dialect
from sqlalchemy.exc import DBAPIError, NoResultFound, ProgrammingError, SQLAlchemyError
from sqlalchemy.pool import NullPool

from divisions.clock import SystemClock
from divisions.errors import ClusterError, DivisionsError, JournalDamagedError, JournalUnavailableError
from router.journal import fence, schema, tables, transfer
from router.journal.database import reason
from router.journal.place import NAME, has_copies
from router.journal.postgres_url import ServerUrl
from router.journal.seal import Contents, Head, Seal
from router.journal.sqlite import SqliteDatabase, copy_file
from router.journal.verify import NOBODY, load, verify

log = logging.getLogger(__name__)

WRITE_S = 2.0
"""A write that is slower fails. The controller's loop waits that long once, and then the server is away."""
OPEN_S = 60.0
"""For migrations, checks and copies, which nobody waits for."""
CONNECT_S = 3
RETRY_S = 0.5
_SESSION = {
    # A transaction whose controller was cut off must not keep the row of the next one locked.
    "idle_in_transaction_session_timeout": "5s",
    "lock_timeout": "1500ms",
    "default_transaction_isolation": "read committed",
    "application_name": "divisions-journal",
}
_DURABLE = frozenset({"on", "remote_apply"})


class TimedConnection(psycopg.Connection[Any]):
    """Its answers are waited for until ``ends_s`` (monotonic), whatever the server does."""

    ends_s: float = 0.0

    def wait(self, gen: Any, interval: float = 0.1, timeout: float | None = None) -> Any:
        left_s = max(0.0, self.ends_s - SystemClock.monotonic_s())
        try:
            return super().wait(gen, interval, left_s if timeout is None else min(timeout, left_s))
        except pg_errors._WaitTimeout:
            self.pgconn.finish()  # Its answer may still come; then it would be taken for that of the next question.
            raise psycopg.OperationalError("the server did not answer in time") from None


class PostgresDatabase:
    """See the module, and `router.journal.database.Database`.

    Args:
        url: of the setting ``DIVISIONS_DATABASE``.
        home: this machine's.
        write_s: the limit for one write.
    """

    is_shared = True
    remedy = "mend the server or the way to it; until then weights can fall, but not rise"

    def __init__(self, url: str, home: Path, *, write_s: float = WRITE_S) -> None:
        self._url = ServerUrl(url)
        self.name = f"the journal in {self._url.name}"
        self.place = home / "journal-server"
        self._home = home
        self._write_s = write_s
        self._damage_remedy = (
            "`divisions journal check` shows the journal and its copies, `divisions journal restore` brings back the "
            "newest whole one; to start anew, name another schema in DIVISIONS_DATABASE (?schema=NAME) and move "
            f"{self.place} away"
        )
        self._engine = self._make_engine()
        self._connection: Connection | None = None
        self._lock = threading.Lock()
        self._search: threading.Thread | None = None
        self._is_closed = threading.Event()
        self._lost = "it is not open"
        self._has_warned = False

    # ---- What a journal asks for ---------------------------------------------------------------------------------

    def check(self, *, with_head: bool = True) -> Seal | None:
        with self._explained(), self.view() as connection:
            found = schema.format_of(connection, self._url.schema)
            if not found:
                self._refuse_lost()
                return None
            schema.refuse_unknown(found, self.name)
            return self._verified(connection, with_head=with_head)

    def open(self) -> None:
        with self._explained():
            self._connection = self._connect()
            with self.write(OPEN_S) as connection:
                connection.execute(select(func.pg_advisory_xact_lock(_lock_number(self._url.schema))))
                found = schema.format_of(connection, self._url.schema)
                if not found:
                    self._refuse_lost()
                    self._make_schema(connection)
                    schema.create(connection)
                else:
                    schema.refuse_unknown(found, self.name)
                    self._verified(connection)
                if found and found != tables.FORMAT:
                    schema.migrate(connection, found, self._url.schema)
                contents, seal = load(connection)
            self.place.mkdir(mode=0o700, exist_ok=True)
            self.head_of(contents).write(seal)

    def head_of(self, contents: Contents) -> Head:
        return Head(self.place / f"{contents.meta.get(schema.IDENTITY, 0):016x}.head")

    def reason(self, error: BaseException) -> str:
        return self._url.redact(reason(error))

    def now_s(self, connection: Connection) -> float:
        return float(connection.execute(text("SELECT extract(epoch FROM clock_timestamp())")).scalar_one())

    @contextlib.contextmanager
    def write(self, limit_s: float | None = None) -> Iterator[Connection]:
        connection = self._ready()
        _limit(connection, self._write_s if limit_s is None else limit_s)
        try:
            with connection.begin():
                yield connection
        except BaseException as error:
            if connection.invalidated:
                self._lose(self.reason(error))
            raise

    @contextlib.contextmanager
    def read(self) -> Iterator[Connection]:
        with self.write() as connection:
            yield connection

    @contextlib.contextmanager
    def view(self) -> Iterator[Connection]:
        connection = self._connect()
        try:
            _limit(connection, OPEN_S)
            options = {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
            with connection.execution_options(**options).begin():
                yield connection
        finally:
            connection.close()

    @property
    def schema(self) -> str:
        return self._url.schema

    @contextlib.contextmanager
    def transaction(self) -> Iterator[Connection]:
        """A transaction of its own, for what is beside the journal; in all, it may take as long as a write."""
        connection = self._connect()
        try:
            _limit(connection, self._write_s)
            with connection.begin():
                yield connection
        finally:
            _discard(connection)

    def close(self) -> None:
        self._is_closed.set()
        with self._lock:
            connection, self._connection, self._lost = self._connection, None, "it is closed"
        _discard(connection)

    def copy_to(self, target: Path) -> None:
        with self.view() as connection:
            transfer.dump(connection, target)

    def replace_by(self, copy: Path, aside: Path, sleep: Callable[[float], None] = time.sleep) -> None:
        term = self._last_term(sleep)
        aside.mkdir(mode=0o700)
        with contextlib.suppress(SQLAlchemyError, psycopg.Error, sqlite3.Error, DivisionsError):
            self.copy_to(aside / NAME)  # It may be too damaged for that; a server keeps more than we do.
        restored = SqliteDatabase(aside / "restored.db")
        try:
            copy_file(copy, restored.path)
            restored.trust()
            restored.open()  # Copies of earlier releases are brought up to date here.
            restored.close()
            with self._explained(), self._renewed() as connection:
                transfer.load_file(restored.path, connection)
                connection.execute(update(tables.controller).values({**NOBODY, "term": term + 1}))
        except (sqlite3.Error, OSError) as error:
            raise ClusterError(f"{copy} cannot be copied: {reason(error)}", remedy="free space on the disk") from None
        finally:
            for left in aside.glob("restored.*"):
                left.unlink()
        self.trust()

    def trust(self) -> None:
        with self._explained(), self.view() as connection:
            contents, seal = load(connection)
        self.place.mkdir(mode=0o700, exist_ok=True)
        for head in self.place.glob("*.head"):
            head.unlink()
        self.head_of(contents).write(seal)

    def _last_term(self, sleep: Callable[[float], None]) -> int:
        """The term in the database; refuses to go on while a living controller has it."""
        try:
            with self.view() as connection:
                before, now_s = fence.read(connection), self.now_s(connection)
            if fence.is_to_be_watched(before, fence.NOBODY, now_s):
                sleep(fence.LEASE_S)
                with self.view() as connection:
                    fence.refuse_living(before, fence.read(connection), self.name)
        except (ProgrammingError, NoResultFound):  # There is none, or no more.
            return 0
        return before.term

    @contextlib.contextmanager
    def _renewed(self) -> Iterator[Connection]:
        """A transaction in which the journal's tables are new and empty."""
        connection = self._connect()
        try:
            _limit(connection, OPEN_S)
            with connection.begin():
                connection.execute(select(func.pg_advisory_xact_lock(_lock_number(self._url.schema))))
                self._make_schema(connection)
                tables.metadata.drop_all(connection)
                tables.metadata.create_all(connection)
                yield connection
        finally:
            _discard(connection)

    # ---- Connections ---------------------------------------------------------------------------------------------

    def _make_engine(self) -> Engine:
        engine = create_engine(
            self._url.for_driver,
            poolclass=NullPool,
            use_native_hstore=False,
            connect_args={"prepare_threshold": None},
            execution_options={"schema_translate_map": {None: self._url.schema}},
            hide_parameters=True,
        )

        @event.listens_for(engine, "do_connect")
        def connect(dialect: Dialect, record: object, arguments: list[Any], options: dict[str, Any]) -> TimedConnection:
            options.setdefault("connect_timeout", CONNECT_S)
            connection = TimedConnection.connect(*arguments, **options)
            connection.ends_s = SystemClock.monotonic_s() + CONNECT_S
            return connection

        return engine

    def _connect(self) -> Connection:
        connection = self._engine.connect()
        try:
            with connection.begin():
                for name, value in _SESSION.items():
                    connection.execute(select(func.set_config(name, value, False)))
                durable = connection.execute(text("SHOW synchronous_commit")).scalar_one()
                if durable not in _DURABLE:
                    connection.execute(text("SET synchronous_commit TO on"))
                if not self._has_warned and connection.execute(text("SHOW fsync")).scalar_one() != "on":
                    self._has_warned = True
                    log.warning("%s: the server has fsync off; a crash of its machine may lose decisions", self.name)
        except BaseException:
            _discard(connection)
            raise
        return connection

    def _ready(self) -> Connection:
        with self._lock:
            if self._connection is None:
                self._seek()
                raise JournalUnavailableError(f"{self.name} cannot be written: {self._lost}", remedy=self.remedy)
            return self._connection

    def _lose(self, why: str) -> None:
        with self._lock:
            connection, self._connection, self._lost = self._connection, None, why
            self._seek()
        _discard(connection)

    def _seek(self) -> None:
        """Has a thread look for a connection, if none does. The lock is held."""
        if not self._is_closed.is_set() and (self._search is None or not self._search.is_alive()):
            self._search = threading.Thread(target=self._reconnect, name="journal-connection", daemon=True)
            self._search.start()

    def _reconnect(self) -> None:
        while not self._is_closed.is_set():
            try:
                connection = self._connect()
            except (SQLAlchemyError, psycopg.Error, OSError) as error:
                with self._lock:
                    self._lost = self.reason(error)
                self._is_closed.wait(RETRY_S)
                continue
            with self._lock:
                if not self._is_closed.is_set():
                    self._connection, connection = connection, None  # type: ignore[assignment]  # discarded below
            _discard(connection)
            return

    # ---- Checks --------------------------------------------------------------------------------------------------

    def _verified(self, connection: Connection, *, with_head: bool = True) -> Seal:
        contents, seal = verify(connection)
        head = self.head_of(contents)
        if with_head and head.exists:
            head.check(seal, is_shared=True)
        elif with_head and any(self.place.glob("*.head")):
            raise JournalDamagedError(f"the heads in {self.place} are of another journal")
        return seal

    def _refuse_lost(self) -> None:
        if any(self.place.glob("*.head")) or has_copies(self.place):
            raise JournalDamagedError("it is missing, but there was one")
        embedded = self._home / NAME
        if embedded.exists():
            raise ClusterError(
                f"{self.name} is new, but this home has the journal {embedded}",
                remedy=f"`divisions journal restore {embedded}` takes it over; to start anew, move it away",
            )

    def _make_schema(self, connection: Connection) -> None:
        # Only where it is missing: who may write in a schema need not be allowed to make one.
        if self._url.schema not in inspect(connection).get_schema_names():
            connection.execute(text(f'CREATE SCHEMA "{self._url.schema}"'))

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except JournalDamagedError as error:
            raise JournalDamagedError(f"{self.name} is damaged: {error.message}", remedy=self._damage_remedy) from None
        except (DBAPIError, psycopg.Error, OSError) as error:
            if isinstance(getattr(error, "orig", error), psycopg.OperationalError | OSError):
                raise JournalUnavailableError(
                    f"{self.name} does not answer: {self.reason(error)}",
                    remedy="look at the server, and at host, user and password in DIVISIONS_DATABASE",
                ) from None
            raise ClusterError(
                f"{self.name} cannot be opened: {self.reason(error)}", remedy="look at the rights of its user"
            ) from None


def _limit(connection: Connection, seconds: float) -> None:
    driver = connection.connection.driver_connection
    assert isinstance(driver, TimedConnection)
    driver.ends_s = SystemClock.monotonic_s() + seconds


def _discard(connection: Connection | None) -> None:
    if connection is not None:
        with contextlib.suppress(SQLAlchemyError, psycopg.Error, OSError):
            connection.close()


def _lock_number(name: str) -> int:
    """Two controllers that start at once make the tables of a schema one after the other."""
    return int.from_bytes(hashlib.sha256(f"divisions {name}".encode()).digest()[:8], signed=True)
