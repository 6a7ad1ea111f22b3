"""A version's application on a real Ray cluster of its own, with a stand-in for the controller."""

from __future__ import annotations

import hashlib
import os
import signal
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import ray
from onnx import TensorProto, helper

from divisions.bundle import ONNX, Manifest, write_manifest
from divisions.control import EngineChoice, Faults, ReplicaAddress, VersionSpec
from divisions.errors import FaultsRefusedError
from divisions.schema import Feature, FeatureKind, FeatureSchema
from divisions.wire import HelloAck, Reply, Status, decode_frame, encode_hello, encode_request
from tests.e2e.ray_in_process import running_ray

pytestmark = pytest.mark.e2e


def write_bundle(folder: Path) -> VersionSpec:
    """A bundle whose model adds up two features, and the version that serves it."""
    graph = helper.make_graph(
        [helper.make_node("ReduceSum", ["rows", "axes"], ["scores"], keepdims=0)],
        "sum",
        [helper.make_tensor_value_info("rows", TensorProto.FLOAT, ["N", 2])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["N"])],
        [helper.make_tensor("axes", TensorProto.INT64, [1], [1])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9).SerializeToString()
    schema = FeatureSchema(tuple(Feature(name, FeatureKind.NUMERIC) for name in ("a", "b")))
    folder.mkdir(parents=True)
    (folder / ONNX).write_bytes(model)
    files = {ONNX: hashlib.sha256(model).hexdigest()}
    sha256 = write_manifest(folder, Manifest("adder", "adder-v1", "run", "2025-01-14", schema, {}, files))
    return VersionSpec("adder", "1.1", str(folder), sha256, schema, replicas=1, num_cpus=0.5, max_batch=8)


def start_controller() -> Any:
    # Inside a function, because Ray's workers cannot import a test module, and then take the class by value.
    class Controller:
        """Replaces the controller: records the replicas that registered since its start."""

        def __init__(self) -> None:
            self._payloads: list[bytes] = []
            self._left: list[str] = []

        async def register_replica(self, payload: bytes) -> None:
            self._payloads.append(payload)

        async def leave_replica(self, replica_id: str) -> None:
            self._left.append(replica_id)

        async def left(self) -> list[str]:
            return self._left

        async def issue_certificate(self, request: bytes) -> bytes:
            from divisions.certificates.authority import new_authority
            from divisions.clock import SystemClock
            from router.control.certificates import CertificateDesk

            clock, path = SystemClock(), Path(os.environ["DIVISIONS_HOME"]) / "ca.pem"
            path.write_bytes(new_authority(clock.wall_s()).pem)
            return CertificateDesk(path, clock).issue(request)

        async def seen(self) -> tuple[int, list[bytes]]:
            return os.getpid(), self._payloads

    options = {"name": "divisions-controller", "namespace": "divisions", "lifetime": "detached"}
    return ray.remote(Controller).options(num_cpus=0, max_restarts=-1, **options).remote()


class Cluster:
    def __init__(self, home: Path) -> None:
        self.home = home
        self.controller = start_controller()

    def registered(self) -> tuple[int, dict[str, ReplicaAddress]]:
        pid, payloads = ray.get(self.controller.seen.remote(), timeout=60)
        addresses = [msgspec.msgpack.decode(payload, type=ReplicaAddress) for payload in payloads]
        return pid, {address.replica_id: address for address in addresses}

    def wait_for(self, ask: Callable[[], object], timeout_s: float = 180.0) -> object:
        end_s = time.monotonic() + timeout_s
        while time.monotonic() < end_s:
            try:
                if answer := ask():
                    return answer
            except ray.exceptions.RayError:
                pass
            time.sleep(0.05)
        raise AssertionError("it did not happen in time")


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    # The GPU lets versions with a share of one start on a machine without one.
    with running_ray(num_gpus=1, DIVISIONS_ALLOW_FAULTS="1") as home:
        (home / "channel_token").write_text("shared")
        yield Cluster(home)


def score(address: ReplicaAddress, rows: np.ndarray) -> Reply:
    with socket.socket(socket.AF_UNIX) as line:
        line.settimeout(60)
        line.connect(address.unix_path)
        line.sendall(encode_hello(b""))
        assert decode_frame(line.recv(1 << 16)) == HelloAck(Status.OK, 2, 8, "1.1")
        line.sendall(encode_request(7, len(rows), 2, 60_000_000, rows.astype(np.float32).tobytes()))
        reply = decode_frame(line.recv(1 << 16))
        assert isinstance(reply, Reply)
        return reply


def start(cluster: Cluster, spec: VersionSpec) -> dict[str, ReplicaAddress]:
    from ray import serve

    from serving.replica.ray_app import build_application

    before = set(cluster.registered()[1])
    application = build_application(msgspec.json.encode(spec), str(cluster.home))
    serve.run(application, name=spec.app_name, route_prefix=None)
    cluster.wait_for(lambda: set(cluster.registered()[1]) - before)  # It asks for its certificate first.
    return {name: address for name, address in cluster.registered()[1].items() if name not in before}


