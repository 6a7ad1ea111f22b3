"""The list of tokens on a real PostgreSQL."""

from __future__ import annotations

import threading

import psycopg
import pytest

from divisions.access.tokens import AccessList
from divisions.errors import TokensUnavailableError
from divisions.settings import Settings
from router.control.token_stores import token_store_of
from router.journal.opening import database_of
from router.journal.token_table import TokenTable


def counted(known: AccessList) -> AccessList:
    return AccessList(known.lineage, known.serial + 1)


def test_the_tokens_of_a_shared_journal_are_on_its_server_and_stay_when_it_is_restored(postgres_server, tmp_path):
    url = postgres_server.new_database()
    here, there = (token_store_of(Settings(home=tmp_path / name, database=url)) for name in ("here", "there"))
    assert here.load() == AccessList()

    def write(table):
        for _ in range(5):
            table.change(counted)

    threads = [threading.Thread(target=write, args=[table]) for table in (here, there)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert here.load().serial == there.load().serial == 10

    def fails(known):
        raise TokensUnavailableError("as if it was killed in the middle")

    with pytest.raises(TokensUnavailableError):
        here.change(fails)
    assert there.load().serial == 10
    # A journal that is made beside it, copied, and put back leaves the tokens as they are.
    database = database_of(Settings(home=tmp_path, database=url))
    database.open()
    database.copy_to(tmp_path / "copy.db")
    there.change(counted)
    database.replace_by(tmp_path / "copy.db", tmp_path / "aside", sleep=lambda seconds: None)
    database.close()
    assert here.load().serial == 11


def test_a_server_that_is_gone_is_told_without_its_password(tmp_path):
    table = TokenTable("postgresql+psycopg://user:hidden@127.0.0.1:1/nothing", tmp_path)
    with pytest.raises(TokensUnavailableError, match="cannot be reached") as caught:
        table.load()
    assert "hidden" not in str(caught.value)


def test_a_damaged_row_lets_nobody_in(postgres_server, tmp_path):
    url = postgres_server.new_database()
    table = TokenTable(url, tmp_path)
    table.change(counted)
    with psycopg.connect(url.replace("+psycopg", "")) as connection:
        connection.execute("UPDATE divisions.access SET body = 'x'")
    with pytest.raises(TokensUnavailableError, match="damaged"):
        table.load()
