"""An issuer's keys over real HTTP. Defence: an issuer that is down, slow or hostile costs no request anything."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import gzip
import logging
import ssl

import pytest
from jwt import PyJWK

from divisions.access.jwks import MAX_BYTES
from divisions.clock import ManualClock
from router.gateway.issuer_keys import IssuerKeys, Missing
from router.gateway.jwks_fetch import JwksFetch, KeysUnreadError
from router.gateway.key_freshness import KEEP_S, PAUSE_S, STALE_S
from tests.divisions.notify.test_webhook import self_signed
from tests.oidc_issuer import issuer_at, local_issuer

SHORT_S = 0.5
READINGS = 8


def keys_of(it, clock: ManualClock, **changes) -> IssuerKeys:
    issuer = issuer_at(it.url, **changes)
    return IssuerKeys(issuer, JwksFetch(issuer, 60.0), clock.monotonic_s)


def test_keys_are_kept_then_read_again_and_a_withdrawn_one_is_gone(run):
    async def scenario():
        clock = ManualClock()
        with local_issuer() as it:
            keys = keys_of(it, clock)
            assert keys.find("rsa-1", "RS256") is Missing.UNREAD
            assert await keys.turn()
            assert isinstance(keys.find("rsa-1", "RS256"), PyJWK)
            clock.advance(KEEP_S - 1)
            assert not await keys.turn()
            it.kids = ("rsa-2", "ec-1")
            clock.advance(1)
            assert await keys.turn()
            assert keys.find("rsa-1", "RS256") is Missing.UNKNOWN
            assert isinstance(keys.find("ec-1", "ES256"), PyJWK)
            clock.advance(KEEP_S)
            assert await keys.turn()
            assert len(it.seen) == 3

    run(scenario())


def test_an_unknown_key_is_looked_for_once_in_ten_seconds_however_many_ask(run):
    async def scenario():
        clock = ManualClock()
        with local_issuer() as it:
            keys = keys_of(it, clock)
            await keys.turn()
            for second in range(1, 31):
                clock.advance(1.0)
                for number in range(50):
                    assert keys.find(f"forged-{second}-{number}", "RS256") is Missing.UNKNOWN
                await keys.turn()
                assert len(it.seen) == 1 + second // PAUSE_S
            it.kids = ("rsa-2",)
            assert keys.find("rsa-2", "RS256") is Missing.UNKNOWN
            clock.advance(PAUSE_S)
            await keys.turn()
            assert isinstance(keys.find("rsa-2", "RS256"), PyJWK)

    run(scenario())


def test_a_key_checks_its_own_algorithm_only_and_none_that_the_issuer_may_not_use(run):
    async def scenario():
        with local_issuer() as it:
            it.kids = ("rsa-1", "ec-1", "ed-1")
            keys = keys_of(it, ManualClock(), algorithms=("RS256", "PS256", "ES256"))
            await keys.turn()
            found = {
                (kid, algorithm)
                for kid in it.kids
                for algorithm in ("RS256", "PS256", "ES256", "EdDSA", "HS256", "none")
                if isinstance(keys.find(kid, algorithm), PyJWK)
            }
            assert found == {("rsa-1", "RS256"), ("ec-1", "ES256")}
            assert isinstance(keys.find("", "RS256"), PyJWK), "the only key of that algorithm"
            it.kids = ("rsa-1", "rsa-2")
            keys = keys_of(it, ManualClock())
            await keys.turn()
            assert keys.find("", "RS256") is Missing.UNKNOWN, "which of the two?"

    run(scenario())


def test_while_the_issuer_is_down_its_keys_are_believed_for_an_hour_and_no_longer(run, caplog):
    async def scenario():
        clock = ManualClock()
        with local_issuer() as it:
            keys = keys_of(it, clock)
            await keys.turn()
            it.status = 500
            clock.advance(KEEP_S)
            for _ in range(3):
                assert await keys.turn()
                assert not await keys.turn(), "one attempt in ten seconds"
                clock.advance(PAUSE_S)
            assert isinstance(keys.find("rsa-1", "RS256"), PyJWK)
            clock.advance(STALE_S - 3 * PAUSE_S - 1)
            assert isinstance(keys.find("rsa-1", "RS256"), PyJWK)
            clock.advance(1)
            assert keys.find("rsa-1", "RS256") is Missing.UNREAD
            assert not keys.are_usable
            it.status = 200
            assert await keys.turn()
            assert isinstance(keys.find("rsa-1", "RS256"), PyJWK)

    with caplog.at_level(logging.INFO, "router.gateway.issuer_keys"):
        run(scenario())
    told = [record.getMessage() for record in caplog.records]
    assert [text.partition(" issuer corp ")[2][:10] for text in told] == ["cannot be ", "can be rea"], "once each"
    assert "status 500" in told[0]


@pytest.mark.parametrize(
    ("what", "why"),
    [
        ({"status": 404}, "status 404"),
        ({"status": 302, "headers": {"location": "http://127.0.0.1:1/keys"}}, "status 302"),
        ({"body": b'{"keys": []}' + b" " * MAX_BYTES}, "more than"),
        ({"body": gzip.compress(b" " * (64 << 20)), "headers": {"content-encoding": "gzip"}}, "compressed"),
    ],
    ids=["absent", "elsewhere", "huge", "bomb"],
)
def test_a_bad_answer_is_bounded_and_says_why(run, what, why):
    async def scenario():
        with local_issuer() as it:
            for name, value in what.items():
                setattr(it, name, value)
            with pytest.raises(KeysUnreadError, match=why):
                await JwksFetch(issuer_at(it.url), 60.0)()
            assert len(it.seen) == 1

    run(scenario())


@pytest.mark.parametrize(
    "what",
    [{}, {"status": 404}, {"headers": {"content-encoding": "gzip"}}, {"body": b" " * (MAX_BYTES + 1)}, None],
    ids=["good", "absent", "compressed", "huge", "not there"],
)
def test_a_reading_leaves_no_tls_context_to_the_collector(run, what):
    async def scenario():
        with local_issuer() as it:
            for name, value in (what or {}).items():
                setattr(it, name, value)
            fetch = JwksFetch(issuer_at("http://127.0.0.1:1" if what is None else it.url), 60.0)
            await asyncio.gather(fetch(), return_exceptions=True)
            gc.collect()
            before = contexts()
            gc.disable()
            try:
                for _ in range(READINGS):
                    with contextlib.suppress(KeysUnreadError):
                        await fetch()
                await asyncio.sleep(0)
                return contexts() - before
            finally:
                gc.enable()

    # The last ones may still be held by the frames that handle them.
    assert run(scenario()) <= 2


def contexts() -> int:
    return sum(isinstance(each, ssl.SSLContext) for each in gc.get_objects())


@pytest.mark.parametrize("body", [b"<html>", b'{"keys": []}', b'{"keys": [{"kty": "oct", "k": "eA"}]}'])
def test_what_are_no_keys_replaces_none(run, body):
    async def scenario():
        clock = ManualClock()
        with local_issuer() as it:
            keys = keys_of(it, clock)
            await keys.turn()
            it.body = body
            clock.advance(KEEP_S)
            assert await keys.turn()
            assert isinstance(keys.find("rsa-1", "RS256"), PyJWK)

    run(scenario())


def test_an_issuer_that_sends_a_byte_now_and_then_is_given_up(run):
    async def scenario():
        with local_issuer() as it:
            it.drips, it.body = True, b" " * 1_000
            with pytest.raises(KeysUnreadError):
                await JwksFetch(issuer_at(it.url), SHORT_S)()

    run(scenario())


def test_nobody_waits_for_an_issuer_that_hangs_and_its_answer_is_given_up(run):
    async def scenario():
        clock = ManualClock()
        with local_issuer() as it:
            issuer = issuer_at(it.url)
            fetches = [JwksFetch(issuer, 60.0), JwksFetch(issuer, SHORT_S), JwksFetch(issuer, 60.0)]

            async def fetch() -> bytes:
                return await fetches.pop(0)()

            keys = IssuerKeys(issuer, fetch, clock.monotonic_s)
            await keys.turn()
            it.hangs = True
            clock.advance(KEEP_S)
            reading = asyncio.ensure_future(keys.turn())
            while len(it.seen) < 2 and not reading.done():
                await asyncio.sleep(0.01)
            assert isinstance(keys.find("rsa-1", "RS256"), PyJWK), "answered while the issuer hangs"
            assert keys.find("rsa-2", "RS256") is Missing.UNKNOWN
            assert await asyncio.wait_for(reading, 60)
            it.hangs, it.kids = False, ("rsa-2",)
            clock.advance(PAUSE_S)
            assert await keys.turn()
            assert isinstance(keys.find("rsa-2", "RS256"), PyJWK)

    run(scenario())


def test_an_issuer_that_is_not_there_is_an_attempt_that_failed(run):
    async def scenario():
        with local_issuer() as it:
            pass
        with pytest.raises(KeysUnreadError, match="ConnectError"):
            await JwksFetch(issuer_at(it.url), 60.0)()

    run(scenario())


def test_the_loop_reads_what_is_due_and_what_is_asked_for_and_ends_when_told(run):
    async def scenario():
        clock = ManualClock()
        with local_issuer() as it:
            keys = keys_of(it, clock)
            task = asyncio.ensure_future(keys.keep())
            while not keys.are_usable:
                await asyncio.sleep(0.01)
            clock.advance(PAUSE_S)
            it.kids = ("rsa-1", "rsa-2")
            while keys.find("rsa-2", "RS256") is Missing.UNKNOWN:
                await asyncio.sleep(0.01)
            assert len(it.seen) == 2
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    run(scenario())


def test_the_address_of_the_keys_is_checked_by_the_authority_that_the_entry_names(run, tmp_path):
    async def scenario():
        token = tmp_path / "token"
        token.write_text("of-the-pod\n")
        certificate = self_signed(tmp_path / "server.pem")
        with local_issuer(certificate) as it:
            with pytest.raises(KeysUnreadError, match="ConnectError"):
                await JwksFetch(issuer_at(it.url), 60.0)()
            assert it.seen == []
            named = issuer_at(it.url, ca_file=str(certificate), token_file=str(token))
            assert await JwksFetch(named, 60.0)() == it.answer()
            token.write_text("renewed")
            await JwksFetch(named, 60.0)()
            assert [seen["authorization"] for seen in it.seen] == ["Bearer of-the-pod", "Bearer renewed"]
            for text, why in (("", "no token"), ("a\nb", "no token"), ("é", "no token")):
                token.write_text(text)
                with pytest.raises(KeysUnreadError, match=why):
                    await JwksFetch(named, 60.0)()
            token.unlink()
            with pytest.raises(KeysUnreadError, match=r"`token_file`, .* cannot be used: No such file"):
                await JwksFetch(named, 60.0)()
            assert len(it.seen) == 2

    run(scenario())
