"""The Open Inference Protocol over real sockets: raw bytes in, raw bytes out."""

from __future__ import annotations

import asyncio
import math

import msgspec
import numpy as np
import pytest

from divisions.schema import Feature, FeatureKind, FeatureSchema
from tests.router.gateway_world import SCHEMA, minutes_score, post, world
from tests.router.oip.oip_requests import (
    GOOD,
    INFER,
    OUTPUT,
    RAW,
    binary,
    echo,
    encoded,
    feature_tensors,
    get,
    rows_tensor,
    texts,
)


def test_health_and_metadata_need_no_token_and_follow_the_table(run):
    async def scenario():
        async with world() as it:
            assert (await get(it, "/v2/health/live")).json == {"live": True}
            ready = await get(it, "/v2/health/ready")
            assert ready.status == 503
            assert ready.json["ready"] is False
            assert (await get(it, "/v2/models/churn")).status == 404
            await it.route([await it.replica("3.1", echo)], [await it.replica("3.2", echo)], 2_000)
            assert (await get(it, "/v2/health/ready")).json == {"ready": True}
            server = (await get(it, "/v2")).json
            assert server["name"] == "divisions"
            assert server["extensions"] == ["binary_tensor_data", "model_configuration", "statistics"]
            for name in ("churn", "churn-predictor"):
                model = (await get(it, f"/v2/models/{name}")).json
                assert model["name"] == name
                assert model["versions"] == ["3.1", "3.2"]
                assert model["platform"] == "onnx_onnxv1"
                assert [(each["name"], each["datatype"]) for each in model["inputs"]] == [
                    ("minutes", "FP32"),
                    ("plan", "BYTES"),
                    ("abroad", "BOOL"),
                ]
                assert model["outputs"] == [{"name": OUTPUT, "datatype": "FP32", "shape": [-1]}]
            assert (await get(it, "/v2/models/churn/versions/3.2")).json["versions"] == ["3.2"]
            assert (await get(it, "/v2/models/churn/ready")).json == {"name": "churn", "ready": True}
            assert (await get(it, "/v2/models/churn/versions/3.2/ready")).status == 200
            unknown = await get(it, "/v2/models/churn/versions/9.9/ready")
            assert unknown.status == 404
            assert "9.9" not in unknown.json["error"]
            index = (await get(it, "/v2/repository/index", "POST")).json
            assert [(each["name"], each["version"], each["state"]) for each in index] == [
                ("churn", "3.1", "READY"),
                ("churn", "3.2", "READY"),
            ]
            assert (await get(it, INFER)).headers["allow"] == "POST"

    run(scenario())


def test_a_version_without_replicas_is_not_ready(run):
    async def scenario():
        async with world() as it:
            await it.route([await it.replica("3.1", echo)], [], 0)
            assert (await get(it, "/v2/models/churn/versions/3.1/ready")).status == 200
            reply = await get(it, "/v2/models/churn/versions/3.2/ready")
            assert reply.status == 503
            assert reply.json["ready"] is False
            assert reply.json["error"]

    run(scenario())


@pytest.mark.parametrize(
    "path", [INFER, "/v2/models/churn-predictor/infer", INFER + "?x=1", "/v2/models/%63hurn/infer"]
)
def test_encoded_rows_in_json_flat_and_nested(run, path):
    async def scenario():
        async with world() as it:
            await it.route([await it.replica("3.1", minutes_score)])
            rows_NF = encoded(3, 100.0)
            for data in (rows_NF.tolist(), rows_NF.ravel().tolist()):
                tensor = {"name": "rows", "shape": [3, 3], "datatype": "FP32", "data": data}
                (reply,) = await it.raw(post({"id": "r-7", "inputs": [tensor]}, path=path))
                assert reply.status == 200
                assert reply.json["id"] == "r-7"
                assert reply.json["model_version"] == "3.1"
                (output,) = reply.json["outputs"]
                assert (output["name"], output["datatype"], output["shape"]) == (OUTPUT, "FP32", [3])
                assert np.array(output["data"], np.float32).tobytes() == minutes_score(rows_NF).tobytes()
                assert reply.headers["x-request-id"] == "r-7"
                assert reply.headers["server-timing"].startswith("queue;dur=")

    run(scenario())


