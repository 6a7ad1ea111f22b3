"""Predictions with JWTs: on each route, checked once and off the loop, limited by subject, ended by `exp` and key."""

from __future__ import annotations

import asyncio

import pytest

from divisions.control import AccessPolicy
from router.gateway.jwt_book import JwtBook
from router.gateway.jwt_queue import MAX_OF_ADDRESS
from tests.oidc_issuer import LocalIssuer, issuers_file, local_issuer, signed
from tests.router.gateway.test_keys import PREDICTS, ROW, ask, bearer, until
from tests.router.gateway.test_oidc import claims, knows_keys
from tests.router.gateway_world import features, minutes_score, post, read_reply, world

ROLES = (
    "value: slow, role: predictor, rate: 2/d, deadline: 19s",
    "value: apps, role: predictor, endpoints: [churn], concurrency: 4",
    "value: other-apps, role: predictor, endpoints: [fraud]",
    "value: testers, role: deployer",
    "value: people, role: viewer",
)
KEYED = AccessPolicy(require_key=True)


def jwt(*groups: str, kid: str = "rsa-1", **changes) -> str:
    return bearer(signed(kid, claims(groups=list(groups), **changes)))


def keyed_world(run, tmp_path, scenario) -> None:
    """Runs ``scenario(it, issuer)`` with a gateway whose endpoint asks for keys."""

    async def whole(issuer: LocalIssuer):
        async with world(oidc_file=issuers_file(tmp_path, issuer.url, ROLES)) as it:
            await knows_keys(it)
            await it.route([await it.replica("3.1", minutes_score)], access=KEYED)
            await scenario(it, issuer)

    with local_issuer() as issuer:
        run(whole(issuer))


def test_every_route_that_predicts_takes_a_jwt_of_a_role_that_may(run, tmp_path):
    async def scenario(it, issuer):
        for way in PREDICTS:
            for header, status, code, says in (
                (jwt("apps"), 200, None, ""),
                (jwt("people"), 403, "AccessDeniedError", "corp:ann is viewer, and may not predict"),
                (jwt("other-apps"), 403, "AccessDeniedError", "on fraud only"),
                (jwt("nobody"), 403, "AccessDeniedError", "no rule gives"),
                (jwt("apps", exp=1.0), 401, "UnknownTokenError", "has expired"),
                (jwt("apps", aud="other"), 401, "UnknownTokenError", "another audience"),
                (jwt("apps", kid="rsa-9"), 401, "UnknownTokenError", "key is not known"),
            ):
                for _ in range(2):
                    reply = await ask(it, way, header)
                    assert reply.status in {status, 429 if status == 401 else status}, (way, says)
                if reply.status in {401, 403}:
                    assert says in reply.json.get("detail", "")
                    assert reply.json.get("code") == code

    keyed_world(run, tmp_path, scenario)


def test_a_jwt_is_checked_once_for_all_requests_and_connections(run, tmp_path, monkeypatch):
    checks: list[str] = []
    whole = JwtBook.check

    def counted(self, asked):
        checks.append(asked.algorithm)
        return whole(self, asked)

    monkeypatch.setattr(JwtBook, "check", counted)

    async def scenario(it, issuer):
        header = jwt("testers")
        replies = await it.raw(post(ROW, header, path=PREDICTS["predict"][0]) * 20, 20)
        assert {reply.status for reply in replies} == {200}
        for way in PREDICTS:
            assert (await ask(it, way, header)).status == 200
        assert checks == ["RS256"]
        asked = len(issuer.seen)
        assert (await ask(it, "predict", jwt("apps", sub="bo"))).status == 200
        assert (len(checks), len(issuer.seen)) == (2, asked), "no request asks the issuer"

    keyed_world(run, tmp_path, scenario)


