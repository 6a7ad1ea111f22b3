"""The routes of the control API: who may use them, and what a command's body may be."""

from __future__ import annotations

import pytest

from divisions.errors import UnknownVersionError
from router.sagemaker import invocations as sagemaker
from tests.router.gateway_world import features, minutes_score, post, world

HEALTH = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
GOOD = {"customer_id": "c", "features": features()}

CONTROL = [
    ("GET", "/api/v2/status"),
    ("GET", "/api/v2/rollouts"),
    ("POST", "/api/v2/rollouts"),
    ("GET", "/api/v2/rollouts/churn"),
    ("POST", "/api/v2/rollouts/churn/abort"),
    ("POST", "/api/v2/rollouts/churn/rollback"),
]


@pytest.mark.parametrize(("method", "path"), CONTROL)
def test_control_routes_are_closed_without_the_token(run, method, path):
    async def scenario():
        async with world() as it:
            bare = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n"
            for headers, code in (("", "MissingTokenError"), ("Authorization: Bearer wrong\r\n", "UnknownTokenError")):
                (reply,) = await it.raw(f"{bare}{headers}\r\n".encode())
                assert (reply.status, reply.json["code"]) == (401, code)
            for foreign in (
                "Sec-Fetch-Site: cross-site",
                "Origin: http://evil.example",
                "Origin: null",
                "Origin: http://[",
            ):
                headers = f"Authorization: Bearer secret\r\n{foreign}\r\n\r\n"
                assert (await it.raw((bare + headers).encode()))[0].status == 403
            own = "Authorization: Bearer secret\r\nOrigin: http://localhost\r\n\r\n"
            assert (await it.raw((bare + own).encode()))[0].status < 300
            assert (await it.raw((bare + "Authorization: Bearer secret\r\n\r\n").encode()))[0].status < 300

    run(scenario())


def test_every_route_but_the_open_ones_needs_the_token(run):
    async def scenario():
        async with world() as it:
            routes = it.gateway._asgi._app.routes
            assert len(routes) >= 8
            for route in routes:
                path = route.path.replace("{endpoint}", "churn").replace("{command}", "abort")
                (reply,) = await it.raw(
                    f"{min(route.methods or {'GET'})} {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
                )
                is_open = (
                    path in {"/", "/healthz", "/readyz", "/metrics", "/openapi.json", "/v2"} or path in sagemaker.PATHS
                )
                is_open = is_open or path.startswith(("/api/v2/predict/", "/page/", "/v2/"))
                assert (reply.status == 401) is not is_open

    run(scenario())


def test_a_command_carries_its_generation_and_target(run):
    async def scenario():
        async with world() as it:
            data = post(
                {"to": "3.1"}, "Authorization: Bearer secret", 'If-Match: "7"', path="/api/v2/rollouts/churn/rollback"
            )
            (reply,) = await it.raw(data)
            assert reply.json == {"endpoint": "churn", "command": "rollback", "to": "3.1", "generation": 7}

    run(scenario())


def test_scale_carries_number_and_version(run):
    async def scenario():
        async with world() as it:
            body = {"replicas": 4, "version": "3.2", "force": True}
            (reply,) = await it.raw(post(body, "Authorization: Bearer secret", path="/api/v2/rollouts/churn/scale"))
            assert reply.json == {"endpoint": "churn", "command": "scale", **body}

    run(scenario())


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/churn/abort", b"[1]", 400),
        ("/churn/abort", b'{"to":', 400),
        ("/churn/rollback", b'{"to":"3.1","to":"3.2"}', 400),
        ("/churn/rollback", b'{"too":"3.1"}', 422),
        ("/churn/rollback", b'{"replicas":2}', 422),
        ("/churn/scale", b'{"replicas":2,"to":"3.1"}', 422),
        ("", b'{"endpoint":"churn","version":{"model":"a","model":"b"}}', 400),
        ("", b'{"weight":NaN}', 400),
        ("", b'{"a":' * 5_000, 400),
        ("", b'{"a":"\xff"}', 400),
        ("", b'{"a":"\\ud800"}', 400),
        ("/churn/rollback", b'{"to":"\\ud800"}', 400),
        ("/churn/rollback", b'{"\\udfff":1}', 400),
        ("/churn/rollback", b'{"to":' + b"9" * 5_000 + b"}", 400),
    ],
)
def test_control_bodies_say_each_thing_once(run, path, body, status):
    async def scenario():
        async with world() as it:
            data = post(body, "Authorization: Bearer secret", path="/api/v2/rollouts" + path)
            assert [reply.status for reply in await it.raw(data)] == [status]

    run(scenario())


def test_metrics_count_by_version(run):
    async def scenario():
        async with world() as it:
            await it.route([await it.replica("3.1", minutes_score)])
            for _ in range(3):
                await it.predict(GOOD)
            await it.predict(b"{")
            it.gateway.dispatcher.take_reports(1 << 60, 1.0, 1 << 60)
            it.gateway.dispatcher.take_reports(1 << 60, 1.0, 1 << 60)
            (reply,) = await it.raw(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n")
            text = reply.body.decode()
            assert 'divisions_requests_total{code="2xx",endpoint="churn",gateway="0",version="3.1"} 3.0' in text
            assert 'divisions_request_seconds_count{endpoint="churn",gateway="0",version="3.1"} 3' in text
            assert 'divisions_compute_seconds_count{endpoint="churn",gateway="0",version="3.1"} 3' in text
            refused = (
                'divisions_refused_total{code="MalformedRequestError",endpoint="churn",gateway="0",status="400"} 1.0'
            )
            assert refused in text
            assert "secret" not in text

    run(scenario())


@pytest.mark.parametrize("generation", ["9" * 5_000, "\xb2", "-1", "1e3", "0x1", "*"])
def test_a_generation_that_is_no_number_is_the_callers_fault(run, generation):
    async def scenario():
        async with world() as it:
            data = post(b"{}", "Authorization: Bearer secret", "If-Match: 1", path="/api/v2/rollouts/churn/abort")
            (reply,) = await it.raw(data.replace(b"If-Match: 1", b"If-Match: " + generation.encode("latin-1")))
            assert reply.status == 400
            assert "If-Match" in reply.json["detail"]

    run(scenario())


def test_an_error_of_the_controller_is_one_line_of_bounded_length(run):
    async def scenario():
        async with world() as it:

            async def command(command_json, actor):
                raise UnknownVersionError("x" * 100_000 + "\n\x1b[31m", remedy="name a version that runs")

            it.link.command = command
            (reply,) = await it.raw(post(b"{}", "Authorization: Bearer secret", path="/api/v2/rollouts/churn/abort"))
            assert reply.status == 404
            assert len(reply.body) < 3_000
            assert reply.json["detail"].isprintable()
            assert reply.json["detail"].endswith("name a version that runs")
            assert reply.json["code"] == "UnknownVersionError"

    run(scenario())
