"""``GET /openapi.json``: the routes and the document are the same, and every endpoint is in it."""

from __future__ import annotations

import asyncio

import msgspec
from openapi_spec_validator import validate

from divisions.schema import Feature, FeatureKind, FeatureSchema
from router.gateway.api import _is_open
from router.gateway.api_document import every_operation
from router.http.methods import PostOnly
from tests.router.gateway_world import features, minutes_score, world

ASK = b"GET /openapi.json HTTP/1.1\r\nHost: localhost\r\n%s\r\n"


async def document(it) -> dict:
    (reply,) = await it.raw(ASK % b"")
    assert (reply.status, reply.headers["content-type"]) == (200, "application/json")
    return reply.json


def test_every_route_is_in_the_document_and_nothing_else(run):
    async def scenario():
        async with world() as it:
            routes = {
                (method, route.path.replace(":path}", "}"))
                for route in it.gateway._asgi._app.routes
                for method in (["POST"] if isinstance(route.app, PostOnly) else route.methods - {"HEAD"})
            }
            described = (await document(it))["paths"]
            assert routes == {(method.upper(), path) for path, methods in described.items() for method in methods}

    run(scenario())


def test_the_document_asks_for_the_token_where_the_gateway_does():
    for operation in every_operation({}):
        path = operation.path.replace("{", "").replace("}", "")
        assert _is_open(path) is (operation.needs_token is not True)


def test_a_deployed_endpoint_has_a_path_with_its_features(run):
    async def scenario():
        async with world() as it:
            assert "/api/v2/predict/churn" not in (await document(it))["paths"]
            stable, canary = await it.replica("3.1", minutes_score), await it.replica("3.2", minutes_score, columns=1)
            further = FeatureSchema((Feature("age", FeatureKind.NUMERIC),))
            await it.route([stable], [canary], 2_000, canary_schema=further)
            found = await document(it)
            validate(found)
            body = found["paths"]["/api/v2/predict/churn"]["post"]["requestBody"]["content"]["application/json"]
            one, many = body["schema"]["anyOf"]
            known = one["properties"]["features"]["anyOf"][0]
            assert known["required"] == list(features())
            assert list(known["properties"]) == [*features(), "age"]
            assert known["properties"]["plan"] == {"type": ["string", "null"]}
            assert known["additionalProperties"] is False
            assert many["properties"]["instances"]["maxItems"] == 4_096

    run(scenario())


def test_it_is_rendered_once_for_a_set_of_endpoints(run):
    async def scenario():
        async with world() as it:
            (first,), (second,) = await asyncio.gather(it.raw(ASK % b""), it.raw(ASK % b""))
            assert first.body == second.body
            etag = first.headers["etag"]
            (same,) = await it.raw(ASK % f"If-None-Match: {etag}\r\n".encode())
            assert (same.status, same.body) == (304, b"")
            await it.route([await it.replica("3.1", minutes_score)])
            (changed,) = await it.raw(ASK % f"If-None-Match: {etag}\r\n".encode())
            assert changed.status == 200
            assert changed.headers["etag"] != etag

    run(scenario())


def test_it_tells_nothing_but_names_of_endpoints_and_features(run):
    async def scenario():
        async with world() as it:
            await it.route([await it.replica("3.1", minutes_score)])
            text = msgspec.json.encode(await document(it)).decode()
            assert "secret" not in text
            assert str(it.folder) not in text

    run(scenario())
