"""The journal itself: append, replay, prune. Each write is one transaction, and on disk before it returns.

The record after a transition is stored whole. It says what should run and how traffic is split, so it is the intent as
well. Replay reads the last record of each endpoint.
"""

from __future__ import annotations

import enum
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import msgspec
from sqlalchemy import Connection, Select, delete, insert, select

from divisions.control import VersionSpec
from router.journal import pruning, tables
from router.journal.database import Database
from router.journal.fence import NOBODY, Holder
from router.journal.seal import Contents, row_sum
from router.journal.transactions import Transactions
from router.journal.verify import version_sum
from router.rollouts.analysis import AnalysisSnapshot
from router.rollouts.records import EndpointRecord
from router.rollouts.states import Phase


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
    KEPT = "KEPT"
    SCALED = "SCALED"
    BARRED = "BARRED"
    APPROVED = "APPROVED"


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
    """See the module. One process writes, see `router.journal.fence`; others may read.

    Args:
        database: where it is; opened here.
        before_write: called before each write with its kind; tests kill the controller there.
        after_write: called after each write, before it is carried out; tests kill the controller there too.
        holder: who this is.
        sleep: waits for some seconds.

    Raises:
        JournalDamagedError: the journal is damaged, empty or missing although there was one.
        JournalHeldError: a living controller of another cluster writes it.
        JournalUnavailableError: the server does not answer.
        ClusterError: it is not a journal of this release, or cannot be opened.
    """

    def __init__(
        self,
        database: Database,
        before_write: Callable[[str], None] = lambda kind: None,
        after_write: Callable[[str], None] = lambda kind: None,
        *,
        holder: Holder = NOBODY,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._database = database
        self._transactions = Transactions(database, before_write, after_write, holder)
        self._transactions.open(sleep)

    # ---- Writes --------------------------------------------------------------------------------------------------

    def append(self, kind: Kind, record: EndpointRecord, *, at_s: float, epoch: int, note: str) -> None:
        """Writes a transition; it is on disk when this returns.

        Raises:
            JournalUnavailableError: the journal cannot be written, and nothing was. So do all methods that write.
            JournalFencedError: another controller has taken over, and nothing was. So do all methods that write.
        """
        body = msgspec.json.encode(record)
        note = note.replace("\0", "\N{REPLACEMENT CHARACTER}")  # PostgreSQL has no place for it

        def change(connection: Connection, contents: Contents) -> Contents:
            row = (contents.last_seq + 1, at_s, record.endpoint, kind.value, record.generation, epoch, note, body)
            return pruning.append(connection, contents, row)

        self._transactions.write(kind.value, change, is_entry=True)

    def save_snapshot(self, endpoint: str, number: int, snapshot: AnalysisSnapshot) -> None:
        body = msgspec.msgpack.encode(snapshot)
        checksum = row_sum(endpoint, number, body)

        def change(connection: Connection, contents: Contents) -> Contents:
            connection.execute(delete(tables.snapshot).where(tables.snapshot.c.endpoint == endpoint))
            connection.execute(
                insert(tables.snapshot).values(endpoint=endpoint, rollout=number, body=body, sum=checksum)
            )
            return replace(contents, snapshots={**contents.snapshots, endpoint: checksum})

        self._transactions.write("SNAPSHOT", change)

    def save_version(self, endpoint: str, version: VersionSpec) -> None:
        body = msgspec.json.encode(version)
        name = version.version

        def change(connection: Connection, contents: Contents) -> Contents:
            number = 1 + max((number for number, _ in contents.versions.values()), default=0)
            checksum = version_sum(endpoint, name, body, number)
            connection.execute(_this_version(delete(tables.version), endpoint, name))
            connection.execute(
                insert(tables.version).values(endpoint=endpoint, version=name, spec=body, sum=checksum, number=number)
            )
            return replace(contents, versions={**contents.versions, (endpoint, name): (number, checksum)})

        self._transactions.write("VERSION", change)

    def reserve_epoch(self, epoch: int) -> None:
        """Notes an epoch *before* it is published, so that a restarted controller publishes only higher ones."""
        self._set_meta("EPOCH", "epoch", epoch)

    def count_start(self) -> int:
        """Notes a start; returns how often a controller has started on this journal, this time included."""
        starts = self.starts + 1
        self._set_meta("START", "starts", starts)
        return starts

    def prune(self) -> bool:
        """Removes what nothing needs any more, see `router.journal.pruning`; returns whether there was something."""
        plan = pruning.plan(self._contents)
        if plan is None:
            return False
        self._transactions.write("PRUNE", plan.carry_out)
        return True

    def beat(self) -> None:
        """Where machines share the journal: shows that this controller lives, and that it may still write."""
        self._transactions.beat()

    # ---- What it holds -------------------------------------------------------------------------------------------

    def replay(self) -> dict[str, EndpointRecord]:
        """The last record of every endpoint."""
        with self._transactions.reading() as connection:
            rows = connection.execute(pruning.LAST_RECORDS).all()
        records = (msgspec.json.decode(row.record, type=EndpointRecord) for row in rows)
        return {record.endpoint: record for record in records}

    def entries(self, endpoint: str) -> list[JournalEntry]:
        """Every line of an endpoint that was not pruned, oldest first."""
        columns = tables.journal.c
        statement = (
            select(
                *(columns.seq, columns.at_s, columns.endpoint, columns.kind),
                *(columns.generation, columns.epoch, columns.note),
            )
            .where(columns.endpoint == endpoint)
            .order_by(columns.seq)
        )
        with self._transactions.reading() as connection:
            rows = connection.execute(statement).all()
        return [
            JournalEntry(row.seq, row.at_s, row.endpoint, Kind(row.kind), row.generation, row.epoch, row.note)
            for row in rows
        ]

    def snapshot(self, endpoint: str, number: int) -> AnalysisSnapshot | None:
        """The latest evidence of the rollout of that number; None if there is none."""
        columns = tables.snapshot.c
        body = self._body(select(columns.body).where(columns.endpoint == endpoint, columns.rollout == number))
        return msgspec.msgpack.decode(body, type=AnalysisSnapshot) if body is not None else None

    def version(self, endpoint: str, version: str) -> VersionSpec | None:
        body = self._body(_this_version(select(tables.version.c.spec), endpoint, version))
        return msgspec.json.decode(body, type=VersionSpec) if body is not None else None

    def versions(self, endpoint: str) -> list[str]:
        """The names of the endpoint's versions, in the order in which they were deployed last."""
        numbers = sorted(
            (number, name) for (place, name), (number, _) in self._contents.versions.items() if place == endpoint
        )
        return [name for _, name in numbers]

    def app_names(self) -> set[str]:
        """Every application that the controller may ever have started."""
        with self._transactions.reading() as connection:
            bodies = connection.execute(select(tables.version.c.spec)).scalars().all()
        return {msgspec.json.decode(body, type=VersionSpec).app_name for body in bodies}

    def rollbacks(self) -> dict[tuple[str, str], int]:
        """How many rollouts each guard has rolled back, by endpoint and guard."""
        with self._transactions.reading() as connection:
            return pruning.rollbacks(connection, self._contents)

    @property
    def epoch(self) -> int:
        """The highest epoch ever published."""
        return self._contents.meta.get("epoch", 0)

    @property
    def starts(self) -> int:
        """How often a controller has started on this journal."""
        return self._contents.meta.get("starts", 0)

    @property
    def may_be_behind(self) -> bool:
        """Whether an older backup may have been restored unseen: a machine without the head cannot know."""
        return self._database.is_shared

    def close(self) -> None:
        self._database.close()

    def _set_meta(self, kind: str, name: str, value: int) -> None:
        def change(connection: Connection, contents: Contents) -> Contents:
            return pruning.set_meta(connection, contents, name, value)

        self._transactions.write(kind, change)

    def _body(self, statement: Select[Any]) -> bytes | None:
        with self._transactions.reading() as connection:
            found: bytes | None = connection.execute(statement).scalar()
        return found

    @property
    def _contents(self) -> Contents:
        return self._transactions.contents


def _this_version(statement: Any, endpoint: str, name: str) -> Any:
    return statement.where(tables.version.c.endpoint == endpoint, tables.version.c.version == name)