@pytest.mark.parametrize("count", [1, 8, 9, 1_024])
def test_binary_rows_over_many_batches_come_back_whole_and_in_order(run, count):
    async def scenario():
        async with world() as it:
            await it.route([await it.replica("3.1", minutes_score), await it.replica("3.1", minutes_score)])
            rows_NF = encoded(count)
            request = {"inputs": [rows_tensor(rows_NF)], "parameters": {"binary_data_output": True}}
            (reply,) = await it.raw(binary(request, rows_NF.tobytes()))
            assert reply.status == 200
            assert reply.headers["content-type"] == "application/octet-stream"
            split = int(reply.headers["inference-header-content-length"])
            head = msgspec.json.decode(reply.body[:split])
            assert "id" not in head
            (output,) = head["outputs"]
            assert output["shape"] == [count]
            assert output["parameters"] == {"binary_data_size": 4 * count}
            assert reply.body[split:] == minutes_score(rows_NF).tobytes()

    run(scenario())


def test_the_requested_output_says_how_it_is_wanted(run):
    async def scenario():
        async with world() as it:
            await it.route([await it.replica("3.1", minutes_score)])
            rows_NF = encoded(2)

            async def ask(outputs: list, **parameters: object):
                request = {"inputs": [rows_tensor(rows_NF)], "outputs": outputs, "parameters": parameters}
                return (await it.raw(binary(request, rows_NF.tobytes())))[0]

            wanted = await ask([{"name": OUTPUT, "parameters": {"binary_data": True}}])
            assert "inference-header-content-length" in wanted.headers
            unwanted = await ask([{"name": OUTPUT, "parameters": {"binary_data": False}}], binary_data_output=True)
            assert unwanted.headers["content-type"] == "application/json"
            assert (await ask([{"name": OUTPUT}])).headers["content-type"] == "application/json"
            assert (await ask([{"name": "logits"}])).status == 400
            assert (await ask([{"name": OUTPUT}, {"name": OUTPUT}])).status == 400
            assert (await ask([{"name": OUTPUT, "parameters": {"classification": 2}}])).status == 400

    run(scenario())


def test_one_tensor_per_feature_is_encoded_by_the_schema_in_json_and_binary(run):
    async def scenario():
        async with world() as it:
            await it.route([await it.replica("3.1", echo)])
            expected = echo(np.array([[1.5, 1, 1], [math.nan, 2, 0], [-2, 0, math.nan], [0, math.nan, 1]], np.float32))
            inputs = feature_tensors(
                [1.5, None, -2, 0], ["basic", "gold", "unheard of", None], [True, False, None, True]
            )
            (reply,) = await it.raw(post({"inputs": inputs}, path=INFER))
            assert reply.json["outputs"][0]["data"] == pytest.approx(expected.tolist())

            tails = (
                np.array([1.5, math.nan, -2, 0], "<f8").tobytes(),
                texts(b"basic", b"gold", b"\xff\xfe", b""),
                bytes([1, 0, 1, 1]),
            )
            inputs = [
                {"name": "minutes", "shape": [4, 1], "datatype": "FP64"},
                {"name": "plan", "shape": [4], "datatype": "BYTES"},
                {"name": "abroad", "shape": [4], "datatype": "BOOL"},
            ]
            for each, tail in zip(inputs, tails, strict=True):
                each["parameters"] = {"binary_data_size": len(tail)}
            (reply,) = await it.raw(binary({"inputs": inputs}, *tails))
            with_abroad = expected.copy()
            with_abroad[2] += np.float32(0.005)
            assert reply.json["outputs"][0]["data"] == pytest.approx(with_abroad.tolist())

    run(scenario())


