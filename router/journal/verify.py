"""Reads what the journal's state is made of, checks it against every row, and seals it anew after a migration."""

from __future__ import annotations

from collections.abc import Iterator

from sqlalchemy import Connection, insert, select, update

from divisions.errors import JournalDamagedError
from router.journal import tables
from router.journal.seal import NO_CHAIN, REMEDY, Contents, Seal, row_sum

_ENTRY = [column for column in tables.journal.c if column.name != "chain"]


def load(connection: Connection) -> tuple[Contents, Seal]:
    """The contents by the checksums that the rows have, and the seal.

    Raises:
        JournalDamagedError: the seal or the anchor is missing.
    """
    seals = connection.execute(select(tables.seal.c.writes, tables.seal.c.state, tables.seal.c.before)).all()
    anchors = connection.execute(select(tables.anchor.c.seq, tables.anchor.c.chain)).all()
    if len(seals) != 1:
        raise JournalDamagedError("its seal is missing", remedy=REMEDY)
    if len(anchors) != 1:
        raise JournalDamagedError("its anchor is missing", remedy=REMEDY)
    (anchor_seq, anchor) = anchors[0]
    last = select(tables.journal.c.seq, tables.journal.c.chain).order_by(tables.journal.c.seq.desc()).limit(1)
    last_seq, chain = connection.execute(last).first() or (anchor_seq, anchor)
    contents = Contents(
        last_seq,
        chain,
        anchor_seq,
        anchor,
        {(row.endpoint, row.version): (row.number, row.sum) for row in connection.execute(_SUMS)},
        {row.endpoint: row.sum for row in connection.execute(_SNAPSHOT_SUMS)},
        {row.name: row.value for row in connection.execute(select(tables.meta))},
    )
    writes, state, before = seals[0]
    return contents, Seal(writes, state, before)


_SUMS = select(tables.version.c.endpoint, tables.version.c.version, tables.version.c.number, tables.version.c.sum)
_SNAPSHOT_SUMS = select(tables.snapshot.c.endpoint, tables.snapshot.c.sum)


def verify(connection: Connection) -> tuple[Contents, Seal]:
    """Checks every row of a journal; returns its contents and its seal.

    Raises:
        JournalDamagedError: something is not as it was written; the message has no subject, the caller knows the name.
        SQLAlchemyError: the database cannot be read.
    """
    contents, seal = load(connection)
    expected = contents.anchor_seq
    for seq, found, chain in chains(connection, contents.anchor):
        expected += 1
        if seq != expected or found != chain:
            raise JournalDamagedError(f"entry {expected} is not as it was written", remedy=REMEDY)
    for row in connection.execute(select(tables.version)):
        if version_sum(row.endpoint, row.version, row.spec, row.number) != row.sum:
            raise JournalDamagedError("a version is not as it was written", remedy=REMEDY)
    for row in connection.execute(select(tables.snapshot)):
        if row_sum(row.endpoint, row.rollout, row.body) != row.sum:
            raise JournalDamagedError("the evidence of a rollout is not as it was written", remedy=REMEDY)
    if contents.state() != seal.state:
        raise JournalDamagedError("its rows do not match its seal", remedy=REMEDY)
    if connection.execute(select(tables.controller.c.id)).all() != [(1,)]:
        raise JournalDamagedError("the row of its controller is missing", remedy=REMEDY)
    return contents, seal


def version_sum(endpoint: str, name: str, spec: bytes, number: int) -> bytes:
    return row_sum(endpoint, name, spec, number)


def chains(connection: Connection, before: bytes) -> Iterator[tuple[int, bytes, bytes]]:
    """Every entry's number, the chain that it has, and the chain that it should have after ``before``."""
    for *values, found in connection.execute(select(*_ENTRY, tables.journal.c.chain).order_by(tables.journal.c.seq)):
        before = row_sum(*values, before=before)
        yield values[0], found, before


def seal_anew(connection: Connection) -> None:
    """Gives a journal the checksums of this release. What it holds was checked before by those that it had, if any."""
    anchor = connection.execute(select(tables.anchor.c.seq, tables.anchor.c.chain)).first()
    if anchor is None:
        connection.execute(insert(tables.anchor).values(id=1, seq=0, chain=NO_CHAIN))
    seq, chain = anchor or (0, NO_CHAIN)
    # Releases without checksums may have left numbers out; a chain has none missing.
    for number, row in enumerate(connection.execute(select(*_ENTRY).order_by(tables.journal.c.seq)).all(), seq + 1):
        chain = row_sum(number, *row[1:], before=chain)
        place = update(tables.journal).where(tables.journal.c.seq == row.seq)
        connection.execute(place.values(seq=number, chain=chain))
    for row in connection.execute(select(tables.version)).all():
        checksum = version_sum(row.endpoint, row.version, row.spec, row.number)
        place = update(tables.version).where(
            tables.version.c.endpoint == row.endpoint, tables.version.c.version == row.version
        )
        connection.execute(place.values(sum=checksum))
    for row in connection.execute(select(tables.snapshot)).all():
        place = update(tables.snapshot).where(tables.snapshot.c.endpoint == row.endpoint)
        connection.execute(place.values(sum=row_sum(row.endpoint, row.rollout, row.body)))
    if not connection.execute(select(tables.controller.c.id)).all():
        connection.execute(insert(tables.controller).values(**NOBODY))
    seal = connection.execute(select(tables.seal.c.writes, tables.seal.c.state)).first()
    if seal is None:
        connection.execute(insert(tables.seal).values(id=1, writes=0, state=b"", before=b""))
    state = load(connection)[0].state()
    # A write like any other: after a kill the head may still have the state before it.
    writes, before = (seal.writes + 1, seal.state) if seal is not None else (0, state)
    connection.execute(update(tables.seal).values(writes=writes, state=state, before=before))


NOBODY: dict[str, object] = {"id": 1, "term": 0, "token": "", "cluster": "", "holder": "", "beats": 0, "seen_s": 0.0}
"""The row of the controller before the first one has started."""
