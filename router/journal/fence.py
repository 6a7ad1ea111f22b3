"""Who may write the journal: the controller that took the last term, and no other.

A controller takes a *term* when it starts: the next number, with a random token. Every transaction that writes locks
the row of the table ``controller`` and compares both. So a controller that was cut off while another one was started
changes nothing when it comes back: its first write fails with `JournalFencedError`, and it ends. The token tells two
controllers apart that have the same number, after an older backup of the database was restored.

A term says who is newer, not who is right. Two clusters that were given one database by mistake would take it from each
other for ever. So on a database that machines share the row has the name of the cluster, and its controller *beats*. A
controller of another cluster starts only when no beat was seen for `LEASE_S`. One of the same cluster need not wait:
Ray runs one at a time.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, select, update

from divisions.errors import JournalFencedError, JournalHeldError
from router.journal import tables

BEAT_S = 2.0
"""How often an idle controller shows that it lives, and learns whether it may still write."""
LEASE_S = 7.0
"""Three beats and a bit."""
LONG_SILENT_S = 60.0
"""By the database's clock. Then there is no need to watch for a beat."""


@dataclass(frozen=True, slots=True)
class Holder:
    """Who a controller is: its cluster (empty where a database belongs to one home), and its process for people."""

    cluster: str = ""
    name: str = ""


NOBODY = Holder()


@dataclass(frozen=True, slots=True)
class Held:
    """The row of the table: who has the term."""

    term: int
    token: str
    holder: Holder
    beats: int
    seen_s: float


def read(connection: Connection, *, is_locked: bool = False) -> Held:
    """The row; ``is_locked`` keeps others from it until the transaction ends (SQLite locks all of the file anyway)."""
    statement = select(tables.controller)
    row = connection.execute(statement.with_for_update() if is_locked else statement).one()
    return Held(row.term, row.token, Holder(row.cluster, row.holder), row.beats, row.seen_s)


def take(connection: Connection, seen: Held, holder: Holder, token: str, now_s: float) -> Held:
    """Takes the next term, in the caller's transaction.

    Args:
        connection: in a transaction.
        seen: what the caller found when it read the journal.
        holder: the new one.
        token: random.
        now_s: by the database's clock, if it has one.

    Raises:
        JournalFencedError: another controller took it since.
    """
    check(connection, seen)
    held = Held(seen.term + 1, token, holder, 0, now_s)
    connection.execute(
        update(tables.controller).values(
            term=held.term, token=token, cluster=holder.cluster, holder=holder.name, beats=0, seen_s=now_s
        )
    )
    return held


def check(connection: Connection, mine: Held) -> None:
    """Locks the row, and compares it with the caller's.

    Raises:
        JournalFencedError: another controller has a later term.
    """
    found = read(connection, is_locked=True)
    if (found.term, found.token) != (mine.term, mine.token):
        raise JournalFencedError(
            f"another controller ({found.holder.name or 'unnamed'}) took term {found.term:,} of the journal; "
            f"this one had {mine.term:,} and ends",
            remedy="repeat the command: the other controller answers it",
        )


def beat(connection: Connection, now_s: float) -> None:
    """Shows that the holder lives; in the caller's transaction, after `check`."""
    connection.execute(update(tables.controller).values(beats=tables.controller.c.beats + 1, seen_s=now_s))


def is_to_be_watched(held: Held, holder: Holder, now_s: float) -> bool:
    """Whether the present holder may be a living controller of another cluster."""
    is_ours = held.holder.cluster == holder.cluster
    return held.term > 0 and bool(held.holder.cluster) and not is_ours and now_s - held.seen_s < LONG_SILENT_S


def refuse_living(before: Held, after: Held, name: str) -> None:
    """Compares two looks at the row, `LEASE_S` apart.

    Raises:
        JournalHeldError: the holder has shown a sign of life between them.
    """
    if (before.term, before.token, before.beats) != (after.term, after.token, after.beats):
        raise JournalHeldError(
            f"{name} is in use by the controller of another cluster ({after.holder.name})",
            remedy="give each cluster a schema of its own (?schema=NAME in DIVISIONS_DATABASE), or end the other one",
        )