def test_a_version_serves_survives_a_kill_and_outlives_the_controller(cluster: Cluster) -> None:
    from ray import serve

    spec = write_bundle(cluster.home / "bundle")
    ((name, address),) = start(cluster, spec).items()
    assert (address.app_name, address.engine, address.max_batch) == ("adder-v1.1", "onnxruntime-cpu", 8)
    assert address.node_id == ray.get_runtime_context().get_node_id()
    rows = np.array([[1.0, 2.0], [3.0, 4.0]])
    assert np.frombuffer(score(address, rows).payload, np.float32).tolist() == [3.0, 7.0]

    # The controller dies: serving continues, and the replica registers with the new controller.
    old_pid, _ = cluster.registered()
    os.kill(old_pid, signal.SIGKILL)
    assert score(address, rows).status == Status.OK
    cluster.wait_for(lambda: cluster.registered()[0] != old_pid and name in cluster.registered()[1])

    # The replica dies: another starts, registers under its own name, and removes the old socket.
    os.kill(address.pid, signal.SIGKILL)
    cluster.wait_for(lambda: set(cluster.registered()[1]) - {name})
    ((_, successor),) = [item for item in cluster.registered()[1].items() if item[0] != name]
    assert successor.pid != address.pid
    assert score(successor, rows).status == Status.OK
    assert not Path(address.unix_path).exists()

    serve.delete(spec.app_name)
    cluster.wait_for(lambda: not Path(successor.unix_path).exists())
    assert ray.get(cluster.controller.left.remote(), timeout=60) == [successor.replica_id]


def test_a_version_with_faults_is_slow_on_purpose(cluster: Cluster) -> None:
    from ray import serve

    spec = write_bundle(cluster.home / "bundle-slow")
    spec = msgspec.structs.replace(spec, model="slow", faults=Faults(batch_delay_ms=30.0))
    (address,) = start(cluster, spec).values()
    reply = score(address, np.ones((1, 2)))
    assert reply.status == Status.OK
    assert reply.compute_us >= 30_000
    serve.delete(spec.app_name)


def test_a_damaged_bundle_never_registers(cluster: Cluster) -> None:
    from ray import serve

    spec = write_bundle(cluster.home / "bundle-damaged")
    spec = msgspec.structs.replace(spec, model="damaged", bundle_sha256="0" * 64)
    before = set(cluster.registered()[1])
    with pytest.raises(RuntimeError, match=r"damaged-v1\.1"):
        start(cluster, spec)
    assert set(cluster.registered()[1]) == before
    message = serve.status().applications[spec.app_name].deployments["damaged"].message
    assert "is not the one that was registered" in message
    serve.delete(spec.app_name)


def without_a_gpu() -> str:
    """Why the driver names no GPU here."""
    from serving.engines.cuda_driver import probe_gpus

    probe = probe_gpus()
    if probe.gpus:
        pytest.skip("this machine has a GPU")
    return probe.reason


def logged(cluster: Cluster, text: str) -> bool:
    logs = (cluster.home.parent / "ray").glob("session_2*/logs/worker-*.err")
    return any(text in path.read_text(errors="replace") for path in logs)


def test_two_versions_with_half_a_gpu_each_serve_on_the_cpu_where_there_is_none(cluster: Cluster) -> None:
    """They ask the driver, and report its answer. TensorRT, which would end the process, is never loaded."""
    from ray import serve

    reason = without_a_gpu()
    for model in ("half", "other-half"):
        spec = msgspec.structs.replace(write_bundle(cluster.home / f"bundle-{model}"), model=model, num_gpus=0.5)
        (address,) = start(cluster, spec).values()
        assert (address.engine, address.engine_note) == (
            "onnxruntime-cpu",
            f"tensorrt, onnxruntime-cuda: {reason}",
        )
        assert score(address, np.ones((1, 2))).status == Status.OK
        line = f"{spec.app_name} runs on onnxruntime-cpu; passed over: {address.engine_note}"
        cluster.wait_for(lambda line=line: logged(cluster, line))
    for model in ("half", "other-half"):
        serve.delete(f"{model}-v1.1")


def test_a_forced_engine_that_is_absent_never_registers_and_names_the_remedy(cluster: Cluster) -> None:
    from ray import serve

    without_a_gpu()
    spec = write_bundle(cluster.home / "bundle-forced")
    spec = msgspec.structs.replace(spec, model="forced", num_gpus=0.5, engine=EngineChoice.TENSORRT)
    before = set(cluster.registered()[1])
    with pytest.raises(RuntimeError, match=r"forced-v1\.1"):
        start(cluster, spec)
    assert set(cluster.registered()[1]) == before
    message = serve.status().applications[spec.app_name].deployments["forced"].message
    assert "this version must run on tensorrt, which cannot be had here" in message
    assert "set serving.engine: auto in the pipeline file" in message
    serve.delete(spec.app_name)


def test_faults_are_refused_where_they_are_not_allowed(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    from serving.replica.ray_app import build_application

    spec = write_bundle(cluster.home / "bundle-refused")
    monkeypatch.setenv("DIVISIONS_ALLOW_FAULTS", "0")
    faulty = msgspec.structs.replace(spec, faults=Faults(error_rate=0.1))
    with pytest.raises(FaultsRefusedError):
        build_application(msgspec.json.encode(faulty), str(cluster.home))
