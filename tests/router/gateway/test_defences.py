"""Defences of the gateway that no other test names: docs/threats.md says against what."""

from __future__ import annotations

import logging

import msgspec
import pytest

from tests.router.gateway_world import features, minutes_score, post, world

TOKEN = "Authorization: Bearer secret"


def get(path: str, *headers: str) -> bytes:
    return "\r\n".join([f"GET {path} HTTP/1.1", "Host: localhost", *headers, "", ""]).encode()


def test_a_key_that_stands_twice_in_a_predict_body_counts_as_its_last(run):
    async def scenario():
        async with world() as it:
            await it.route([await it.replica("3.1", minutes_score)])
            first, last = msgspec.json.encode(features(1.0)), msgspec.json.encode(features(9.0))
            reply = await it.predict(b'{"features":%s,"features":%s}' % (first, last))
            assert (reply.status, reply.json["churn_probability"]) == (200, pytest.approx(0.009))

    run(scenario())


def test_callers_cannot_make_labels_of_metrics(run):
    """The number of series depends on what is deployed, not on what is asked for."""

    async def scenario():
        async with world() as it:
            await it.route([await it.replica("3.1", minutes_score)])

            async def series() -> int:
                (reply,) = await it.raw(get("/metrics"))
                assert b"hostile" not in reply.body
                return sum(not line.startswith(b"#") for line in reply.body.splitlines())

            async def ask(name: str) -> None:
                good = {"features": features()}
                await it.raw(post(good, path=f"/api/v2/predict/{name}"))
                await it.raw(post(good, f"x-divisions-version: {name}", f"x-request-id: {name}"))
                await it.raw(post({"inputs": []}, path=f"/v2/models/{name}/infer"))
                await it.raw(get(f"/{name}"))

            await ask("hostile-0")
            before = await series()
            for number in range(1, 20):
                await ask(f"hostile-{number}")
            assert await series() == before

    run(scenario())


@pytest.mark.parametrize("name", ["..", "%2e%2e", "..%2f..%2fetc%2fpasswd", "churn%00", "CHURN", "a" * 65, "c%0d%0aX"])
def test_a_name_that_is_none_names_nothing_and_is_not_repeated(run, name):
    async def scenario():
        async with world() as it:
            await it.route([await it.replica("3.1", minutes_score)])
            (predicted,) = await it.raw(post({"features": features()}, path=f"/api/v2/predict/{name}"))
            assert predicted.status in {400, 404}
            (page,) = await it.raw(get(f"/page/{name}"))
            assert page.status in {400, 404}
            (rollout,) = await it.raw(get(f"/api/v2/rollouts/{name}", TOKEN))
            assert 400 <= rollout.status < 500
            for reply in (predicted, page, rollout):
                assert b"passwd" not in reply.body
                assert "x" not in reply.headers

    run(scenario())


def test_no_line_break_of_a_caller_reaches_a_log(run, caplog):
    caplog.set_level(logging.DEBUG)

    async def scenario():
        async with world() as it:
            for value in ("a\x0bforged", "a\x85forged", '"}\\n{"forged":1', "\x1b[31mforged"):
                head = post({"features": features()}, f"x-request-id: {value}", f"traceparent: {value}")
                await it.raw(head.replace(value.encode(), value.encode("latin-1")))
                await it.raw(get("/api/v2/status", f"Authorization: Bearer {value}").replace(b"\xc2", b""))

    run(scenario())
    for record in caplog.records:
        message = record.getMessage()
        assert message.isprintable(), message


def test_shed_late_and_unknown_are_told_apart(run):
    """One status for each reason: 503 with a time to come back, 504, 404. Clients act on the difference."""
    from divisions import errors
    from router.http.problem import status_of

    reasons = [errors.OverloadedError, errors.DeadlineExceededError, errors.UnknownEndpointError]
    assert [status_of(kind("x")) for kind in reasons] == [503, 504, 404]

    async def scenario():
        async with world() as it:
            (nothing,) = await it.raw(post({"features": features()}))
            assert (nothing.status, nothing.json["code"]) == (503, "NothingDeployedError")
            await it.route([await it.replica("3.1", minutes_score)])
            (unknown,) = await it.raw(post({"features": features()}, path="/api/v2/predict/other"))
            assert (unknown.status, unknown.json["code"]) == (404, "UnknownEndpointError")

    run(scenario())


def test_no_secret_of_a_gateway_is_in_its_replies_or_its_log(run, caplog):
    caplog.set_level(logging.DEBUG)
    planted = ["planted-channel", "planted-store", "planted-caller"]
    told: list[bytes] = []

    async def scenario():
        store = "redis://someone:planted-store@127.0.0.1:1/1"
        async with world(channel_token=b"planted-channel", online_store=store) as it:
            await it.route([await it.replica("3.1", minutes_score)])
            wrong = "Authorization: Bearer planted-caller"
            paths = ["/", "/metrics", "/healthz", "/readyz", "/openapi.json", "/v2", "/page/index.html", "/nothing"]
            paths += ["/api/v2/status", "/api/v2/rollouts", "/api/v2/drift", "/api/v2/tokens"]
            for path in paths:
                for headers in ((), (wrong,), (TOKEN,), ("Accept: text/html",)):
                    told.extend(reply.body for reply in await it.raw(get(path, *headers)))
            told.append((await it.predict({"customer_id": "c-1"})).body)
            told.append((await it.predict({"features": features()}, wrong, "x-divisions-version: 3.1")).body)
            assert "planted" not in repr(it.settings)
            it.link.is_away = True
            told.extend(reply.body for reply in await it.raw(get("/api/v2/status", TOKEN)))

    run(scenario())
    text = b"\n".join(told).decode("latin-1") + caplog.text
    assert [word for word in [*planted, "Bearer secret"] if word in text] == []