def test_limits_are_of_the_subject_whatever_its_jwts(run, tmp_path):
    async def scenario(it, issuer):
        first, second = jwt("slow"), jwt("slow", iat=1)
        assert first != second
        assert [(await ask(it, "predict", header)).status for header in (first, second, first, second)] == [
            200,
            200,
            429,
            429,
        ]
        assert (await ask(it, "predict", jwt("slow", sub="bo"))).status == 200
        it.gateway._callers.changed(it.gateway._keys.names())
        it.gateway._callers.changed([])
        assert (await ask(it, "predict", first)).status == 429, "what was used is kept when a JWT ends"
        text = (await it.raw(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n"))[0].body.decode()
        assert 'principal="corp:ann"' in text

    keyed_world(run, tmp_path, scenario)


def test_a_key_that_the_issuer_withdraws_closes_a_connection_that_is_open(run, tmp_path):
    async def scenario(it, issuer):
        data = post(ROW, jwt("apps"), path=PREDICTS["predict"][0])
        reader, writer = await asyncio.open_connection("127.0.0.1", it.port)

        async def status() -> int:
            writer.write(data)
            return (await asyncio.wait_for(read_reply(reader), 60)).status

        assert [await status() for _ in range(3)] == [200] * 3
        (keys,) = it.gateway._issuers
        keys._keys.clear()  # as a rotation does, without the five minutes' wait for it
        keys.changes += 1
        async with asyncio.timeout(60):
            while await status() == 200:
                await asyncio.sleep(0.05)
        writer.close()

    keyed_world(run, tmp_path, scenario)


def test_a_flood_of_new_wrong_jwts_waits_in_its_own_places_and_known_ones_pass(run, tmp_path, monkeypatch):
    import threading

    may_check = threading.Event()
    may_check.set()
    whole = JwtBook.check

    def held(self, asked):
        may_check.wait(60)
        return whole(self, asked)

    monkeypatch.setattr(JwtBook, "check", held)

    async def scenario(it, issuer):
        known = jwt("apps")
        assert (await ask(it, "predict", known)).status == 200
        may_check.clear()
        flood = [
            asyncio.ensure_future(ask(it, "predict", jwt("apps", sub=str(number), aud="other")))
            for number in range(MAX_OF_ADDRESS + 20)
        ]
        await until(lambda: sum(task.done() for task in flood) == 20)
        refused = [task.result() for task in flood if task.done()]
        assert {(reply.status, reply.json["code"], reply.headers["retry-after"]) for reply in refused} == {
            (429, "LimitReachedError", "1")
        }
        assert (await ask(it, "predict", known)).status == 200
        may_check.set()
        assert {(await task).status for task in flood} <= {401, 429}
        assert (await ask(it, "predict", jwt("apps", sub="late"))).status == 200

    keyed_world(run, tmp_path, scenario)


def test_a_caller_who_leaves_while_its_jwt_is_checked_costs_nothing(run, tmp_path):
    async def scenario(it, issuer):
        for number in range(30):
            _, writer = await asyncio.open_connection("127.0.0.1", it.port)
            writer.write(post(ROW, jwt("apps", sub=str(number)), path=PREDICTS["predict"][0]))
            writer.close()
        await until(lambda: not it.gateway._keys._queue._of_address)
        assert (await ask(it, "predict", jwt("apps"))).status == 200
        await until(lambda: it.gateway._callers._load.in_flight == 0)

    keyed_world(run, tmp_path, scenario)


@pytest.mark.parametrize(("group", "status"), [("testers", 200), ("apps", 403)])
def test_a_jwt_may_name_the_version_if_its_role_may(run, tmp_path, group, status):
    async def scenario(it, issuer):
        named = ("x-divisions-version: 3.1", jwt(group))
        for _ in range(2):
            assert (await it.predict({"features": features()}, *named)).status == status

    keyed_world(run, tmp_path, scenario)


def test_while_keys_cannot_be_read_a_jwt_is_503_and_a_token_predicts(run, tmp_path):
    async def whole(issuer: LocalIssuer):
        issuer.hangs = True
        async with world(oidc_file=issuers_file(tmp_path, issuer.url, ROLES)) as it:
            await it.route([await it.replica("3.1", minutes_score)], access=KEYED)
            reply = await ask(it, "predict", jwt("apps"))
            assert (reply.status, reply.headers["retry-after"]) == (503, "10")
            assert "cannot be read now" in reply.json["detail"]
            assert (await ask(it, "predict", bearer("secret"))).status == 200

    with local_issuer() as issuer:
        run(whole(issuer))
