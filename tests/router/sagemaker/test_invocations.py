"""What SageMaker's hosts ask of a container, over real HTTP."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import msgspec
import numpy as np
import pytest

from router.predict.decode import Row
from router.sagemaker.bodies import Form
from router.sagemaker.invocations import _Portions
from tests.router.gateway_world import features, minutes_score, post, world

CSV = "Content-Type: text/csv"
LINES = "Content-Type: application/jsonlines"


def invoke(body, *headers):
    return post(body, *headers, path="/invocations")


def get(path, host="localhost"):
    return f"GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode()


def over(scenario, run, **changes):
    async def running():
        async with world(**changes) as it:
            await it.route([await it.replica("3.1", minutes_score)])
            await scenario(it)

    run(running())


def test_csv_rows_get_one_score_per_line(run):
    async def scenario(it):
        (reply,) = await it.raw(invoke(b"125,gold,true\n250,,\n0,basic,false\n", CSV))
        assert (reply.status, reply.headers["content-type"]) == (200, "text/csv")
        assert reply.headers["x-model-version"] == "3.1"
        assert reply.body == b"0.125\n0.25\n0\n"

    over(scenario, run)


def test_the_bodies_of_awss_examples(run):
    """Linear learner's and TensorFlow Serving's JSON, JSON lines of a batch transform, XGBoost's CSV."""

    async def scenario(it):
        for document in (
            {"instances": [[125, "gold", True], [250, None, None]]},
            {"instances": [{"features": [125, "gold", True]}, {"features": [250, None, None]}]},
        ):
            (reply,) = await it.raw(invoke(document, "Content-Type: application/json", "Accept: */*"))
            assert reply.json == {"predictions": [{"score": 0.125}, {"score": 0.25}]}
        (reply,) = await it.raw(invoke(b'{"features":[125,"gold",true]}\n[250,null,null]\n', LINES))
        assert reply.body == b'{"score":0.125}\n{"score":0.25}\n'
        (reply,) = await it.raw(invoke({"instances": [[125, "gold", True]]}, "Accept: text/csv"))
        assert (reply.headers["content-type"], reply.body) == ("text/csv", b"0.125\n")

    over(scenario, run)


def test_a_predict_request_is_answered_as_predict_answers_it(run):
    async def scenario(it):
        body = {"customer_id": "c-1", "features": features(250.0)}
        (invoked,) = await it.raw(invoke(body, "X-Request-Id: r-1"))
        (predicted,) = await it.raw(post(body, "X-Request-Id: r-1"))
        assert invoked.status == 200
        assert invoked.json == predicted.json
        (reply,) = await it.raw(invoke({"instances": [body]}, "Accept: text/csv"))
        assert reply.body == b"0.25\n"

    over(scenario, run)


def test_more_rows_than_a_predict_request_may_have_come_back_in_order(run):
    """A part of a batch transform is larger than the queue; it goes through in portions."""

    async def scenario(it):
        rows = [n % 997 for n in range(10_000)]
        (reply,) = await it.raw(invoke(b"".join(b"%d,gold,true\n" % row for row in rows), CSV))
        assert reply.status == 200
        assert [float(line) for line in reply.body.split()] == pytest.approx([row / 1000 for row in rows])

    over(scenario, run)


def test_rows_are_split_over_versions(run):
    async def running():
        async with world() as it:
            stable = await it.replica("3.1", lambda rows: np.zeros(len(rows), np.float32))
            canary = await it.replica("3.2", lambda rows: np.ones(len(rows), np.float32))
            await it.route([stable], [canary], 5_000)
            (reply,) = await it.raw(invoke(b"1,gold,true\n" * 400, CSV))
            assert reply.headers["x-model-version"] == "3.1,3.2"
            assert 120 < sum(map(float, reply.body.split())) < 280

    run(running())


def test_a_caller_that_goes_away_takes_its_rows_along(run):
    asked = []

    def slow(rows):
        asked.append(len(rows))
        return minutes_score(rows)

    async def running():
        async with world() as it:
            await it.route([await it.replica("3.1", slow)])
            _, writer = await asyncio.open_connection("127.0.0.1", it.port)
            writer.write(invoke(b"1,gold,true\n" * 20_000, CSV))
            await writer.drain()
            while not it.gateway._http.connections:
                await asyncio.sleep(0.001)
            writer.transport.abort()
            while it.gateway._http.connections:
                await asyncio.sleep(0.001)
            (reply,) = await it.raw(invoke(b"1,gold,true\n", CSV))
            assert reply.status == 200
            assert sum(asked) < 20_000

    run(running())


