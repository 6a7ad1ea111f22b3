"""Requests of the Open Inference Protocol that are refused, over real sockets."""

from __future__ import annotations

import asyncio
import math

import numpy as np
import pytest

from divisions.control import EndpointRoute, RoutingTable
from tests.router.gateway_world import minutes_score, post, world
from tests.router.oip.oip_requests import GOOD, INFER, RAW, binary, feature_tensors, get, rows_tensor

BAD: dict[str, tuple[object, tuple[bytes, ...]]] = {
    "negative shape": ({"inputs": [GOOD | {"shape": [-2, -3]}]}, (RAW,)),
    "overflowing shape": ({"inputs": [GOOD | {"shape": [1 << 61, 1 << 61]}]}, (RAW,)),
    "beyond 64 bits": ({"inputs": [GOOD | {"shape": [1 << 70, 3]}]}, (RAW,)),
    "shape not of the data": ({"inputs": [GOOD | {"shape": [3, 3]}]}, (RAW,)),
    "many dimensions": ({"inputs": [GOOD | {"shape": [1] * 9}]}, (RAW,)),
    "no rows": ({"inputs": [rows_tensor(np.zeros((0, 3), np.float32))]}, ()),
    "too many rows": ({"inputs": [rows_tensor(np.zeros((4_097, 3), np.float32))]}, (bytes(4_097 * 12),)),
    "other columns": ({"inputs": [rows_tensor(np.zeros((2, 4), np.float32))]}, (bytes(32),)),
    "infinity": ({"inputs": [GOOD]}, (np.array([[math.inf, 1, 1], [0, 0, 0]], np.float32).tobytes(),)),
    "a code out of range": ({"inputs": [GOOD]}, (np.array([[0, 3, 1], [0, 0, 0]], np.float32).tobytes(),)),
    "truncated": ({"inputs": [GOOD]}, (RAW[:-1],)),
    "bytes left over": ({"inputs": [GOOD]}, (RAW, b"x")),
    "unknown datatype": ({"inputs": [GOOD | {"datatype": "<b>"}]}, (RAW,)),
    "FP64 rows": ({"inputs": [GOOD | {"datatype": "FP64", "shape": [1, 3]}]}, (RAW,)),
    "unknown input": ({"inputs": [GOOD | {"name": "<b>"}]}, (RAW,)),
    "rows and a feature": ({"inputs": [GOOD, feature_tensors([1.0], [], [])[0]]}, (RAW,)),
    "rows twice": ({"inputs": [GOOD, GOOD]}, (RAW, RAW)),
    "no inputs": ({"inputs": []}, ()),
    "inputs missing": ({"id": "x"}, ()),
    "a feature missing": ({"inputs": feature_tensors([1.0], ["gold"], [True])[:2]}, ()),
    "different numbers of rows": ({"inputs": feature_tensors([1.0], ["gold", "gold"], [True])}, ()),
    "text for a number": ({"inputs": feature_tensors(["<b>"], ["gold"], [True])}, ()),
    "number for a text": ({"inputs": feature_tensors([1.0], [1], [True])}, ()),
    "number for a boolean": ({"inputs": feature_tensors([1.0], ["gold"], [1])}, ()),
    "beyond float32": ({"inputs": feature_tensors([3.5e38], ["gold"], [True])}, ()),
    "data and raw": ({"inputs": [GOOD | {"data": [1]}]}, (RAW,)),
    "neither": ({"inputs": [{"name": "rows", "shape": [1, 3], "datatype": "FP32"}]}, ()),
    "shared memory": ({"inputs": [GOOD | {"parameters": {"shared_memory_region": "<b>"}}]}, ()),
    "an odd id": ({"id": "<b>", "inputs": [GOOD]}, (RAW,)),
    "a long id": ({"id": "i" * 129, "inputs": [GOOD]}, (RAW,)),
    "a key that is a fraction": ({"inputs": [GOOD], "parameters": {"customer_id": 7.5}}, (RAW,)),
    "a key that is a boolean": ({"inputs": [GOOD], "parameters": {"customer_id": True}}, (RAW,)),
    "a key that is none": ({"inputs": [GOOD], "parameters": {"customer_id": ["<b>"]}}, (RAW,)),
    "a timeout that is none": ({"inputs": [GOOD], "parameters": {"timeout": "<b>"}}, (RAW,)),
    "not an object": ([1], ()),
}


