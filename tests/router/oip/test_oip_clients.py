"""The Open Inference Protocol as its own clients speak it: the real `tritonclient` against a gateway in a thread."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from typing import Any

import numpy as np
import pytest
import uvloop
from tritonclient import http as httpclient
from tritonclient.utils import InferenceServerException

from divisions.clock import SystemClock
from tests.router.gateway_world import World, minutes_score, world

OUTPUT = "churn_probability"


def by_minutes(rows_NF: np.ndarray) -> np.ndarray:
    return minutes_score(np.nan_to_num(rows_NF, nan=750.0))


def half(rows_NF: np.ndarray) -> np.ndarray:
    return np.full(len(rows_NF), 0.5, np.float32)


@pytest.fixture
def it() -> Iterator[World]:
    """A gateway with stable 3.1, which scores by minutes, and canary 3.2, which gets no share of the split."""
    started: Future[World] = Future()
    stop = asyncio.Event()

    async def serve() -> None:
        async with world(request_timeout_ms=5_000) as it:
            stable = [await it.replica("3.1", by_minutes) for _ in range(2)]
            await it.route(stable, [await it.replica("3.2", half)], 0)
            started.set_result(it)
            await stop.wait()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        loop = runner.get_loop()
        thread = threading.Thread(target=runner.run, args=[serve()], daemon=True)
        thread.start()
        yield started.result(20)
        loop.call_soon_threadsafe(stop.set)
        thread.join(120)


@pytest.fixture
def client(it: World) -> Iterator[Any]:
    with httpclient.InferenceServerClient(f"127.0.0.1:{it.port}") as client:
        yield client


def encoded(count: int) -> np.ndarray:
    return np.stack([np.array([n, 2, 1], np.float32) for n in range(count)])


def rows_input(rows_NF: np.ndarray, is_binary: bool) -> list[Any]:
    tensor = httpclient.InferInput("rows", list(rows_NF.shape), "FP32")
    return [tensor.set_data_from_numpy(rows_NF, binary_data=is_binary)]


def feature_inputs(is_binary: bool) -> list[Any]:
    values = {
        "minutes": (np.array([100.0, np.nan if is_binary else 250.0]), "FP64"),
        "plan": (np.array(["gold", "none such"], dtype=np.object_), "BYTES"),
        "abroad": (np.array([True, False]), "BOOL"),
    }
    return [
        httpclient.InferInput(name, [2], datatype).set_data_from_numpy(value, binary_data=is_binary)
        for name, (value, datatype) in values.items()
    ]


def test_health_readiness_and_metadata(client):
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("churn")
    assert client.is_model_ready("churn-predictor", "3.2")
    assert not client.is_model_ready("churn", "9.9")
    assert not client.is_model_ready("none")
    assert "binary_tensor_data" in client.get_server_metadata()["extensions"]
    metadata = client.get_model_metadata("churn", "3.1")
    assert [each["name"] for each in metadata["inputs"]] == ["minutes", "plan", "abroad"]
    assert [each["name"] for each in metadata["outputs"]] == [OUTPUT]
    assert [entry["state"] for entry in client.get_model_repository_index()] == ["READY", "READY"]


@pytest.mark.parametrize("is_binary", [True, False])
@pytest.mark.parametrize("count", [1, 100])
def test_encoded_rows(client, is_binary, count):
    rows_NF = encoded(count)
    outputs = [httpclient.InferRequestedOutput(OUTPUT, binary_data=is_binary)]
    for wanted in (outputs, None):
        result = client.infer("churn", rows_input(rows_NF, is_binary), request_id="r-1", outputs=wanted)
        assert np.array_equal(result.as_numpy(OUTPUT), minutes_score(rows_NF))
        assert result.get_response()["id"] == "r-1"
        assert result.get_response()["model_version"] == "3.1"


@pytest.mark.parametrize("is_binary", [True, False])
def test_features_by_name(client, is_binary):
    result = client.infer("churn-predictor", feature_inputs(is_binary), parameters={"customer_id": "c-7"})
    assert result.as_numpy(OUTPUT).tolist() == pytest.approx([0.1, 0.75 if is_binary else 0.25])


def test_a_named_version(client):
    result = client.infer("churn", rows_input(encoded(3), True), model_version="3.2")
    assert result.as_numpy(OUTPUT).tolist() == [0.5] * 3
    assert result.get_response()["model_version"] == "3.2"


def test_asynchronous_calls(it):
    with httpclient.InferenceServerClient(f"127.0.0.1:{it.port}", concurrency=4) as client:
        calls = [client.async_infer("churn", rows_input(encoded(n), True)) for n in range(1, 20)]
        for n, call in enumerate(calls, 1):
            assert np.array_equal(call.get_result().as_numpy(OUTPUT), minutes_score(encoded(n)))


@pytest.mark.parametrize(
    ("ask", "status"),
    [
        (lambda client: client.infer("none", rows_input(encoded(1), True)), "404"),
        (lambda client: client.infer("churn", rows_input(encoded(1)[:, :2], True)), "400"),
        (lambda client: client.infer("churn", rows_input(encoded(1), True), request_id="a b"), "400"),
        (lambda client: client.infer("churn", feature_inputs(True)[:1]), "400"),
        (
            lambda client: client.infer("churn", rows_input(encoded(1), True), request_compression_algorithm="gzip"),
            "415",
        ),
        (lambda client: client.load_model("churn"), "404"),
    ],
)
def test_errors_reach_the_caller_with_their_text(client, ask: Callable, status: str):
    with pytest.raises(httpclient.InferenceServerException) as caught:
        ask(client)
    assert caught.value.status() == status
    assert len(caught.value.message()) > 10
    assert client.is_server_live()


def test_the_configuration_is_what_perf_analyzer_needs(client):
    found = client.get_model_config("churn")
    assert (found["name"], found["max_batch_size"], found["platform"]) == ("churn", 4096, "onnx_onnxv1")
    assert [(each["name"], each["data_type"]) for each in found["input"]] == [
        ("minutes", "TYPE_FP32"),
        ("plan", "TYPE_STRING"),
        ("abroad", "TYPE_BOOL"),
    ]
    assert found["output"][0]["name"] == OUTPUT
    assert found["instance_group"][0]["count"] == 2
    assert found["dynamic_batching"]["preferred_batch_size"] == [8]
    assert client.get_model_config("churn", "3.2")["parameters"]["version"]["string_value"] == "3.2"
    with pytest.raises(InferenceServerException, match="not deployed"):
        client.get_model_config("churn", "9.9")


def test_statistics_are_true_at_once_and_for_each_version(client):
    rows = httpclient.InferInput("rows", [20, 3], "FP32")
    rows.set_data_from_numpy(encoded(20))
    for _ in range(3):
        client.infer("churn", [rows])
    client.infer("churn", [rows], model_version="3.2")
    stable, canary = client.get_inference_statistics("churn")["model_stats"]
    assert (stable["version"], canary["version"]) == ("3.1", "3.2")
    assert (stable["inference_count"], canary["inference_count"]) == (60, 20)
    assert stable["execution_count"] == 9  # 20 rows are batches of 8, 8 and 4.
    times = stable["inference_stats"]
    assert times["success"]["count"] == 9
    assert times["fail"]["count"] == 0
    assert times["success"]["ns"] == pytest.approx(times["queue"]["ns"] + times["compute_infer"]["ns"], abs=2)
    assert times["compute_infer"]["ns"] > 0
    assert abs(stable["last_inference"] / 1000 - SystemClock().wall_s()) < 60
    (named,) = client.get_inference_statistics("churn", "3.2")["model_stats"]
    assert named["inference_count"] == 20
    assert len(client.get_inference_statistics()["model_stats"]) == 2
