"""The controller's memory: an append-only journal in SQLite. A decision is on disk before it is carried out.

==========  =====================================================================================================
table       holds
==========  =====================================================================================================
journal     every transition: number, time, endpoint, kind, generation, epoch, a line for people, the record after it
snapshot    per endpoint, the latest evidence; replaced every 10 s
version     every version that was ever deployed, for a way back to it
meta        the highest epoch ever published, and how often the controller has started
seal        a checksum of all of that, see `router.control.journal_seal`
==========  =====================================================================================================

The record after a transition is stored whole. It says what should run and how traffic is split, so it is the intent as
well. Replay reads the last record of each endpoint. Writes are fsynced (``synchronous=FULL``) before they return. In
WAL mode SQLite survives a kill at any point: a transaction is there, or it is not.
"""

from __future__ import annotations

import contextlib
import enum
import sqlite3
from collections.abc import Callable
from dataclasses import astuple, dataclass
from pathlib import Path

import msgspec

from divisions.control import VersionSpec
from divisions.errors import JournalUnavailableError
from router.control.journal_file import head_of, open_database, transaction
from router.control.journal_seal import Seal, last_chain, read_seal, row_sum, state_of
from router.rollouts.analysis import AnalysisSnapshot
from router.rollouts.records import EndpointRecord
from router.rollouts.states import Phase

_SET_META = "INSERT OR REPLACE INTO meta VALUES (?, ?)"
_APPEND = (
    "INSERT INTO journal (seq, at_s, endpoint, kind, generation, epoch, note, record, chain) VALUES (?,?,?,?,?,?,?,?,?)"
)


class Kind(enum.StrEnum):
    CREATED = "CREATED"
    STARTED = "STARTED"
    SHADOWED = "SHADOWED"
    STEP_INTENT = "STEP_INTENT"
    STEP_APPLIED = "STEP_APPLIED"
    DECISION = "DECISION"
    ROLLBACK_INTENT = "ROLLBACK_INTENT"
    ROLLBACK_APPLIED = "ROLLBACK_APPLIED"
    DRAINED = "DRAINED"
    PROMOTED = "PROMOTED"
    HELD = "HELD"
    RESUMED = "RESUMED"
    QUEUED = "QUEUED"
    RETIRED = "RETIRED"


_KINDS = {
    Phase.WARMING: Kind.STARTED,
    Phase.SHADOW: Kind.SHADOWED,
    Phase.STEP: Kind.STEP_INTENT,
    Phase.BAKE: Kind.STEP_INTENT,
    Phase.HOLD: Kind.HELD,
    Phase.ROLLING_BACK: Kind.ROLLBACK_INTENT,
    Phase.DRAINING: Kind.ROLLBACK_APPLIED,
    Phase.ROLLED_BACK: Kind.DRAINED,
    Phase.PROMOTED: Kind.PROMOTED,
}
_RESUMED = frozenset({Phase.PENDING, Phase.WARMING, Phase.SHADOW, Phase.STEP, Phase.BAKE})


def kind_of(phase: Phase, *, was_held: bool) -> Kind:
    """What the journal calls a transition into a phase."""
    return Kind.RESUMED if was_held and phase in _RESUMED else _KINDS[phase]


@dataclass(frozen=True, slots=True)
class JournalEntry:
    """One line, without the record."""

    seq: int
    at_s: float
    endpoint: str
    kind: Kind
    generation: int
    epoch: int
    note: str


