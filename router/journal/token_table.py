"""The list of tokens in the journal's PostgreSQL schema, in one row. Restoring a journal leaves it alone.

An older copy of the journal must not bring back tokens that were revoked since. So the table is no part of the
journal: it is neither copied nor sealed with it, and has no migration there. Its one row holds a document that says its
own format (`divisions.access.store.Document`), so the table itself never changes.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    LargeBinary,
    MetaData,
    Table,
    func,
    insert,
    inspect,
    select,
    text,
    update,
)
from sqlalchemy.exc import SQLAlchemyError

from divisions.access.store import decode, encode
from divisions.access.tokens import AccessList
from divisions.errors import TokensUnavailableError
from router.journal.postgres import PostgresDatabase

_ROW = 1
_LOCK = 6_047_303_951_247_715_681
"""Of the advisory lock under which the table is made."""

access = Table(
    "access",
    MetaData(),
    Column("id", BigInteger, primary_key=True, autoincrement=False),
    Column("body", LargeBinary, nullable=False),
)


class TokenTable:
    """A `divisions.access.store.TokenStore`. Every call has a connection of its own: there are few."""

    def __init__(self, url: str, home: Path) -> None:
        self._database = PostgresDatabase(url, home)
        self._name = self._database.name.replace("the journal in", "the server")

    def load(self) -> AccessList:
        with self._transaction() as connection:
            return self._read(connection, is_locked=False)

    def change(self, edit: Callable[[AccessList], AccessList]) -> AccessList:
        with self._transaction() as connection:
            after = edit(self._read(connection, is_locked=True))
            connection.execute(update(access).where(access.c.id == _ROW).values(body=encode(after)))
        return after

    def _read(self, connection: Connection, *, is_locked: bool) -> AccessList:
        question = select(access.c.body).where(access.c.id == _ROW)
        body = connection.execute(question.with_for_update() if is_locked else question).scalar_one()
        return decode(body, self._name)

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[Connection]:
        try:
            with self._database.transaction() as connection:
                self._make(connection)
                yield connection
        except (SQLAlchemyError, psycopg.Error, OSError) as error:
            raise TokensUnavailableError(
                f"the tokens in {self._name} cannot be reached: {self._database.reason(error)}",
                remedy="mend the server or the way to it; gateways go on with the tokens that they know",
            ) from None

    def _make(self, connection: Connection) -> None:
        schema = self._database.schema
        if inspect(connection).has_table(access.name, schema):
            return
        connection.execute(select(func.pg_advisory_xact_lock(_LOCK)))
        if inspect(connection).has_table(access.name, schema):
            return
        if schema not in inspect(connection).get_schema_names():
            connection.execute(text(f'CREATE SCHEMA "{schema}"'))
        access.create(connection)
        connection.execute(insert(access).values(id=_ROW, body=encode(AccessList())))
