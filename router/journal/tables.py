"""The journal's tables, the same in SQLite and PostgreSQL.

===============  ================================================================================================
table            holds
===============  ================================================================================================
journal          every transition: number, time, endpoint, kind, generation, epoch, a line for people, the record
snapshot         per endpoint, the latest evidence; replaced every 10 s
version          versions that were deployed, for a way back to them
meta             numbers by name: the highest epoch ever published, starts, rollbacks whose entries were pruned
anchor           the last entry that was pruned: its number and its chain
seal             a checksum of all of that, see `router.journal.seal`
controller       who may write, see `router.journal.fence`
alembic_version  the format, as Alembic notes it
===============  ================================================================================================

A change of a table needs a migration in ``migrations/versions`` and a new `FORMAT`. A test compares the tables here
with what the migrations make.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Double, Index, LargeBinary, MetaData, String, Table, Text

FORMAT = "0003"
"""The last migration."""
OLD_NAME = "schema"
"""Releases before `FORMAT` 0003 read their format from this row of ``meta``, and refuse others."""

metadata = MetaData()
journal = Table(
    "journal",
    metadata,
    Column("seq", BigInteger, primary_key=True, autoincrement=False),
    Column("at_s", Double, nullable=False),
    Column("endpoint", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("generation", BigInteger, nullable=False),
    Column("epoch", BigInteger, nullable=False),
    Column("note", Text, nullable=False),
    Column("record", LargeBinary, nullable=False),
    Column("chain", LargeBinary),
    Index("journal_by_endpoint", "endpoint", "seq"),
)
snapshot = Table(
    "snapshot",
    metadata,
    Column("endpoint", Text, primary_key=True),
    Column("rollout", BigInteger, nullable=False),
    Column("body", LargeBinary, nullable=False),
    Column("sum", LargeBinary),
)
version = Table(
    "version",
    metadata,
    Column("endpoint", Text, primary_key=True),
    Column("version", Text, primary_key=True),
    Column("spec", LargeBinary, nullable=False),
    Column("sum", LargeBinary),
    Column("number", BigInteger, nullable=False, server_default="0"),
)
meta = Table("meta", metadata, Column("name", Text, primary_key=True), Column("value", BigInteger, nullable=False))
anchor = Table(
    "anchor",
    metadata,
    Column("id", BigInteger, primary_key=True, autoincrement=False),
    Column("seq", BigInteger, nullable=False),
    Column("chain", LargeBinary, nullable=False),
)
seal = Table(
    "seal",
    metadata,
    Column("id", BigInteger, primary_key=True, autoincrement=False),
    Column("writes", BigInteger, nullable=False),
    Column("state", LargeBinary, nullable=False),
    Column("before", LargeBinary, nullable=False),
)
controller = Table(
    "controller",
    metadata,
    Column("id", BigInteger, primary_key=True, autoincrement=False),
    Column("term", BigInteger, nullable=False),
    Column("token", Text, nullable=False),
    Column("cluster", Text, nullable=False),
    Column("holder", Text, nullable=False),
    Column("beats", BigInteger, nullable=False),
    Column("seen_s", Double, nullable=False),
)
alembic_version = Table("alembic_version", metadata, Column("version_num", String(32), primary_key=True))
