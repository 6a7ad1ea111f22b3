"""Both protocols refuse alike: with a code, a count, and a line in the log for what is not the caller's fault."""

from __future__ import annotations

import logging

import msgspec
import numpy as np
import pytest

from divisions import errors
from divisions.sdk import calls
from divisions.sdk.predict import predict_one
from tests.router.gateway_world import features, minutes_score, post, world

TRACE = "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
INFER = {
    "inputs": [
        {"name": "minutes", "shape": [1], "datatype": "FP32", "data": [1.0]},
        {"name": "plan", "shape": [1], "datatype": "BYTES", "data": ["gold"]},
        {"name": "abroad", "shape": [1], "datatype": "BOOL", "data": [True]},
    ]
}
PREDICT = {"features": features()}
BOTH = pytest.mark.parametrize(
    ("path", "body"), [("/api/v2/predict/{}", PREDICT), ("/v2/models/{}/infer", INFER)], ids=["predict", "infer"]
)


def fails(rows_NF):
    if rows_NF.any():
        raise RuntimeError("no")
    return np.zeros(len(rows_NF), np.float32)


@BOTH
def test_a_failed_request_is_logged_with_its_trace_and_counted(run, caplog, path, body):
    async def scenario():
        async with world() as it:
            await it.route([await it.replica("3.1", fails)])
            with caplog.at_level(logging.WARNING, "divisions.requests"):
                (reply,) = await it.raw(post(body, TRACE, "x-request-id: r-1", path=path.format("churn")))
            assert (reply.status, reply.json["code"]) == (502, "ReplicaFailedError")
            assert reply.headers["x-request-id"] == "r-1"
            (line,) = [msgspec.json.decode(text) for text in caplog.messages if "request_failed" in text]
            assert line["endpoint"] == "churn"
            assert line["request_id"] == "r-1"
            assert line["trace_id"] == "0af7651916cd43dd8448eb211c80319c"
            (metrics,) = await it.raw(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n")
            count = 'divisions_refused_total{code="ReplicaFailedError",endpoint="churn",gateway="0",status="502"} 1.0'
            assert count in metrics.body.decode()

    run(scenario())


@BOTH
def test_a_mistyped_endpoint_is_told_from_an_unknown_customer(run, path, body):
    async def scenario():
        async with world() as it:
            await it.route([await it.replica("3.1", minutes_score)])
            (reply,) = await it.raw(post(body, path=path.format("chrun")))
            assert (reply.status, reply.json["code"]) == (404, "UnknownEndpointError")
            assert "churn" in reply.json["detail"]
            with pytest.raises(errors.UnknownEndpointError):
                calls.answer(predict_one("chrun", "customer_id", "c", None), reply.status, reply.headers, reply.body)

    run(scenario())


@BOTH
def test_nothing_deployed_is_told_from_overload(run, path, body):
    async def scenario():
        async with world() as it:
            (reply,) = await it.raw(post(body, path=path.format("churn")))
            assert (reply.status, reply.json["code"]) == (503, "NothingDeployedError")
            assert "retry-after" not in reply.headers
            with pytest.raises(errors.NothingDeployedError, match="divisions run"):
                calls.answer(predict_one("churn", "customer_id", "c", None), reply.status, reply.headers, reply.body)

    run(scenario())


@BOTH
@pytest.mark.parametrize(
    ("header", "status", "code"),
    [
        ("x-request-timeout-ms: 0", 400, "MalformedRequestError"),
        ("x-request-timeout-ms: soon", 400, "MalformedRequestError"),
        ("content-type: text/html", 415, "UnsupportedMediaTypeError"),
    ],
)
def test_a_bad_head_is_refused_with_its_code_each_time(run, path, body, header, status, code):
    async def scenario():
        async with world() as it:
            await it.route([await it.replica("3.1", minutes_score)])
            data = post(body, header, path=path.format("churn"))
            for reply in await it.raw(data * 3, 3):
                assert (reply.status, reply.json["code"]) == (status, code)
                assert reply.headers["x-request-id"].startswith("gw-")

    run(scenario())


@pytest.mark.parametrize(
    ("header", "status", "code"),
    [
        ((), 401, "MissingTokenError"),
        (("authorization: Bearer wrong",), 403, "AccessDeniedError"),
        (("authorization: Bearer secret",), 404, "UnknownVersionError"),
    ],
)
def test_a_tester_without_the_token_is_refused(run, header, status, code):
    async def scenario():
        async with world() as it:
            await it.route([await it.replica("3.1", minutes_score)])
            reply = await it.predict({"features": features()}, "x-divisions-version: 9.9", *header)
            assert (reply.status, reply.json["code"]) == (status, code)

    run(scenario())


@pytest.mark.parametrize("name", ["timeout", "sequence_id", "customer_id"])
@pytest.mark.parametrize("digits", [19, 309, 5_000])
def test_a_parameter_of_any_size_is_answered(run, name, digits):
    async def scenario():
        async with world() as it:
            await it.route([await it.replica("3.1", minutes_score)])
            body = msgspec.json.encode(INFER)[:-1] + b',"parameters":{"%s":1%s}}' % (name.encode(), b"0" * digits)
            (reply,) = await it.raw(post(body, path="/v2/models/churn/infer"))
            assert reply.status in {200, 400}
            assert reply.status == 200 or reply.json["code"] in {"InvalidFeaturesError", "MalformedRequestError"}
            if digits < 1_000 and name == "timeout":
                assert reply.status == 200

    run(scenario())
