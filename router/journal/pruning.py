"""What the journal forgets, so that nothing in it grows for ever.

- Of the entries the last `KEEP_ENTRIES` stay, about a hundred rollouts. The last entry of an endpoint that was quiet
  for so long is written again before it goes, as ``KEPT``: replay needs it. How often each guard rolled back is kept
  as a number.
- Of an endpoint's versions the `KEEP_VERSIONS` that were deployed last stay, and those in use. A rollback can go to
  any of them.

The chain goes on from the last entry that went: the table ``anchor`` has it. Pruning waits until twice as much is
there, so it is rare.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import msgspec
from sqlalchemy import Connection, Row, delete, func, insert, select, update

from router.journal import tables
from router.journal.seal import Contents, row_sum
from router.rollouts.records import EndpointRecord

KEEP_ENTRIES = 1_000
KEEP_VERSIONS = 50
KEPT = "KEPT"
ROLLBACK = "ROLLBACK_INTENT"
_COUNT = "rollbacks "
"""``meta`` has the rollbacks of entries that went, as ``rollbacks ENDPOINT GUARD``."""

LAST_RECORDS = (
    select(tables.journal)
    .where(tables.journal.c.seq.in_(select(func.max(tables.journal.c.seq)).group_by(tables.journal.c.endpoint)))
    .order_by(tables.journal.c.endpoint)
)


def append(connection: Connection, contents: Contents, row: tuple[object, ...]) -> Contents:
    """Appends an entry; ``row`` has its columns without the chain."""
    chain = row_sum(*row, before=contents.chain)
    names = [column.name for column in tables.journal.c]
    connection.execute(insert(tables.journal).values(dict(zip(names, (*row, chain), strict=True))))
    return replace(contents, last_seq=contents.last_seq + 1, chain=chain)


def set_meta(connection: Connection, contents: Contents, name: str, value: int) -> Contents:
    connection.execute(delete(tables.meta).where(tables.meta.c.name == name))
    connection.execute(insert(tables.meta).values(name=name, value=value))
    return replace(contents, meta={**contents.meta, name: value})


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to go.

    Attributes:
        seq: the last entry that goes; that of the anchor if none does.
        versions: by endpoint and name; those in use stay all the same.
    """

    seq: int
    versions: tuple[tuple[str, str], ...]

    def carry_out(self, connection: Connection, contents: Contents) -> Contents:
        last = connection.execute(LAST_RECORDS).all()
        if self.seq > contents.anchor_seq:
            contents = self._forget_entries(connection, contents, last)
        return self._forget_versions(connection, contents, last)

    def _forget_entries(
        self, connection: Connection, contents: Contents, last: Sequence[Row[tuple[object, ...]]]
    ) -> Contents:
        for (endpoint, guard), count in _rollbacks(connection, until=self.seq).items():
            name = f"{_COUNT}{endpoint} {guard}"
            contents = set_meta(connection, contents, name, contents.meta.get(name, 0) + count)
        for row in last:
            if row.seq <= self.seq:
                values = (row.at_s, row.endpoint, KEPT, row.generation, row.epoch, row.note, row.record)
                contents = append(connection, contents, (contents.last_seq + 1, *values))
        chain = connection.execute(select(tables.journal.c.chain).where(tables.journal.c.seq == self.seq)).scalar_one()
        connection.execute(update(tables.anchor).values(seq=self.seq, chain=chain))
        connection.execute(delete(tables.journal).where(tables.journal.c.seq <= self.seq))
        return replace(contents, anchor_seq=self.seq, anchor=chain)

    def _forget_versions(
        self, connection: Connection, contents: Contents, last: Sequence[Row[tuple[object, ...]]]
    ) -> Contents:
        used = {(row.endpoint, name) for row in last for name in _names_in_use(row.record)}
        versions = dict(contents.versions)
        columns = tables.version.c
        for endpoint, name in set(self.versions) - used:
            connection.execute(delete(tables.version).where(columns.endpoint == endpoint, columns.version == name))
            del versions[endpoint, name]
        return replace(contents, versions=versions)


def plan(contents: Contents) -> Plan | None:
    """What is to go; None if there is not enough of it yet."""
    by_endpoint: dict[str, list[tuple[int, str]]] = {}
    for (endpoint, name), (number, _) in contents.versions.items():
        by_endpoint.setdefault(endpoint, []).append((number, name))
    versions = [
        (endpoint, name)
        for endpoint, numbers in by_endpoint.items()
        if len(numbers) > 2 * KEEP_VERSIONS
        for _, name in sorted(numbers)[:-KEEP_VERSIONS]
    ]
    # Each endpoint may have an entry that is written again.
    is_long = contents.num_entries > 2 * (KEEP_ENTRIES + len(by_endpoint))
    seq = contents.last_seq - KEEP_ENTRIES if is_long else contents.anchor_seq
    return Plan(seq, tuple(sorted(versions))) if is_long or versions else None


def rollbacks(connection: Connection, contents: Contents) -> dict[tuple[str, str], int]:
    """How many rollouts each guard has rolled back, by endpoint and guard."""
    counts = _rollbacks(connection)
    for name, count in contents.meta.items():
        if name.startswith(_COUNT):
            _, endpoint, guard = name.split(" ", 2)
            counts[endpoint, guard] += count
    return dict(counts)


def _rollbacks(connection: Connection, until: int | None = None) -> Counter[tuple[str, str]]:
    """Rollouts whose last intent to roll back is among the entries up to ``until``, or among all of them."""
    statement = select(tables.journal.c.seq, tables.journal.c.record).where(tables.journal.c.kind == ROLLBACK)
    last: dict[tuple[str, int], tuple[int, str]] = {}
    # A rollback that had to start stable's replicas first has two intents.
    for seq, body in connection.execute(statement.order_by(tables.journal.c.seq)):
        record = msgspec.json.decode(body, type=EndpointRecord)
        if record.rollout.explanation is not None:
            last[record.endpoint, record.rollout.number] = seq, record.rollout.explanation.guard
    return Counter((endpoint, guard) for (endpoint, _), (seq, guard) in last.items() if until is None or seq <= until)


def _names_in_use(body: bytes) -> set[str]:
    record = msgspec.json.decode(body, type=EndpointRecord)
    versions = [record.rollout.spec.version, *(retiring.version for retiring in record.retiring)]
    versions += [record.rollout.stable] if record.rollout.stable is not None else []
    versions += [record.queued.spec.version] if record.queued is not None else []
    return {version.version for version in versions} | ({record.previous} if record.previous else set())