@pytest.mark.parametrize("datatype", ["INT8", "INT16", "INT32", "INT64", "UINT8", "UINT16", "UINT32", "UINT64", "FP16"])
def test_numeric_features_take_every_number(run, datatype):
    async def scenario():
        async with world() as it:
            await it.route([await it.replica("3.1", minutes_score)])
            dtype = {"FP16": "<f2"}.get(datatype) or f"<{datatype[0].lower()}{int(datatype.strip('UINT')) // 8}"
            raw = np.array([7, 100], dtype).tobytes()
            minutes = {"name": "minutes", "shape": [2], "datatype": datatype}
            others = feature_tensors([], ["gold"] * 2, [True] * 2)[1:]
            one = {**minutes, "parameters": {"binary_data_size": len(raw)}}
            (reply,) = await it.raw(binary({"inputs": [one, *others]}, raw))
            assert reply.json["outputs"][0]["data"] == pytest.approx([0.007, 0.1])
            (reply,) = await it.raw(post({"inputs": [{**minutes, "data": [7, 100]}, *others]}, path=INFER))
            assert reply.json["outputs"][0]["data"] == pytest.approx([0.007, 0.1])

    run(scenario())


def test_a_named_version_answers_itself_and_stays_out_of_the_evidence(run):
    async def scenario():
        async with world() as it:
            await it.route([await it.replica("3.1", echo)], [await it.replica("3.2", minutes_score)], 0)
            rows_NF = encoded(20)
            for version, score in (("3.1", echo), ("3.2", minutes_score)):
                path = f"/v2/models/churn/versions/{version}/infer"
                request = {"inputs": [rows_tensor(rows_NF)], "parameters": {"binary_data_output": True}}
                (reply,) = await it.raw(binary(request, rows_NF.tobytes(), path=path))
                assert reply.headers["x-model-version"] == version
                assert reply.body.endswith(score(rows_NF).tobytes())
            (reply,) = await it.raw(binary({"inputs": []}, path="/v2/models/churn/versions/9.9/infer"))
            assert reply.status == 404
            reports = it.gateway.dispatcher.take_reports(1 << 60, 1.0, 1 << 60)
            sent = [each for report in it.link.reports for each in report.endpoints]
            judged = [each for group in reports.values() for each in group] + sent
            assert sum(version.requests for each in judged for version in each.versions) == 0
            pools = it.gateway.dispatcher.endpoints["churn"].pools
            assert [pool.tally.totals.requests for pool in pools] == [{"2xx": 3}, {"2xx": 3}]

    run(scenario())


def test_a_failing_named_version_is_not_answered_by_another(run):
    failing = {"on": False}

    def canary(rows_NF):
        if failing["on"]:
            raise RuntimeError("no")
        return minutes_score(rows_NF)

    async def scenario():
        async with world() as it:
            await it.route([await it.replica("3.1", echo)], [await it.replica("3.2", canary)], 10_000)
            failing["on"] = True
            rows_NF = encoded(20)
            request = {"inputs": [rows_tensor(rows_NF)]}
            (named,) = await it.raw(binary(request, rows_NF.tobytes(), path="/v2/models/churn/versions/3.2/infer"))
            assert named.status == 502
            assert named.json["error"]
            (unnamed,) = await it.raw(binary(request, rows_NF.tobytes()))
            assert unnamed.status == 200
            assert unnamed.json["model_version"] == "3.1"
            assert unnamed.json["outputs"][0]["data"] == pytest.approx(echo(rows_NF).tolist())
            features = {"inputs": feature_tensors([5.0], ["gold"], [True])}
            (retried,) = await it.raw(post(features, path=INFER))
            assert retried.json["outputs"][0]["data"] == pytest.approx(echo(np.array([[5, 2, 1]], np.float32)).tolist())

    run(scenario())


