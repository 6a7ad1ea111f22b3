"""JWTs that wait for their check: bounded, in turn, each told once, and an issuer is never waited for."""

from __future__ import annotations

import threading

import pytest

from divisions.errors import LimitReachedError, OverloadedError
from router.gateway.jwt_book import Asked, Checked, Kind, Refused
from router.gateway.jwt_memory import JwtMemory
from router.gateway.jwt_queue import MAX_OF_ADDRESS, MAX_WAITING, JwtQueue
from tests.router.waiting import until


class Book:
    """Checks what the test lets it check."""

    issuers = ()

    def __init__(self) -> None:
        self.may_check = threading.Event()
        self.checked: list[bytes] = []

    def ask(self, token: bytes):
        if token.startswith(b"plain"):
            return Checked(Refused(Kind.WRONG, "it is wrong at a glance"))
        return Asked(token, None, None, "RS256")

    def check(self, asked: Asked) -> Checked:
        self.may_check.wait(60)
        self.checked.append(asked.token)
        if asked.token.startswith(b"strange"):
            raise ValueError("nobody foresaw it")
        return Checked(Refused(Kind.WRONG, "its signature is wrong"))


def queue() -> tuple[Book, JwtMemory, JwtQueue]:
    book = Book()
    memory = JwtMemory(book, lambda: 0.0, lambda: 0.0)
    return book, memory, JwtQueue(memory)


def test_each_who_waits_is_told_once_and_one_jwt_is_checked_once(run):
    async def scenario():
        book, memory, waiting = queue()
        told: list[str] = []
        for number in range(3):
            waiting.check(b"a.b.c", "1.1.1.1", lambda number=number: told.append(f"same {number}"))
        waiting.check(b"d.e.f", "1.1.1.1", lambda: told.append("other"))
        assert told == []
        book.may_check.set()
        await until(lambda: len(told) == 4)
        assert sorted(told) == ["other", "same 0", "same 1", "same 2"]
        assert book.checked == [b"a.b.c", b"d.e.f"]
        assert memory.known(b"a.b.c").reason == "its signature is wrong"
        await until(lambda: waiting._task is None)
        assert not waiting._of_address

    run(scenario())


def test_what_needs_no_signature_checked_is_told_at_once(run):
    async def scenario():
        book, memory, waiting = queue()
        told: list[bool] = []
        waiting.check(b"plain", "1.1.1.1", lambda: told.append(memory.known(b"plain") is not None))
        assert (told, book.checked, waiting._task) == ([True], [], None)

    run(scenario())


def test_an_address_and_all_together_may_wait_with_so_many(run):
    async def scenario():
        book, _, waiting = queue()
        told: list[int] = []

        def check(number: int, address: str) -> None:
            waiting.check(b"t%d" % number, address, lambda: told.append(number))

        for number in range(MAX_OF_ADDRESS):
            check(number, f"2001:db8::{number:x}")
        with pytest.raises(LimitReachedError, match="from this address"):
            check(9_999, "2001:db8::ffff")
        for _ in range(3):
            check(0, "2001:db8::ffff")  # the same JWT takes no further place
        for number in range(MAX_OF_ADDRESS, MAX_WAITING):
            check(number, f"10.0.{number // 100}.{number % 100}")
        with pytest.raises(OverloadedError, match="too many new JWTs"):
            check(9_999, "10.1.1.1")
        book.may_check.set()
        await until(lambda: len(told) == MAX_WAITING + 3)
        check(9_999, "2001:db8::ffff")
        await until(lambda: told[-1] == 9_999)

    run(scenario())


def test_what_nobody_foresaw_costs_one_jwt_and_no_other(run, caplog):
    async def scenario():
        book, memory, waiting = queue()
        book.may_check.set()
        told: list[str] = []

        def fails() -> None:
            told.append("fails")
            raise RuntimeError("the handler has a fault")

        waiting.check(b"strange", "", fails)
        waiting.check(b"usual", "", lambda: told.append("usual"))
        await until(lambda: len(told) == 2)
        assert memory.known(b"strange").reason == "this JWT cannot be checked"
        waiting.check(b"later", "", lambda: told.append("later"))
        await until(lambda: "later" in told)

    run(scenario())
    assert "a JWT could not be checked" in caplog.text
