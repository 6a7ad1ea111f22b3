from __future__ import annotations

import dataclasses
import os
import random
import socket
import subprocess
import sys
import threading
from pathlib import Path

import msgspec
import numpy as np
import pytest

from divisions.bundle import ONNX, read_bundle, read_model
from divisions.clock import ManualClock
from divisions.control import Faults
from divisions.errors import BundleError, ChannelError, FaultsRefusedError, UnhealthyReplicaError
from divisions.wire import FrameReader, HelloAck, Reply, Status, encode_hello, encode_request
from serving.replica.replica import MAX_CONSECUTIVE_FAILURES, Replica, load_engine
from tests.serving.function_engine import FunctionEngine

SEED = random.Random(0)


class Line:
    """A blocking peer."""

    def __init__(self, address: str) -> None:
        if address.startswith("/"):
            self._socket = socket.socket(socket.AF_UNIX)
            self._socket.connect(address)
        else:
            host, port = address.split(":")
            self._socket = socket.create_connection((host, int(port)))
        self._socket.settimeout(60)
        self._reader = FrameReader()

    def say(self, data: bytes):
        self._socket.sendall(data)
        return self.hear()

    def hear(self):
        while data := self._socket.recv(65536):
            for frame in self._reader.feed(data):
                return frame
        return None

    def score(self, rows: np.ndarray) -> Reply:
        return self.say(encode_request(1, len(rows), rows.shape[1], 1_000_000, rows.astype(np.float32).tobytes()))


@pytest.fixture
def running(version_spec, settings):
    """Starts replicas and drains them at the end."""
    started = []

    def start(engine=None, clock=None, **changes):
        chosen = dataclasses.replace(settings, **changes)
        engine = engine or load_engine(version_spec, chosen, SEED)
        replica = Replica(version_spec, engine, chosen, clock or ManualClock())
        started.append(replica)
        return replica, replica.start("tag", os.getpid())

    yield start
    for replica in started:
        replica.drain(0.1)


def test_a_replica_answers_with_its_bundles_model(running, weights) -> None:
    replica, listening = running()
    replica.check_health()
    line = Line(listening.unix_path)
    assert line.say(encode_hello(b"")) == HelloAck(Status.OK, 3, 16, "1.1")
    rows = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)
    reply = line.score(rows)
    np.testing.assert_allclose(np.frombuffer(reply.payload, np.float32), rows @ weights, rtol=1e-5)
    assert (listening.tcp, listening.engine) == ("", "onnxruntime-cpu")
    assert Path(listening.unix_path).parent.stat().st_mode & 0o777 == 0o700


def test_a_drained_replica_closes_its_connections_and_removes_its_socket(running) -> None:
    replica, listening = running()
    line = Line(listening.unix_path)
    line.say(encode_hello(b""))
    replica.drain(5.0)
    assert line.hear() is None
    assert not Path(listening.unix_path).exists()
    with pytest.raises(UnhealthyReplicaError, match="thread has ended"):
        replica.check_health()
    replica.drain(5.0)


def test_other_nodes_reach_it_over_tcp_with_the_clusters_token(running, settings) -> None:
    (settings.home / "channel_token").write_bytes(b"secret\n")
    _, listening = running(channel_host="127.0.0.1", channel_tls=False)
    assert Line(listening.tcp).say(encode_hello(b"secret")).status == Status.OK
    assert Line(listening.tcp).say(encode_hello(b"wrong")).status == Status.REFUSED


def test_tcp_without_a_token_does_not_start(running) -> None:
    with pytest.raises(ChannelError, match="without a channel token"):
        running(channel_host="127.0.0.1")


def test_a_hung_event_loop_is_unhealthy(running) -> None:
    clock, release = ManualClock(), threading.Event()
    replica, _ = running(clock=clock)
    blocked = threading.Event()
    replica._loop.call_soon_threadsafe(lambda: (blocked.set(), release.wait(120)))
    assert blocked.wait(120)
    clock.advance(4.9)
    replica.check_health()
    clock.advance(0.2)
    with pytest.raises(UnhealthyReplicaError, match="has not run for"):
        replica.check_health()
    release.set()


def test_an_engine_that_keeps_failing_is_unhealthy_until_it_works_again(running) -> None:
    def fail_on_seven(rows: np.ndarray) -> np.ndarray:
        if rows[0, 0] == 7:
            raise RuntimeError("seven")
        return rows.sum(axis=1)

    replica, listening = running(FunctionEngine(3, fail_on_seven))
    line = Line(listening.unix_path)
    line.say(encode_hello(b""))
    for _ in range(MAX_CONSECUTIVE_FAILURES):
        replica.check_health()
        assert line.score(np.full((1, 3), 7.0)).status == Status.FAILED
    with pytest.raises(UnhealthyReplicaError, match="20 batches in a row"):
        replica.check_health()
    assert line.score(np.ones((1, 3))).status == Status.OK
    replica.check_health()


def test_an_engine_that_cannot_warm_stops_the_start(running) -> None:
    def fail(rows: np.ndarray) -> np.ndarray:
        raise BundleError("no model for this")

    with pytest.raises(BundleError, match="no model for this"):
        running(FunctionEngine(3, fail))


def test_a_changed_model_is_refused(version_spec, settings) -> None:
    path = Path(version_spec.bundle_path) / ONNX
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.chmod(0o644)
    path.write_bytes(data)
    with pytest.raises(BundleError, match="changed after it was written"):
        load_engine(version_spec, settings, SEED)


def test_a_model_put_in_place_after_the_check_is_refused(version_spec, linear_model) -> None:
    folder = Path(version_spec.bundle_path)
    manifest = read_bundle(folder, version_spec.bundle_sha256)
    assert read_model(folder, manifest) == linear_model().SerializeToString()
    (folder / ONNX).unlink()
    (folder / ONNX).write_bytes(linear_model(("N", 1)).SerializeToString())
    with pytest.raises(BundleError, match="changed after it was written"):
        read_model(folder, manifest)


def test_a_bundle_other_than_the_registered_one_is_refused(version_spec, settings) -> None:
    with pytest.raises(BundleError, match="not the one that was registered"):
        load_engine(msgspec.structs.replace(version_spec, bundle_sha256="0" * 64), settings, SEED)


def test_a_version_whose_schema_is_not_its_bundles_is_refused(version_spec, settings) -> None:
    schema = msgspec.structs.replace(version_spec.schema, features=version_spec.schema.features[:2])
    with pytest.raises(BundleError, match="another feature schema"):
        load_engine(msgspec.structs.replace(version_spec, schema=schema), settings, SEED)


def test_faults_are_refused_or_wrapped_around_the_engine(version_spec, settings) -> None:
    spec = msgspec.structs.replace(version_spec, faults=Faults(batch_delay_ms=1.0))
    with pytest.raises(FaultsRefusedError):
        load_engine(spec, settings, SEED)
    engine = load_engine(spec, dataclasses.replace(settings, allow_faults=True), SEED)
    assert engine.name == "onnxruntime-cpu (faults: batch_delay_ms=1)"


def test_a_replicas_process_loads_neither_torch_nor_mlflow() -> None:
    code = (
        "import sys, onnxruntime, onnx, serving.replica.ray_app, serving.engines.selection\n"
        "print(sorted({'torch', 'mlflow', 'router', 'trainers'} & set(sys.modules)))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