@pytest.mark.parametrize("name", list(BAD))
def test_bad_requests_get_400_with_an_error_that_repeats_nothing(run, name):
    request, tails = BAD[name]

    async def scenario():
        async with world() as it:
            await it.route([await it.replica("3.1", minutes_score)], [await it.replica("3.2", minutes_score)], 5_000)
            (reply,) = await it.raw(binary(request, *tails))
            assert reply.status == 400
            assert reply.headers["content-type"] == "application/problem+json"
            assert isinstance(reply.json["error"], str)
            assert "<b>" not in reply.body.decode()
            assert "x-request-id" in reply.headers
            (good,) = await it.raw(binary({"inputs": [GOOD]}, RAW))
            assert good.status == 200

    run(scenario())


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (post(b"{", path=INFER), 400),
        (post(b'{"inputs":[{"name":"rows","shape":[1,3],"datatype":"FP32","data":[NaN,1,1]}]}', path=INFER), 400),
        (post(b'{"inputs":[{"name":"rows","shape":[1,3],"datatype":"FP32","data":[1e999,1,1]}]}', path=INFER), 400),
        (post(b'{"inputs":' + b"[" * 100_000 + b"]" * 100_000 + b"}", path=INFER), 400),
        (post(b'{"inputs":[{"name":"rows","shape":[1,3],"datatype":"FP32","data":' + b"[" * 9_999, path=INFER), 400),
        (post(b"{}", "Inference-Header-Content-Length: 3", path=INFER), 400),
        (post(b"{}", "Inference-Header-Content-Length: -1", path=INFER), 400),
        (post(b"{}", "Inference-Header-Content-Length: " + "9" * 5_000, path=INFER), 400),
        (post(b"{}", *["Inference-Header-Content-Length: 2"] * 2, path=INFER), 400),
        (post(b"{}", "Content-Type: text/plain", path=INFER), 415),
        (post(b"x", "Content-Encoding: gzip", path=INFER), 415),
        (post(b"{}", "x-request-timeout-ms: soon", path=INFER), 400),
        (post(b"{}", path="/v2/models/<b>/infer"), 404),
        (post(b"{}", path="/v2/models/churn/versions/<b>/infer"), 404),
        (post(b"{}", path="/v2/models/a/b/infer"), 404),
        (post(b"{}", path="/v2/repository/models/churn/load"), 404),
    ],
)
def test_malformed_requests_get_their_status(run, data, status):
    async def scenario():
        async with world() as it:
            await it.route([await it.replica("3.1", minutes_score)])
            (reply,) = await it.raw(data)
            assert reply.status == status
            assert isinstance(reply.json["error"], str)
            assert "<b>" not in reply.body.decode()
            (good,) = await it.raw(binary({"inputs": [GOOD]}, RAW))
            assert good.status == 200

    run(scenario())


def test_a_model_of_several_endpoints_is_found_by_endpoint_only(run):
    async def scenario():
        async with world() as it:
            await it.route([await it.replica("3.1", minutes_score)])
            versions = it.link.table.endpoints[0].versions
            table = RoutingTable(99, (EndpointRoute("churn", "a", versions), EndpointRoute("upsell", "b", versions)))
            it.link.publish(table)
            while it.gateway.dispatcher.epoch != 99:
                await asyncio.sleep(0.01)
            assert (await get(it, "/v2/models/churn-predictor")).status == 404
            assert (await get(it, "/v2/models/upsell")).json["outputs"][0]["name"] == "upsell_probability"
            (reply,) = await it.raw(binary({"inputs": [GOOD]}, RAW, path="/v2/models/upsell/infer"))
            assert reply.json["model_name"] == "upsell"

    run(scenario())


def test_nothing_deployed_is_unavailable_and_not_unknown(run):
    async def scenario():
        async with world() as it:
            (reply,) = await it.raw(binary({"inputs": [GOOD]}, RAW))
            assert reply.status == 503

    run(scenario())