class Journal:
    """Opens, appends and replays. One process writes; others may read.

    Args:
        path: the database's file; its folder exists. ``journal.head`` lies beside it.
        before_write: called before each write with its kind; tests kill the controller there.
        after_write: called after each write, before it is carried out; tests kill the controller there too.
        is_synchronous: whether a write is on disk when it returns. Tests that kill only the process turn it off.

    Raises:
        JournalDamagedError: the journal is damaged, empty or missing although there was one.
        ClusterError: the file is not a journal of this release, or cannot be opened.
    """

    def __init__(
        self,
        path: Path,
        before_write: Callable[[str], None] = lambda kind: None,
        after_write: Callable[[str], None] = lambda kind: None,
        *,
        is_synchronous: bool = True,
    ) -> None:
        self._path = path
        self._before_write = before_write
        self._after_write = after_write
        self._head = head_of(path, is_synchronous=is_synchronous)
        self._db = open_database(path, self._head, is_synchronous=is_synchronous)
        self._seal = read_seal(self._db)

    def append(self, kind: Kind, record: EndpointRecord, *, at_s: float, epoch: int, note: str) -> None:
        """Writes a transition; it is on disk when this returns.

        Raises:
            JournalUnavailableError: the journal cannot be written, and nothing was. So do all methods that write.
        """
        body = msgspec.json.encode(record)
        last, chain = last_chain(self._db)
        row = (last + 1, at_s, record.endpoint, kind.value, record.generation, epoch, note, body)
        self._write(kind.value, _APPEND, (*row, row_sum(*row, before=chain)))

    def replay(self) -> dict[str, EndpointRecord]:
        """The last record of every endpoint."""
        rows = self._db.execute(
            "SELECT record FROM journal WHERE seq IN (SELECT max(seq) FROM journal GROUP BY endpoint) ORDER BY endpoint"
        )
        records = (msgspec.json.decode(row[0], type=EndpointRecord) for row in rows)
        return {record.endpoint: record for record in records}

    def entries(self, endpoint: str) -> list[JournalEntry]:
        """Every line of an endpoint, oldest first."""
        rows = self._db.execute(
            "SELECT seq, at_s, endpoint, kind, generation, epoch, note FROM journal WHERE endpoint = ? ORDER BY seq",
            (endpoint,),
        )
        return [
            JournalEntry(seq, at_s, name, Kind(kind), generation, epoch, note)
            for seq, at_s, name, kind, generation, epoch, note in rows
        ]

    def save_snapshot(self, endpoint: str, number: int, snapshot: AnalysisSnapshot) -> None:
        body = msgspec.msgpack.encode(snapshot)
        row = (endpoint, number, body)
        self._write("SNAPSHOT", "INSERT OR REPLACE INTO snapshot VALUES (?,?,?,?)", (*row, row_sum(*row)))

    def snapshot(self, endpoint: str, number: int) -> AnalysisSnapshot | None:
        """The latest evidence of the rollout of that number; None if there is none."""
        row = self._db.execute(
            "SELECT body FROM snapshot WHERE endpoint = ? AND rollout = ?", (endpoint, number)
        ).fetchone()
        return msgspec.msgpack.decode(row[0], type=AnalysisSnapshot) if row else None

    def save_version(self, endpoint: str, version: VersionSpec) -> None:
        body = msgspec.json.encode(version)
        row = (endpoint, version.version, body)
        self._write("VERSION", "INSERT OR REPLACE INTO version VALUES (?,?,?,?)", (*row, row_sum(*row)))

    def version(self, endpoint: str, version: str) -> VersionSpec | None:
        row = self._db.execute(
            "SELECT spec FROM version WHERE endpoint = ? AND version = ?", (endpoint, version)
        ).fetchone()
        return msgspec.json.decode(row[0], type=VersionSpec) if row else None

    def versions(self, endpoint: str) -> list[str]:
        rows = self._db.execute("SELECT version FROM version WHERE endpoint = ? ORDER BY rowid", (endpoint,))
        return [str(row[0]) for row in rows]

    def app_names(self) -> set[str]:
        """Every application that the controller may ever have started."""
        rows = self._db.execute("SELECT spec FROM version")
        return {msgspec.json.decode(row[0], type=VersionSpec).app_name for row in rows}

    @property
    def epoch(self) -> int:
        """The highest epoch ever published."""
        return self._meta("epoch", 0)

    def reserve_epoch(self, epoch: int) -> None:
        """Notes an epoch *before* it is published, so that a restarted controller publishes only higher ones."""
        self._write("EPOCH", _SET_META, ("epoch", epoch))

    @property
    def starts(self) -> int:
        """How often a controller has started on this journal."""
        return self._meta("starts", 0)

    def count_start(self) -> int:
        """Notes a start; returns how often a controller has started on this journal, this time included."""
        starts = self.starts + 1
        self._write("START", _SET_META, ("starts", starts))
        return starts

    def rollbacks(self) -> dict[tuple[str, str], int]:
        """How many rollouts each guard has rolled back, by endpoint and guard."""
        rows = self._db.execute("SELECT record FROM journal WHERE kind = ? ORDER BY seq", (Kind.ROLLBACK_INTENT.value,))
        records = (msgspec.json.decode(row[0], type=EndpointRecord) for row in rows)
        # A rollback that had to start stable's replicas first has two intents.
        guards = {
            (record.endpoint, record.rollout.number): record.rollout.explanation.guard
            for record in records
            if record.rollout.explanation is not None
        }
        counts: dict[tuple[str, str], int] = {}
        for (endpoint, _), guard in guards.items():
            counts[endpoint, guard] = counts.get((endpoint, guard), 0) + 1
        return counts

    def close(self) -> None:
        with contextlib.suppress(sqlite3.Error):
            self._db.close()

    def _meta(self, name: str, default: int) -> int:
        row = self._db.execute("SELECT value FROM meta WHERE name = ?", (name,)).fetchone()
        return int(row[0]) if row else default

    def _write(self, kind: str, statement: str, values: tuple[object, ...]) -> None:
        """One write and its seal, between the two places where tests inject faults."""
        try:
            self._before_write(kind)
            self._head.catch_up(self._seal)
            with transaction(self._db):
                self._db.execute(statement, values)
                seal = Seal(self._seal.writes + 1, state_of(self._db), self._seal.state)
                self._db.execute("UPDATE seal SET writes = ?, state = ?, before = ?", astuple(seal))
        except (sqlite3.Error, OSError) as error:
            raise JournalUnavailableError(
                f"the journal {self._path} cannot be written: {error}",
                remedy="free space on its disk or mend it; until then weights can fall, but not rise",
            ) from None
        self._seal = seal
        self._after_write(kind)
        with contextlib.suppress(OSError):  # The head may be one write behind; the next write catches up first.
            self._head.write(seal)
