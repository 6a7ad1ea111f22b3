"""People and service accounts with JWTs at a real gateway, whose issuer is real too and rotates its keys (Show 2)."""

from __future__ import annotations

import asyncio

from divisions import cli
from divisions.clock import SystemClock
from router.http.wrong_tokens import BURST
from tests.oidc_issuer import LocalIssuer, claims_at, issuers_file, local_issuer, signed, unsigned
from tests.router.gateway_world import Reply, World, features, minutes_score, post, world
from tests.router.waiting import until

ROLES = (
    "value: ml-admins, role: admin",
    "value: churn-team, role: deployer, endpoints: [churn]",
    "value: everybody, role: viewer",
)


async def knows_keys(it: World) -> None:
    (keys,) = it.gateway._issuers
    await until(lambda: keys.are_usable)


def claims(**changes) -> dict:
    return claims_at(SystemClock().wall_s(), **changes)


async def status(it: World, token: str) -> Reply:
    return (
        await it.raw(
            f"GET /api/v2/status HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n\r\n".encode()
        )
    )[0]


def test_a_jwt_has_its_rights_its_name_and_its_limits(run, tmp_path):
    async def scenario(issuer: LocalIssuer):
        async with world(oidc_file=issuers_file(tmp_path, issuer.url, ROLES)) as it:
            await knows_keys(it)
            token = signed("rsa-1", claims(groups=["everybody", "churn-team"]))
            assert (await status(it, token)).status == 200
            header = f"Authorization: Bearer {token}"
            assert (await it.raw(post({}, header, path="/api/v2/rollouts/churn/abort")))[0].status == 200
            assert [(actor.name, actor.role, actor.address) for actor in it.link.actors] == [
                ("corp:ann", "deployer", "127.0.0.1")
            ]
            for path, text in (
                ("/api/v2/rollouts/fraud/abort", "on churn only. ask an admin for a group of `corp`"),
                ("/api/v2/rollouts/churn/promote", "corp:ann is deployer, and may not promote"),
                ("/api/v2/tokens", "may not manage-tokens"),
            ):
                (reply,) = await it.raw(post({}, header, path=path))
                assert (reply.status, reply.json["code"]) == (403, "AccessDeniedError")
                assert text in reply.json["detail"]
                assert "tokens create" not in reply.json["detail"], "no token would help: it is another identity"
            (reply,) = await it.raw(post({}, f"Authorization: Bearer {signed('rsa-1', claims(groups=['ml-admins']))}",
                                         path="/api/v2/rollouts/churn/promote"))  # fmt: skip
            assert reply.status == 200
            nobody = await status(it, signed("rsa-1", claims(groups=["others"])))
            assert (nobody.status, "no rule gives" in nobody.json["detail"]) == (403, True)

    with local_issuer() as issuer:
        run(scenario(issuer))


def test_each_wrong_jwt_has_its_status_and_counts_as_a_wrong_token(run, tmp_path):
    async def scenario(issuer: LocalIssuer):
        async with world(oidc_file=issuers_file(tmp_path, issuer.url, ROLES)) as it:
            await knows_keys(it)
            now_s = SystemClock().wall_s()
            wrong = [
                signed("rsa-1", claims(exp=now_s - 3_600)),
                signed("rsa-1", claims(aud="other")),
                signed("rsa-1", claims(nbf=now_s + 3_600)),
                unsigned({"alg": "none"}, claims()),
                signed("rsa-2", claims(), headers={"kid": "rsa-1"}),
            ]
            for token in wrong:
                reply = await status(it, token)
                assert (reply.status, reply.headers["www-authenticate"]) == (401, 'Bearer error="invalid_token"')
            for _ in range(2 * BURST):
                reply = await status(it, wrong[0])
            while reply.status == 401:  # a slow machine gives one back each second
                reply = await status(it, wrong[0])
            assert reply.status == 429
            assert (await status(it, signed("rsa-1", claims(sub="bo")))).status == 200, "nobody is locked out"
            assert (await status(it, "secret")).status == 200
            assert it.link.actors == []

    with local_issuer() as issuer:
        run(scenario(issuer))


def test_while_the_issuer_hangs_jwts_are_503_and_everything_else_is_served(run, tmp_path):
    async def scenario(issuer: LocalIssuer):
        issuer.hangs = True
        async with world(oidc_file=issuers_file(tmp_path, issuer.url, ROLES)) as it:
            await it.route([await it.replica("3.1", minutes_score)])
            await until(lambda: issuer.seen != [])
            token = signed("rsa-1", claims())
            for _ in range(30):
                reply = await status(it, token)
            assert (reply.status, reply.headers["retry-after"]) == (503, "10")
            assert "cannot be read now" in reply.json["detail"]
            assert (await status(it, "secret")).status == 200
            assert (await it.predict({"features": features()})).status == 200
            assert len(issuer.seen) < 30, "no request asks the issuer"

    with local_issuer() as issuer:
        run(scenario(issuer))


def test_without_issuers_a_jwt_is_a_wrong_token(run, tmp_path):
    async def scenario():
        token = signed("rsa-1", claims(groups=["ml-admins"]))
        for setting in ("", str(tmp_path / "gone.yaml")):
            async with world(oidc_file=setting) as it:
                assert (await status(it, token)).status == 401
                assert (await status(it, "secret")).status == 200
                assert it.gateway.is_alive

    run(scenario())


def test_the_command_line_takes_a_jwt_where_it_takes_a_token(run, tmp_path, monkeypatch, capsys):
    def command() -> int:
        return cli.execute(["tokens", "list", "--output", "json"])

    async def scenario(issuer: LocalIssuer):
        async with world(oidc_file=issuers_file(tmp_path, issuer.url, ROLES)) as it:
            await knows_keys(it)
            monkeypatch.setenv("DIVISIONS_GATEWAY", f"http://127.0.0.1:{it.port}")
            monkeypatch.setenv("DIVISIONS_TOKEN", signed("rsa-1", claims(groups=["ml-admins"])))
            assert await asyncio.to_thread(command) == 0
            assert [actor.name for actor in it.link.actors] == ["corp:ann"]
            monkeypatch.setenv("DIVISIONS_TOKEN", signed("rsa-1", claims(exp=1.0)))
            assert await asyncio.to_thread(command) != 0
            monkeypatch.delenv("DIVISIONS_TOKEN")
            (tmp_path / "token").write_text(signed("rsa-1", claims(groups=["ml-admins"])) + "\n")
            assert await asyncio.to_thread(command) == 0

    monkeypatch.setenv("DIVISIONS_HOME", str(tmp_path))
    with local_issuer() as issuer:
        run(scenario(issuer))
    assert "this JWT has expired. get another one from its issuer" in capsys.readouterr().err