def test_the_split_is_by_customer_sequence_or_request_and_all_rows_stay_together(run):
    async def scenario():
        async with world() as it:
            await it.route([await it.replica("3.1", minutes_score)], [await it.replica("3.2", minutes_score)], 5_000)
            rows_NF = encoded(12)

            async def version_of(request: dict, *headers: str) -> str:
                data = binary({"inputs": [rows_tensor(rows_NF)], **request}, rows_NF.tobytes(), headers=headers)
                (reply,) = await it.raw(data)
                assert reply.status == 200
                return reply.headers["x-model-version"]

            by_predict = {}
            for n in range(30):
                body = {"customer_id": f"c-{n}", "features": {"minutes": 1.0, "plan": "gold", "abroad": True}}
                by_predict[n] = (await it.predict(body)).json["version"]
            assert set(by_predict.values()) == {"3.1", "3.2"}
            for n, version in by_predict.items():
                assert await version_of({"parameters": {"customer_id": f"c-{n}"}}) == version
                assert await version_of({"id": "same"}, f"x-customer-id: c-{n}") == version
            numbered = {}
            for n in range(30):
                body = {"customer_id": n, "features": {"minutes": 1.0, "plan": "gold", "abroad": True}}
                numbered[n] = (await it.predict(body)).json["version"]
            assert set(numbered.values()) == {"3.1", "3.2"}
            for n, version in numbered.items():
                for spelt in (n, float(n), str(n)):
                    assert await version_of({"parameters": {"customer_id": spelt}}) == version
            assert len({await version_of({"parameters": {"sequence_id": 7}}) for _ in range(8)}) == 1
            assert len({await version_of({"parameters": {"sequence_id": 0}}) for _ in range(40)}) == 2
            assert {await version_of({}) for _ in range(40)} == {"3.1", "3.2"}

    run(scenario())


def test_encoded_rows_go_to_stable_where_the_canary_encodes_otherwise(run):
    wider = FeatureSchema((*SCHEMA.features, Feature("tenure", FeatureKind.NUMERIC)))

    def by_tenure(rows_NF):
        return np.nan_to_num(rows_NF[:, 3], nan=-1.0).astype(np.float32)

    async def scenario():
        async with world() as it:
            stable = [await it.replica("3.1", minutes_score)]
            canary = [await it.replica("3.2", by_tenure, columns=4)]
            await it.route(stable, canary, 10_000, canary_schema=wider)
            rows_NF = encoded(10)
            (reply,) = await it.raw(binary({"inputs": [rows_tensor(rows_NF)]}, rows_NF.tobytes()))
            assert reply.json["model_version"] == "3.1"
            named = "/v2/models/churn/versions/3.2/infer"
            (reply,) = await it.raw(binary({"inputs": [rows_tensor(rows_NF)]}, rows_NF.tobytes(), path=named))
            assert reply.status == 400
            wide_NF = np.hstack([rows_NF, np.full((10, 1), 0.25, np.float32)])
            (reply,) = await it.raw(binary({"inputs": [rows_tensor(wide_NF)]}, wide_NF.tobytes(), path=named))
            assert reply.json["outputs"][0]["data"] == [0.25] * 10

            features = feature_tensors([1.0], ["gold"], [True])
            (reply,) = await it.raw(post({"inputs": features}, path=INFER))
            assert (reply.json["model_version"], reply.json["outputs"][0]["data"]) == ("3.2", [-1.0])
            tenure = {"name": "tenure", "shape": [1], "datatype": "FP32", "data": [0.5]}
            (reply,) = await it.raw(post({"inputs": [*features, tenure]}, path=INFER))
            assert (reply.json["model_version"], reply.json["outputs"][0]["data"]) == ("3.2", [0.5])
            assert (await it.raw(post({"inputs": features}, path=named)))[0].status == 400
            metadata = (await get(it, "/v2/models/churn/versions/3.2")).json
            assert metadata["inputs"][-1]["name"] == "tenure"

    run(scenario())


def test_a_caller_that_leaves_takes_its_rows_along(run):
    async def scenario():
        async with world() as it:
            await it.route([], channels=0)
            rows_NF = encoded(100)
            reader, writer = await asyncio.open_connection("127.0.0.1", it.port)
            writer.write(binary({"inputs": [rows_tensor(rows_NF)]}, rows_NF.tobytes()))
            pool = it.gateway.dispatcher.endpoints["churn"].stable
            while pool.queue.rows != 100:
                await asyncio.sleep(0.01)
            writer.close()
            while it.gateway._http.connections:
                await asyncio.sleep(0.01)
            assert pool.queue.drain() == []
            del reader

    run(scenario())


def test_the_timeout_parameter_is_a_deadline_in_microseconds(run):
    async def scenario():
        async with world(request_timeout_ms=5_000) as it:
            await it.route([], channels=0)
            request = {"inputs": [GOOD], "parameters": {"timeout": 30_000}}
            (reply,) = await it.raw(binary(request, RAW))
            assert reply.status == 504
            assert reply.json["error"]

    run(scenario())
