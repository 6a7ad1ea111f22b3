"""Writes to the journal, and keeps in memory what must not wait for it.

A disk may be full, and a database away. Then a canary that fails must still lose its traffic, at once. So there are two
ways to write:

- `append`: the entry is on disk when it returns, or `JournalUnavailableError` is raised and nothing has happened;
- `append_or_keep`: tries the disk; if that fails, the entry is kept in memory and the caller goes on. Only
  transitions that lower a weight or hold it are written so (`router.rollouts.transitions.PRECEDES_JOURNAL`).

Kept entries go to disk first, in order, with the next write or `flush`, which every tick calls. Until then, epochs that
are published are not on disk either. So a controller that restarts meanwhile finds gateways with epochs that its
journal does not know, and concludes that its journal is behind (`router.control.table_store`). The first such epoch
leaps, by a number that depends on the time, so that two controllers do not publish the same one."""

from __future__ import annotations

import contextlib
import logging
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from divisions.clock import Clock
from divisions.control import VersionSpec
from divisions.errors import JournalFencedError, JournalUnavailableError
from router.journal.fence import BEAT_S
from router.journal.journal import Journal, Kind
from router.rollouts.analysis import AnalysisSnapshot
from router.rollouts.records import EndpointRecord

log = logging.getLogger(__name__)

EPOCH_LEAP = 1_000
"""More tables than a restarted controller publishes before the first gateway has asked it for one."""
LEAP_PER_S = 100
"""More tables than a controller publishes in a second; so leaps at different seconds give different epochs."""
LEAP_REPEATS_S = 10_000
MAX_KEPT = 1_000
"""Entries that are kept. Of more, the oldest is dropped: replay needs only the last one of each endpoint."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A line of the journal, see `Journal.append`."""

    kind: Kind
    record: EndpointRecord
    at_s: float
    epoch: int
    note: str


class JournalWriter:
    """See the module.

    Args:
        journal: opened.
        clock: the time.
    """

    def __init__(self, journal: Journal, clock: Clock) -> None:
        self._journal = journal
        self._clock = clock
        self._kept: deque[Entry] = deque(maxlen=MAX_KEPT)
        self._kept_epoch = 0
        self._reason = ""
        self._failed_at_s = 0.0
        self._beat_s = 0.0
        self.is_fenced = False
        """Whether another controller has taken over. Then this one must end."""

    def append(self, entry: Entry) -> None:
        """Writes an entry; it is on disk when this returns.

        Raises:
            JournalUnavailableError: nothing was written.
        """
        self._flush()
        self._write(entry)

    def append_or_keep(self, entry: Entry) -> bool:
        """Writes an entry, or keeps it until the journal can be written again; returns whether it was written."""
        try:
            self.append(entry)
        except JournalUnavailableError:
            self._kept.append(entry)
            return False
        return True

    def save_version(self, endpoint: str, version: VersionSpec) -> None:
        """Writes a version, for a way back to it.

        Raises:
            JournalUnavailableError: nothing was written.
        """
        self._flush()
        self._try(lambda: self._journal.save_version(endpoint, version))

    def save_snapshot(self, endpoint: str, number: int, snapshot: AnalysisSnapshot) -> bool:
        """Writes evidence, if it can; a lost snapshot costs power and not validity. Returns whether it was written."""
        try:
            self._try(lambda: self._journal.save_snapshot(endpoint, number, snapshot))
        except JournalUnavailableError:
            return False
        return True

    def next_epoch(self, epoch: int) -> int:
        """The epoch after ``epoch``. It is on disk before this returns, unless the journal cannot be written."""
        try:
            self._flush()
            self._try(lambda: self._journal.reserve_epoch(epoch + 1))
        except JournalUnavailableError:
            self._kept_epoch = epoch + (1 if self._kept_epoch else self.leap())
            return self._kept_epoch
        return epoch + 1

    def leap(self) -> int:
        """How far epochs leap now, so that no other controller has published the next ones."""
        return EPOCH_LEAP + int(self._clock.wall_s()) % LEAP_REPEATS_S * LEAP_PER_S

    def count_start(self) -> int:
        """Notes a start, if it can; returns how often a controller has started, this time included."""
        starts = self._journal.starts + 1
        with contextlib.suppress(JournalUnavailableError):
            self._try(self._journal.count_start)
        return starts

    def flush(self) -> None:
        """Writes what was kept, if it can be written now; and notices, while nothing is written, that it cannot."""
        with contextlib.suppress(JournalUnavailableError):
            if self._reason:
                self._flush()
            elif self._clock.monotonic_s() - self._beat_s >= BEAT_S:
                self._beat_s = self._clock.monotonic_s()
                self._try(self._journal.beat)

    def prune(self) -> None:
        """Removes from the journal what nothing needs any more, if it can be written."""
        with contextlib.suppress(JournalUnavailableError):
            self._try(self._journal.prune)

    @property
    def fault(self) -> str:
        """Why the journal cannot be written, and since when; empty while all is on disk."""
        if not self._reason:
            return ""
        since = datetime.fromtimestamp(self._failed_at_s, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
        waiting = f"; {len(self._kept)} transitions wait in memory" if self._kept else ""
        return f"{self._reason} (since {since}{waiting})"

    @property
    def num_kept(self) -> int:
        return len(self._kept)

    def is_kept(self, endpoint: str) -> bool:
        """Whether transitions of the endpoint are not on disk yet."""
        return any(entry.record.endpoint == endpoint for entry in self._kept)

    def _flush(self) -> None:
        if not self._reason:
            return
        while self._kept:
            self._write(self._kept[0])
            self._kept.popleft()
        self._try(lambda: self._journal.reserve_epoch(max(self._kept_epoch, self._journal.epoch)))
        log.warning("the journal can be written again")
        self._kept_epoch, self._reason = 0, ""

    def _write(self, entry: Entry) -> None:
        self._try(
            lambda: self._journal.append(entry.kind, entry.record, at_s=entry.at_s, epoch=entry.epoch, note=entry.note)
        )

    def _try(self, write: Callable[[], object]) -> None:
        try:
            write()
        except JournalUnavailableError as error:
            if not self._reason:
                self._failed_at_s = self._clock.wall_s()
                log.error("%s", error)
            self._reason = error.message
            raise
        except JournalFencedError as error:
            if not self.is_fenced:
                log.error("%s", error)
            self.is_fenced = True
            raise
