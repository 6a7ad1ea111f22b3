"""The transactions of the one controller that writes: fenced, sealed, and made once whatever the connection does.

A write can end in three ways: it was written, it was not, or nobody knows, because the connection was lost between
COMMIT and its answer. In the last case the next transaction finds out by the seal. Its caller was told that the write
failed. So an entry that is there after all is taken back, in the transaction of the next write, which may be the same
entry again. Other writes stay: they only repeat what is true.
"""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from sqlalchemy import Connection, delete, select, update

from divisions.errors import JournalUnavailableError
from router.journal import fence, tables
from router.journal.database import ERRORS, Database
from router.journal.fence import Held, Holder
from router.journal.seal import Contents, Seal
from router.journal.verify import load


@dataclass(frozen=True, slots=True)
class _Unknown:
    """A write of which it is not known whether it is in the database."""

    contents: Contents
    seal: Seal
    seq: int
    """Of the entry that it appended; 0 for other writes."""


class Transactions:
    """See the module. `open` comes first.

    Args:
        database: where the journal is.
        before_write: called before each write with its kind.
        after_write: called after each write.
        holder: who writes.

    Attributes:
        contents: what the journal holds, as this controller left it.
    """

    def __init__(
        self,
        database: Database,
        before_write: Callable[[str], None],
        after_write: Callable[[str], None],
        holder: Holder,
    ) -> None:
        self._database = database
        self._before_write = before_write
        self._after_write = after_write
        self._holder = holder
        self._token = secrets.token_hex(16)
        self._unknown: _Unknown | None = None
        self._orphan_seq = 0
        self._is_mine = False
        self.contents = Contents()

    def open(self, sleep: Callable[[float], None]) -> None:
        """Opens the database, and takes the next term. Raises what `router.journal.journal.Journal` does."""
        self._database.open()
        try:
            self._wait_for_silence(sleep)
            self._start()
        except BaseException:
            self._database.close()
            raise

    def beat(self) -> None:
        """Where machines share the journal: shows that this controller lives, and that it may still write."""
        if self._database.is_shared:
            with self._explained(), self._database.write() as connection:
                self._check(connection)
                fence.beat(connection, self._database.now_s(connection))

    def _wait_for_silence(self, sleep: Callable[[float], None]) -> None:
        """Refuses a journal that a living controller of another cluster writes."""
        if not self._database.is_shared:
            return
        with self._explained(), self._database.read() as connection:
            before = fence.read(connection)
            now_s = self._database.now_s(connection)
        if fence.is_to_be_watched(before, self._holder, now_s):
            sleep(fence.LEASE_S)
            with self._explained(), self._database.read() as connection:
                fence.refuse_living(before, fence.read(connection), self._database.name)

    def _start(self) -> None:
        """Reads what there is and takes the next term; where nothing can be written, with the first write."""
        with self.reading() as connection:
            self._held = fence.read(connection)
            self._load(connection)
        with contextlib.suppress(JournalUnavailableError), self._explained():
            self._before_write("TERM")
            with self._database.write() as connection:
                held = fence.take(connection, self._held, self._holder, self._token, self._database.now_s(connection))
                self._load(connection)  # Until now an older controller may have written.
            self._held, self._is_mine = held, True

    def _load(self, connection: Connection) -> None:
        self.contents, self._seal = load(connection)
        self._head = self._database.head_of(self.contents)

    def write(
        self,
        kind: str,
        change: Callable[[Connection, Contents], Contents],
        *,
        is_entry: bool = False,
    ) -> None:
        """One write and its seal, between the two places where tests inject faults.

        Args:
            kind: for the tests.
            change: makes it; returns the contents after it.
            is_entry: whether it appends an entry, which a caller that gives up must not find later.
        """
        with self._explained():
            self._before_write(kind)
            self._catch_up()
            with self._database.write() as connection:
                held = self._check(connection)
                if self._orphan_seq:
                    connection.execute(delete(tables.journal).where(tables.journal.c.seq == self._orphan_seq))
                contents = change(connection, self.contents)
                seal = Seal(self._seal.writes + 1, contents.state(), self._seal.state)
                connection.execute(update(tables.seal).values(writes=seal.writes, state=seal.state, before=seal.before))
                written = self._unknown = _Unknown(contents, seal, contents.last_seq if is_entry else 0)
        self.contents, self._seal, self._held, self._is_mine = written.contents, written.seal, held, True
        self._unknown, self._orphan_seq = None, 0
        self._after_write(kind)
        with contextlib.suppress(OSError):  # The head may be one write behind; the next write catches up first.
            self._head.write(self._seal)

    def _check(self, connection: Connection) -> Held:
        """Whether this controller may write, and whether the journal is as it left it; inside of a transaction.

        Finds out what became of the last write, if that is unknown, and takes the term if that was not possible yet.

        Args:
            connection: in the transaction.

        Raises:
            JournalFencedError: another controller has a later term.
            JournalUnavailableError: another state is there.
        """
        held = self._held
        if self._is_mine:
            fence.check(connection, held)
        elif (found := fence.read(connection, is_locked=True)).token == self._token:
            held = found  # taken, though the answer was lost
        else:
            held = fence.take(connection, held, self._holder, self._token, self._database.now_s(connection))
        writes, state = connection.execute(select(tables.seal.c.writes, tables.seal.c.state)).one()
        unknown = self._unknown
        if unknown is not None and (writes, state) == (unknown.seal.writes, unknown.seal.state):
            self._seal, self._unknown, self._orphan_seq = unknown.seal, None, unknown.seq
            if not unknown.seq:
                self.contents = unknown.contents
        elif (writes, state) == (self._seal.writes, self._seal.state):
            self._unknown = None
        else:
            raise JournalUnavailableError(
                f"{self._database.name} is not as this controller left it ({writes:,} writes instead of "
                f"{self._seal.writes:,}): another program has changed it, or an older backup of it was restored",
                remedy="bring back the newest state; or run `divisions down`, `divisions journal restore` and "
                "`divisions up`",
            )
        return held

    def _catch_up(self) -> None:
        """Brings the head up to date. Without it, a database of this machine cannot be trusted after a crash."""
        try:
            self._head.catch_up(self._seal)
        except OSError:
            if not self._database.is_shared:
                raise

    @contextlib.contextmanager
    def reading(self) -> Iterator[Connection]:
        with self._explained("read"), self._database.read() as connection:
            yield connection

    @contextlib.contextmanager
    def _explained(self, what: str = "written") -> Iterator[None]:
        try:
            yield
        except ERRORS as error:
            raise JournalUnavailableError(
                f"{self._database.name} cannot be {what}: {self._database.reason(error)}", remedy=self._database.remedy
            ) from None
