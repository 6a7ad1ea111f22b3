"""A row's answer does not depend on the other rows of its batch: a real gateway, real replicas, a real model."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import onnxruntime
import pytest

from benchmarks.harness.bench_bundle import ENDPOINT, Workload, write_workload
from benchmarks.lab.lab import Arrangement, Lab, lab
from divisions.control import Placement

pytestmark = pytest.mark.e2e
ROWS = 300
CLOSE = 1e-6


@pytest.fixture(scope="module")
def workload(tmp_path_factory: pytest.TempPathFactory) -> Workload:
    return write_workload(tmp_path_factory.mktemp("workload") / "bundle", seed=3)


@pytest.fixture(
    scope="module", params=[Placement.REPLICAS, Placement.IN_PROCESS], ids=lambda placement: placement.value
)
def running(request, workload: Workload, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    replicas = 2 if request.param is Placement.REPLICAS else 1
    # Batches of at most 48, so that 300 rows are split over replicas and joined again.
    arrangement = Arrangement(replicas=replicas, max_batch=48, placement=request.param, request_timeout_ms=20_000)
    with lab(workload, tmp_path_factory.mktemp("lab"), arrangement) as running:
        yield running


@pytest.fixture(scope="module")
def instances(workload: Workload) -> list[dict]:
    rows = np.random.default_rng(4).normal(size=(ROWS, workload.schema.num_columns)).astype(np.float32)
    return [
        {"customer_id": f"c-{number}", "features": dict(zip(workload.schema.names, map(float, row), strict=True))}
        for number, row in enumerate(rows)
    ]


@pytest.fixture(scope="module")
def client() -> Iterator[httpx.Client]:
    with httpx.Client(timeout=60) as client:
        yield client


@pytest.fixture(scope="module")
def alone(running: Lab, client: httpx.Client, instances: list[dict]) -> np.ndarray:
    """Every row's answer without other requests."""
    return scores([client.post(running.served.url, json=instance) for instance in instances])


def scores(replies: list[httpx.Response]) -> np.ndarray:
    assert {reply.status_code for reply in replies} == {200}
    return np.array([reply.json()[f"{ENDPOINT}_probability"] for reply in replies])


def test_alone_it_is_the_models_own_answer(workload, instances, alone):
    session = onnxruntime.InferenceSession(Path(workload.onnx).read_bytes(), providers=["CPUExecutionProvider"])
    rows = np.array([list(instance["features"].values()) for instance in instances], np.float32)
    own = np.concatenate([session.run(None, {"rows": row[None]})[0] for row in rows])
    assert np.ptp(own) > 0.2, "a model that answers all alike would prove nothing"
    np.testing.assert_allclose(alone, own, rtol=0, atol=CLOSE)


@pytest.mark.parametrize("connections", [3, 64])
def test_among_other_callers_it_is_the_same(running, instances, alone, connections):
    async def ask() -> list[httpx.Response]:
        limits = httpx.Limits(max_connections=connections)
        async with httpx.AsyncClient(limits=limits, timeout=60) as client:
            return await asyncio.gather(*[client.post(running.served.url, json=instance) for instance in instances])

    np.testing.assert_allclose(scores(asyncio.run(ask())), alone, rtol=0, atol=CLOSE)


@pytest.mark.parametrize("size", [2, 7, 48, 49, ROWS])
def test_among_other_rows_of_a_request_it_is_the_same(running, client, instances, alone, size):
    for start in range(0, ROWS, size):
        reply = client.post(running.served.url, json={"instances": instances[start : start + size]})
        assert reply.status_code == 200, reply.text
        predictions = reply.json()["predictions"]
        assert [row["customer_id"] for row in predictions] == [
            row["customer_id"] for row in instances[start : start + size]
        ]
        found = [row[f"{ENDPOINT}_probability"] for row in predictions]
        np.testing.assert_allclose(found, alone[start : start + size], rtol=0, atol=CLOSE)


@pytest.mark.parametrize("size", [1, 48, ROWS])
def test_as_a_tensor_it_is_the_same(running, client, workload, instances, alone, size):
    url = running.served.url.replace(f"/api/v2/predict/{ENDPOINT}", f"/v2/models/{ENDPOINT}/infer")
    rows = np.array([list(instance["features"].values()) for instance in instances], np.float32)
    for start in range(0, ROWS, size):
        part = rows[start : start + size]
        tensor = {"name": "rows", "shape": list(part.shape), "datatype": "FP32", "data": part.ravel().tolist()}
        reply = client.post(url, json={"inputs": [tensor]})
        assert reply.status_code == 200, reply.text
        np.testing.assert_allclose(reply.json()["outputs"][0]["data"], alone[start : start + size], rtol=0, atol=CLOSE)
