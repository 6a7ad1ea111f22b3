"""JWTs against a real issuer over HTTP. Defence: a token chooses neither how it is checked nor what it may do.

The clock is ours. The checks are synchronous: a request never waits for the issuer.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import hmac
import json
from collections.abc import AsyncIterator, Callable

import pytest
from cryptography.hazmat.primitives import serialization
from hypothesis import given
from hypothesis import strategies as st

from divisions.access.claims import LEEWAY_S
from divisions.access.decision import Principal
from divisions.access.roles import Role
from divisions.clock import ManualClock
from router.gateway import jwt_book
from router.gateway.issuer_keys import IssuerKeys
from router.gateway.jwks_fetch import JwksFetch
from router.gateway.jwt_book import JwtBook, Kind, Refused
from router.gateway.jwt_memory import JwtMemory
from router.gateway.key_freshness import KEEP_S, PAUSE_S, STALE_S
from tests.oidc_issuer import LocalIssuer, claims_at, issuer_at, jwk, local_issuer, private_key, signed, unsigned

ANN = Principal("corp:ann", Role.DEPLOYER, ("churn",), issuer="corp")


class Desk:
    """A book over the keys of a local issuer, at a time of ours."""

    def __init__(self, server: LocalIssuer, **changes) -> None:
        self.server = server
        self.clock = ManualClock()
        issuer = issuer_at(server.url, **changes)
        self.keys = IssuerKeys(issuer, JwksFetch(issuer, 60.0), self.clock.monotonic_s)
        self.book = JwtMemory(JwtBook([self.keys], self.clock.wall_s), self.clock.monotonic_s, self.clock.wall_s)

    def claims(self, **changes) -> dict:
        return claims_at(self.clock.wall_s(), **changes)

    def ask(self, token: str) -> Principal | Refused | None:
        return self.book.authenticate(f"Bearer {token}".encode())


@contextlib.asynccontextmanager
async def desk(**changes) -> AsyncIterator[Desk]:
    with local_issuer() as server:
        it = Desk(server, **changes)
        assert await it.keys.turn()
        yield it


def test_a_jwt_is_its_subject_with_the_role_of_its_group(run):
    async def scenario():
        async with desk(algorithms=("RS256", "PS256", "ES256", "EdDSA")) as it:
            it.server.kids = ("rsa-1", "ec-1", "ed-1")
            it.clock.advance(KEEP_S)
            await it.keys.turn()
            for kid in it.server.kids:
                assert it.ask(signed(kid, it.claims())) == ANN
            assert it.book.authenticate(b"bearer   " + signed("ec-1", it.claims()).encode()) == ANN
            found = it.ask(signed("ec-1", it.claims(groups=["fraud-team", "churn-team"])))
            assert (found.role, found.endpoints) == (Role.DEPLOYER, ("churn", "fraud"))
            assert it.ask(signed("ec-1", it.claims(groups=["others"]))) == Refused(Kind.NO_ROLE, jwt_book.NO_ROLE)

    run(scenario())


def hs256(claims: dict, secret: bytes, kid: str = "rsa-1") -> str:
    """What somebody signs who takes a public text for a shared secret. PyJWT itself refuses to do it."""
    bare = unsigned({"alg": "HS256", "typ": "JWT", "kid": kid}, claims).rstrip(".")
    digest = hmac.new(secret, bare.encode(), hashlib.sha256).digest()
    return f"{bare}.{base64.urlsafe_b64encode(digest).rstrip(b'=').decode()}"


def public_pem(kid: str) -> bytes:
    return (
        private_key(kid)
        .public_key()
        .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    )


def cut(token: str) -> str:
    return token[: token.rindex(".") + 1]


def other_payload(token: str, claims: dict) -> str:
    head, _, signature = token.split(".")
    return ".".join((head, unsigned({}, claims).split(".")[1], signature))


ATTACKS: dict[str, tuple[Callable[[Desk], str], str]] = {
    "expired": (lambda it: signed("rsa-1", it.claims(exp=it.clock.wall_s() - LEEWAY_S)), "has expired"),
    "future nbf": (lambda it: signed("rsa-1", it.claims(nbf=it.clock.wall_s() + LEEWAY_S + 1)), "not valid yet"),
    "no exp": (lambda it: signed("rsa-1", it.claims(exp=None)), "when it expires"),
    "no subject": (lambda it: signed("rsa-1", it.claims(sub=None)), "whose it is"),
    "wrong audience": (lambda it: signed("rsa-1", it.claims(aud="other")), "another audience"),
    "no audience": (lambda it: signed("rsa-1", it.claims(aud=None)), "another audience"),
    "wrong issuer": (lambda it: signed("rsa-1", it.claims(iss="https://evil.example")), "not trusted"),
    "no issuer": (lambda it: signed("rsa-1", it.claims(iss=None)), "not trusted"),
    "alg none": (lambda it: unsigned({"alg": "none", "kid": "rsa-1"}, it.claims()), "algorithm"),
    "alg NONE": (lambda it: unsigned({"alg": "NonE", "kid": "rsa-1"}, it.claims()), "algorithm"),
    "no alg": (lambda it: unsigned({"kid": "rsa-1"}, it.claims()), "no JWT"),
    "HS256 by the PEM": (lambda it: hs256(it.claims(), public_pem("rsa-1")), "algorithm"),
    "HS256 by the modulus": (lambda it: hs256(it.claims(), jwk("rsa-1")["n"].encode()), "algorithm"),
    "RS384 that is not allowed": (lambda it: signed("rsa-1", it.claims(), algorithm="RS384"), "algorithm"),
    "PS256 of an RS256 key": (
        lambda it: signed("rsa-1", it.claims(), algorithm="PS256", headers={"kid": "rsa-1"}),
        "algorithm",
    ),
    "another key": (lambda it: signed("rsa-3", it.claims(), headers={"kid": "rsa-1"}), "signature"),
    "no signature": (lambda it: cut(signed("rsa-1", it.claims())), "signature"),
    "other claims": (lambda it: other_payload(signed("rsa-1", it.claims()), it.claims(groups=["ml-admins"])), "signa"),
    "unknown key": (lambda it: signed("rsa-3", it.claims()), "not known"),
    "key id of another kind": (lambda it: unsigned({"alg": "RS256", "kid": 7}, it.claims()), "no JWT"),
    "critical extension": (
        lambda it: signed("rsa-1", it.claims(), headers={"crit": ["b64"], "b64": True}),
        "no JWT",
    ),
    "its own key (jwk)": (lambda it: signed("ec-3", it.claims(), headers={"jwk": jwk("ec-3")}), "not known"),
    "deep": (lambda it: ".".join((unsigned({}, {}).split(".")[0], "W1tb" * 1500, "AA")), "no JWT"),
    "huge": (lambda it: signed("rsa-1", it.claims(pad="x" * 8_192)), "8,192 bytes"),
    "no JSON": (lambda it: "AAAA.AAAA.AAAA", "no JWT"),
}


@pytest.mark.parametrize("name", ATTACKS)
def test_a_wrong_jwt_is_refused_with_one_reason_that_leaks_nothing(run, name):
    make, reason = ATTACKS[name]

    async def scenario():
        async with desk() as it:
            token = make(it)
            found = it.ask(token)
            assert isinstance(found, Refused)
            assert found.kind is Kind.WRONG
            assert reason in found.reason
            for secret in (it.server.url, it.keys.issuer.issuer, it.keys.issuer.audience, "ann", "rsa-1", token):
                assert secret not in found.reason
            assert it.ask(signed("rsa-1", it.claims())) == ANN
            assert len(it.server.seen) == 1

    run(scenario())


def test_addresses_of_keys_in_a_token_are_never_asked(run):
    async def scenario():
        with local_issuer() as evil:
            evil.kids = ("rsa-3",)
            headers = {"jku": evil.url, "x5u": evil.url, "jwk": jwk("rsa-3"), "x5c": ["x"]}
            async with desk() as it:
                for kid in ("rsa-3", "rsa-1", ""):
                    forged = it.ask(signed("rsa-3", it.claims(), headers={**headers, "kid": kid}))
                    assert isinstance(forged, Refused), kid
                it.clock.advance(PAUSE_S)
                await it.keys.turn()
                assert it.ask(signed("rsa-1", it.claims(), headers=headers)) == ANN, "ignored, not refused"
            assert evil.seen == []

    run(scenario())


def test_the_leeway_is_half_a_minute_on_both_sides(run):
    async def scenario():
        async with desk() as it:
            now_s = it.clock.wall_s()
            assert it.ask(signed("rsa-1", it.claims(exp=now_s - LEEWAY_S + 1))) == ANN
            assert it.ask(signed("rsa-1", it.claims(nbf=now_s + LEEWAY_S))) == ANN

    run(scenario())


def test_a_jwt_ends_with_its_exp_and_with_its_key(run):
    async def scenario():
        async with desk() as it:
            token = signed("rsa-1", it.claims(exp=it.clock.wall_s() + 100))
            assert it.ask(token) == ANN
            it.clock.advance(100 + LEEWAY_S - 1)
            assert it.ask(token) == ANN
            it.clock.advance(1)
            assert "has expired" in it.ask(token).reason
            token = signed("rsa-1", it.claims(exp=it.clock.wall_s() + 9_999))
            assert it.ask(token) == ANN
            it.server.kids = ("rsa-2",)
            it.clock.advance(KEEP_S)
            await it.keys.turn()
            assert it.ask(token).reason == jwt_book.UNKNOWN_KEY
            assert it.ask(signed("rsa-2", it.claims())) == ANN

    run(scenario())


def test_without_keys_for_too_long_nobody_is_let_in_and_nobody_is_blamed(run):
    async def scenario():
        async with desk() as it:
            token, fresh = (signed("rsa-1", it.claims(exp=it.clock.wall_s() + 9_999, sub=sub)) for sub in ("ann", "bo"))
            assert it.ask(token) == ANN
            it.server.status = 503
            it.clock.advance(KEEP_S + STALE_S - 1)
            await it.keys.turn()
            assert it.ask(token) == ANN
            assert it.ask(fresh).name == "corp:bo"
            it.clock.advance(1)
            for each in (token, fresh, signed("rsa-1", it.claims(sub="eve"))):
                assert it.ask(each) == Refused(Kind.UNREAD, jwt_book.UNREAD)
            it.server.status = 200
            it.clock.advance(PAUSE_S)
            await it.keys.turn()
            assert it.ask(token) == ANN

    run(scenario())


@given(st.binary(max_size=60) | st.lists(st.binary(max_size=30), min_size=3, max_size=3).map(
    lambda parts: b"Bearer " + b".".join(base64.urlsafe_b64encode(part).rstrip(b"=") for part in parts)
) | st.dictionaries(st.sampled_from(["alg", "kid", "crit", "iss"]), st.none() | st.text(max_size=5)).map(
    lambda each: f"Bearer {unsigned(each, each, json.dumps(each).encode())}".encode()))  # fmt: skip
def test_any_header_is_refused_or_no_jwt(header):
    it = Desk(LocalIssuer("http://127.0.0.1:1/keys"))
    found = it.book.authenticate(header)
    assert found is None or found.kind in {Kind.WRONG, Kind.UNREAD}


@pytest.mark.parametrize(
    "header", [b"", b"Bearer", b"Bearer secret", b"Bearer dvn_abcdefgh_" + b"x" * 43, b"Basic a.b.c"]
)
def test_what_is_no_jwt_is_left_to_others(header):
    assert Desk(LocalIssuer("http://127.0.0.1:1/keys")).book.authenticate(header) is None
