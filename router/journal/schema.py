"""The journal's format: makes the tables, tells which format a database has, brings an older one up to date.

Alembic is imported only when there is a migration to do.
"""

from __future__ import annotations

import secrets
from pathlib import Path

from sqlalchemy import Connection, insert, inspect, select, text, update

from divisions.errors import ClusterError, JournalDamagedError
from router.journal import tables
from router.journal.seal import REMEDY
from router.journal.verify import seal_anew

MIGRATIONS = Path(__file__).parent / "migrations"
IDENTITY = "journal"
"""A random number in ``meta``: which journal this is, whatever its server is called."""
_OLD = {1: "0001", 2: "0002"}
"""Formats of releases before Alembic, by the number in ``meta``."""


def format_of(connection: Connection, schema: str | None = None) -> str:
    """The format; empty if there is no journal.

    Raises:
        JournalDamagedError: there are tables, but none says which format they have.
    """
    names = set(inspect(connection).get_table_names(schema))
    if "alembic_version" in names:
        found = connection.execute(select(tables.alembic_version.c.version_num)).scalars().all()
        if len(found) == 1:
            return str(found[0])
        raise JournalDamagedError("its format is missing", remedy=REMEDY)
    if not names & {"journal", "meta"}:
        return ""
    number = None
    if "meta" in names:
        row = select(tables.meta.c.value).where(tables.meta.c.name == tables.OLD_NAME)
        number = connection.execute(row).scalar()
    if number is None or max(_OLD) < number <= int(tables.FORMAT):
        raise JournalDamagedError("its format is missing", remedy=REMEDY)
    return _OLD.get(number, f"{number:04d}")


def refuse_unknown(found: str, name: str) -> None:
    """Raises:
    ClusterError: a later release wrote it.
    """
    if found not in {*_OLD.values(), tables.FORMAT}:
        raise ClusterError(
            f"{name} has format {found}, this release reads formats up to {tables.FORMAT}",
            remedy="use the release that wrote it, or a later one",
        )


def create(connection: Connection) -> None:
    """Makes the tables of a new journal, and seals it."""
    tables.metadata.create_all(connection)
    connection.execute(insert(tables.alembic_version).values(version_num=tables.FORMAT))
    connection.execute(insert(tables.meta).values(name=tables.OLD_NAME, value=int(tables.FORMAT)))
    connection.execute(insert(tables.meta).values(name=IDENTITY, value=secrets.randbits(62)))
    seal_anew(connection)


def migrate(connection: Connection, found: str, schema: str | None = None) -> None:
    """Brings an older journal up to date and seals it anew, in the caller's transaction. It was checked before."""
    from alembic.config import Config
    from alembic.operations import Operations
    from alembic.runtime.migration import MigrationContext
    from alembic.script import ScriptDirectory

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    scripts = ScriptDirectory.from_config(config)
    if schema is not None:
        connection.execute(text(f'SET LOCAL search_path TO "{schema}"'))
    context = MigrationContext.configure(
        connection,
        opts={"fn": lambda current, _: scripts._upgrade_revs(tables.FORMAT, current), "version_table_schema": schema},
    )
    if not context.get_current_heads():
        context.stamp(scripts, found)
    with Operations.context(context):
        context.run_migrations()
    names = connection.execute(select(tables.meta.c.name)).scalars().all()
    if IDENTITY not in names:
        connection.execute(insert(tables.meta).values(name=IDENTITY, value=secrets.randbits(62)))
    connection.execute(
        update(tables.meta).where(tables.meta.c.name == tables.OLD_NAME).values(value=int(tables.FORMAT))
    )
    seal_anew(connection)
