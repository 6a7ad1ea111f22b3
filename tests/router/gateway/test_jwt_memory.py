"""What is known of JWTs: for how long, of how many, and that wrong ones push no right one out."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

import pytest

from divisions.access.claims import LEEWAY_S
from divisions.access.decision import Principal
from divisions.clock import ManualClock
from router.gateway import jwt_memory
from router.gateway.issuer_keys import IssuerKeys
from router.gateway.jwks_fetch import JwksFetch
from router.gateway.jwt_book import Asked, JwtBook, Kind, Refused
from router.gateway.jwt_memory import WRONG_S, JwtMemory
from router.gateway.key_freshness import KEEP_S, STALE_S
from tests.oidc_issuer import claims_at, issuer_at, local_issuer, signed


class Counting(JwtBook):
    """Counts the signatures that are checked."""

    checks = 0

    def check(self, asked: Asked):
        self.checks += 1
        return super().check(asked)


class Desk:
    def __init__(self, server) -> None:
        self.server = server
        self.clock = ManualClock()
        issuer = issuer_at(server.url)
        self.keys = IssuerKeys(issuer, JwksFetch(issuer, 60.0), self.clock.monotonic_s)
        self.book = Counting([self.keys], self.clock.wall_s)
        self.memory = JwtMemory(self.book, self.clock.monotonic_s, self.clock.wall_s)

    def jwt(self, kid: str = "rsa-1", **changes) -> str:
        return signed(kid, claims_at(self.clock.wall_s(), **changes))

    def ask(self, token: str):
        return self.memory.authenticate(f"Bearer {token}".encode())

    def knows(self, token: str) -> bool:
        return self.memory.known(token.encode()) is not None


@contextlib.asynccontextmanager
async def desk() -> AsyncIterator[Desk]:
    with local_issuer() as server:
        it = Desk(server)
        assert await it.keys.turn()
        it.memory.has_ended()
        yield it


def test_a_right_jwt_is_checked_once_until_it_ends(run):
    async def scenario():
        async with desk() as it:
            token = it.jwt()
            for _ in range(5):
                assert isinstance(it.ask(token), Principal)
            assert (it.book.checks, it.memory.names(), it.memory.has_ended()) == (1, ["corp:ann"], False)
            it.clock.advance(300 + LEEWAY_S - 1)
            assert it.knows(token)
            assert not it.memory.has_ended()
            it.clock.advance(1)
            assert not it.knows(token)
            assert (it.memory.has_ended(), it.memory.has_ended(), it.memory.names()) == (True, False, [])
            assert isinstance(it.ask(token), Refused)

    run(scenario())


def test_a_key_that_the_issuer_withdraws_ends_its_jwts(run):
    async def scenario():
        async with desk() as it:
            token = it.jwt(exp=it.clock.wall_s() + 9e6)
            it.ask(token)
            it.clock.advance(KEEP_S)
            assert await it.keys.turn()
            assert (it.knows(token), it.memory.has_ended()) == (True, False)
            it.server.kids = ("rsa-2",)
            it.clock.advance(KEEP_S)
            assert await it.keys.turn()
            assert not it.knows(token)
            assert it.memory.has_ended()
            assert it.ask(token).kind is Kind.WRONG

    run(scenario())


def test_keys_that_are_too_old_are_believed_of_no_jwt_and_again_when_they_are_read(run):
    async def scenario():
        async with desk() as it:
            token = it.jwt(exp=it.clock.wall_s() + 9e6)
            it.ask(token)
            it.clock.advance(KEEP_S + STALE_S)
            assert (it.knows(token), it.memory.has_ended()) == (False, True)
            assert it.ask(token).kind is Kind.UNREAD
            assert await it.keys.turn()
            it.clock.advance(WRONG_S)
            assert isinstance(it.ask(token), Principal)

    run(scenario())


def test_a_refusal_is_believed_for_a_few_seconds_or_until_keys_change(run):
    async def scenario():
        async with desk() as it:
            early = it.jwt(nbf=it.clock.wall_s() + LEEWAY_S + 3)
            for _ in range(3):
                assert it.ask(early).kind is Kind.WRONG
            assert it.book.checks == 1
            it.clock.advance(WRONG_S)
            assert isinstance(it.ask(early), Principal)
            unknown = it.jwt("rsa-2")
            assert it.ask(unknown).kind is Kind.WRONG
            it.server.kids = ("rsa-1", "rsa-2")
            it.clock.advance(KEEP_S)
            assert await it.keys.turn()
            assert isinstance(it.ask(it.jwt("rsa-2")), Principal)

    run(scenario())


def test_what_is_kept_is_bounded_and_no_wrong_jwt_pushes_a_right_one_out(run, monkeypatch):
    monkeypatch.setattr(jwt_memory, "MAX_RIGHT", 3)
    monkeypatch.setattr(jwt_memory, "MAX_WRONG", 3)

    async def scenario():
        async with desk() as it:
            right = [it.jwt(sub=name) for name in ("ann", "bo", "cy")]
            for token in right:
                it.ask(token)
            for number in range(20):
                it.ask(it.jwt(aud="other", sub=str(number)))
            assert all(map(it.knows, right))
            assert (len(it.memory._wrong), it.memory.has_ended()) == (3, False)
            it.ask(it.jwt(sub="di"))
            assert [it.knows(token) for token in right] == [False, True, True]
            assert it.memory.has_ended(), "who was let in with what is forgotten is looked up again"

    run(scenario())


@pytest.mark.parametrize("header", [b"", b"Bearer", b"Bearer secret", b"Bearer a.b", b"Basic YQ==", b"Bearer a.b.c.d"])
def test_what_is_no_jwt_is_none(header):
    assert JwtMemory(JwtBook([], lambda: 0.0), lambda: 0.0, lambda: 0.0).authenticate(header) is None