@pytest.mark.parametrize(
    ("request_bytes", "status", "code"),
    [
        (invoke(b"1,gold\n", CSV), 422, "InvalidFeaturesError"),
        (invoke(b"{", "Content-Type: application/json"), 400, "MalformedRequestError"),
        (invoke(b"x", "Content-Type: application/x-npy"), 415, "UnsupportedMediaTypeError"),
        (invoke(b'{"customer_id":"c"}\n', LINES), 400, "MalformedRequestError"),
        (invoke(b"1e39,gold,true\n", CSV), 422, "InvalidFeaturesError"),
        (
            invoke(b"1,gold,true\n", CSV, "X-Amzn-SageMaker-Custom-Attributes: endpoint=fraud"),
            404,
            "UnknownEndpointError",
        ),
    ],
)
def test_what_cannot_be_answered_is_a_problem(run, request_bytes, status, code):
    async def scenario(it):
        (reply,) = await it.raw(request_bytes)
        assert (reply.status, reply.json["code"]) == (status, code)

    over(scenario, run)


def test_among_several_endpoints_a_request_names_one(run):
    async def running():
        async with world() as it:
            address = await it.replica("3.1", minutes_score)
            await it.route([address])
            table = it.link.table
            churn = table.endpoints[0]
            it.link.publish(
                msgspec.structs.replace(
                    table, epoch=9, endpoints=(churn, msgspec.structs.replace(churn, endpoint="fraud"))
                )
            )
            while it.gateway.dispatcher.epoch != 9:
                await asyncio.sleep(0.01)
            (reply,) = await it.raw(invoke(b"125,gold,true\n", CSV))
            assert reply.status == 400
            assert "endpoint=… (churn, fraud)" in reply.json["detail"]
            named = "X-Amzn-SageMaker-Custom-Attributes: caller=7,endpoint=fraud"
            (reply,) = await it.raw(invoke(b"125,gold,true\n", CSV, named))
            assert reply.body == b"0.125\n"

    run(running())


def test_ping_says_whether_it_can_answer_to_any_host(run):
    async def running():
        async with world() as it:
            (reply,) = await it.raw(get("/ping", "10.0.1.8:8080"))
            assert reply.status == 503
            assert (await it.raw(invoke(b"1,gold,true\n", CSV)))[0].status == 503
            await it.route([await it.replica("3.1", minutes_score)])
            (reply,) = await it.raw(get("/ping", "10.0.1.8:8080"))
            assert reply.status == 200
            (reply,) = await it.raw(invoke(b"1,gold,true\n", CSV).replace(b"localhost", b"10.0.1.8"))
            assert reply.status == 421

    run(running())


def test_a_batch_transform_learns_how_large_its_parts_may_be(run):
    async def scenario(it):
        (reply,) = await it.raw(get("/execution-parameters"))
        assert reply.json == {"MaxConcurrentTransforms": 4, "BatchStrategy": "MULTI_RECORD", "MaxPayloadInMB": 6}

    over(scenario, run, max_body_bytes=6 << 20)


def test_other_methods_are_refused(run):
    async def scenario(it):
        (reply,) = await it.raw(get("/invocations"))
        assert (reply.status, reply.headers["allow"]) == (405, "POST")

    over(scenario, run)


def test_a_caller_that_goes_between_two_portions_ends_its_request(run):
    """The one moment at which none of its rows is on its way."""
    sent = []

    class Handler:
        def send(self, endpoint, rows, answer, deadline_s):
            sent.append(len(rows))
            return []

    async def scenario():
        endpoint = SimpleNamespace(stable=SimpleNamespace(max_batch=1))
        request = SimpleNamespace(exchange=SimpleNamespace(work=None), received_s=0.0)
        rows = [Row("c", (1.0,)) for _ in range(20)]
        portions = _Portions(Handler(), endpoint, rows, Form.CSV, request, b"r", 1.0)
        portions.send_next()
        portions.answered([0.5] * 8, {b"3.1"})
        request.exchange.work.cancel()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert sent == [8]

    run(scenario())
