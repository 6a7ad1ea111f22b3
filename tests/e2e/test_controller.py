"""The controller's actor on a real Ray cluster: it starts and stops versions on Ray Serve, and survives kill -9."""

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
import pytest
import ray
from onnx import TensorProto, helper

from divisions.analysis_spec import AnalysisSpec
from divisions.bundle import ONNX, Manifest, write_manifest
from divisions.certificates.contexts import client_context
from divisions.certificates.names import Certificate, Role, host_name
from divisions.certificates.request import new_request
from divisions.control import Faults, ReplicaAddress, RolloutCommand, RolloutSpec, RoutingTable, VersionSpec
from divisions.deployment import deployment_of, write_node
from divisions.drift import DriftReport
from divisions.errors import FaultsRefusedError, LatchedSpecError, MalformedRequestError, UnknownVersionError
from divisions.house import SECTIONS, House
from divisions.schema import Feature, FeatureKind, FeatureSchema
from divisions.settings import Settings
from divisions.status import ControllerStatus, RolloutStatus
from divisions.wire import HelloAck, Status, decode_frame, encode_hello
from tests.divisions.notify.webhook_server import WebhookServer
from tests.e2e.ray_in_process import running_ray

pytestmark = pytest.mark.e2e


def write_version(folder: Path, label: str) -> VersionSpec:
    """A bundle whose model is its first feature, and the version that serves it."""
    graph = helper.make_graph(
        [helper.make_node("ReduceSum", ["rows", "axes"], ["scores"], keepdims=0)],
        "sum",
        [helper.make_tensor_value_info("rows", TensorProto.FLOAT, ["N", 1])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["N"])],
        [helper.make_tensor("axes", TensorProto.INT64, [1], [1])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9).SerializeToString()
    schema = FeatureSchema((Feature("a", FeatureKind.NUMERIC),))
    folder.mkdir(parents=True)
    (folder / ONNX).write_bytes(model)
    files = {ONNX: hashlib.sha256(model).hexdigest()}
    sha256 = write_manifest(folder, Manifest("adder", "adder-v1", "run", "2025-01-14", schema, {}, files))
    return VersionSpec("adder", label, str(folder), sha256, schema, replicas=1, num_cpus=0.5, max_batch=8)


class Cluster:
    """A synchronous client of the actor; it repeats calls while the actor restarts."""

    def __init__(self, home: Path) -> None:
        from router.control.ray_start import get_or_create_controller

        self.home = home
        self.webhook = WebhookServer()
        (home / "webhook").write_text(f"http://127.0.0.1:{self.webhook.port}/")
        settings = Settings(home=home, webhook_file=str(home / "webhook"))
        deployment = deployment_of(settings, ray.util.get_node_ip_address())
        write_node(home, deployment, {"channel_token": b"shared"})
        self.actor: Any = get_or_create_controller(settings, deployment)

    def start(self, spec: RolloutSpec) -> RolloutStatus:
        reply = ray.get(self.actor.start_rollout.remote(msgspec.json.encode(spec)))
        return msgspec.json.decode(reply, type=RolloutStatus)

    def command(self, name: str, **changes: Any) -> RolloutStatus:
        command = RolloutCommand("sum", name, **changes)
        return msgspec.json.decode(ray.get(self.actor.command.remote(msgspec.json.encode(command))), type=RolloutStatus)

    def house(self) -> House:
        sections = msgspec.msgpack.decode(ray.get(self.actor.house.remote(b"{}"), timeout=60))
        text = b",".join(b'"%s":%s' % (name.encode(), data) for name, (_, data) in sections.items())
        return msgspec.json.decode(b"{" + text + b"}", type=House)

    def status(self) -> ControllerStatus:
        return msgspec.json.decode(ray.get(self.actor.status.remote(), timeout=60), type=ControllerStatus)

    def table(self) -> RoutingTable:
        return msgspec.msgpack.decode(ray.get(self.actor.poll_table.remote(0, 5.0), timeout=60), type=RoutingTable)

    def until(self, ask: Callable[[], object], timeout_s: float = 180.0) -> None:
        end_s = time.monotonic() + timeout_s
        while time.monotonic() < end_s:
            try:
                if ask():
                    return
            except ray.exceptions.RayError:
                pass
            time.sleep(0.1)
        raise AssertionError(f"it did not happen in time: {self.status()}")

    def phase(self) -> str:
        return self.status().rollouts[0].phase


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with running_ray() as home:
        cluster = Cluster(home)
        yield cluster
        ray.kill(cluster.actor)
        cluster.webhook.end()


def _answers_gateways_only(cluster: Cluster, replica: ReplicaAddress) -> bool:
    """The cluster is on a network, so its replicas listen there, for gateways that the controller has certified."""
    host, _, port = replica.tcp.rpartition(":")
    asked = new_request(Role.GATEWAY, "g1")
    answer = ray.get(cluster.actor.issue_certificate.remote(msgspec.msgpack.encode(asked.message)))
    credentials = asked.answered(msgspec.msgpack.decode(answer, type=Certificate))
    assert (cluster.home / "channel_ca.pem").stat().st_mode & 0o777 == 0o600
    with socket.create_connection((host, int(port)), 10) as plain:
        plain.sendall(encode_hello(b"shared"))
        assert b"HELLO" not in plain.recv(100)
    name = host_name(Role.REPLICA, replica.replica_id)
    with (
        socket.create_connection((host, int(port)), 10) as plain,
        client_context(credentials).wrap_socket(plain, server_hostname=name) as line,
    ):
        line.sendall(encode_hello(b"shared"))
        ack = decode_frame(line.recv(100))
        return isinstance(ack, HelloAck) and ack.status == Status.OK


def test_versions_start_and_stop_and_a_killed_controller_continues(cluster: Cluster) -> None:
    from ray import serve

    analysis = AnalysisSpec(deploy_deadline_s=180, drain_s=1, keep_stable_s=1)
    first = write_version(cluster.home / "bundle-1", "1.1")
    assert cluster.start(RolloutSpec("sum", first, analysis=analysis)).phase == "WARMING"
    cluster.until(lambda: cluster.phase() == "PROMOTED")
    (route,) = cluster.table().endpoints[0].versions
    assert (route.version.version, route.weight_bp, len(route.replicas)) == ("1.1", 10_000, 1)

    assert _answers_gateways_only(cluster, route.replicas[0])

    drift = msgspec.json.decode(ray.get(cluster.actor.drift.remote(b"sum")), type=DriftReport)
    assert [(each.version, each.state) for each in drift.endpoints] == [("1.1", "unknown")], "it has no histograms"
    with pytest.raises(UnknownVersionError, match="no such endpoint"):
        ray.get(cluster.actor.drift.remote(b"other"))

    # A refused command returns its own error.
    with pytest.raises(MalformedRequestError, match="RolloutSpec"):
        ray.get(cluster.actor.start_rollout.remote(b'{"endpoint": 1}'))
    faulty = msgspec.structs.replace(first, version="1.9", faults=Faults(batch_delay_ms=10))
    with pytest.raises(FaultsRefusedError):
        cluster.start(RolloutSpec("sum", faulty))

    # A damaged version never gets traffic. It is stopped with its reason, and does not start again by itself.
    damaged = write_version(cluster.home / "bundle-2", "1.2")
    damaged = msgspec.structs.replace(damaged, bundle_sha256="0" * 64)
    spec = RolloutSpec("sum", damaged, analysis=analysis)
    cluster.start(spec)
    cluster.until(lambda: cluster.phase() == "ROLLED_BACK")
    reason = cluster.status().rollouts[0].rollback_reason
    assert reason.startswith("deploy: bundle ")
    assert "is not the one that was registered" in reason
    cluster.until(lambda: any(b"sum: rolled back: " in request for request in cluster.webhook.requests))
    cluster.until(lambda: damaged.app_name not in serve.status().applications)
    with pytest.raises(LatchedSpecError):
        cluster.start(spec)

    # A second good version waits at 20 % for traffic. The controller is killed there and continues.
    second = write_version(cluster.home / "bundle-3", "1.3")
    cluster.start(RolloutSpec("sum", second, analysis=analysis))
    cluster.until(lambda: cluster.phase() == "STEP")
    before, status, kept = cluster.table(), cluster.status(), cluster.home / "curves" / "sum.json"
    cluster.until(lambda: kept.exists() and b'"STEP"' in kept.read_bytes())
    (curve,) = cluster.house().curves or ()
    pid = next(actor["Pid"] for actor in _actors() if actor["ClassName"] == "ControllerActor")
    os.kill(pid, signal.SIGKILL)
    killed_s = time.monotonic()
    cluster.until(lambda: cluster.table().epoch > before.epoch)
    print(f"resumed {time.monotonic() - killed_s:.1f} s after kill -9")
    assert cluster.table().endpoints == before.endpoints
    assert cluster.status().rollouts[0].generation == status.rollouts[0].generation
    assert cluster.status().restarts == 1

    # What the page shows of the rollout goes on, too, with a gap where the controller was away.
    cluster.until(lambda: any(point[1] is None for each in cluster.house().curves or () for point in each.points))
    house = cluster.house()
    assert [name for name in SECTIONS if getattr(house, name) is None] == []
    (after,) = house.curves or ()
    assert (after.rollout, after.marks) == (curve.rollout, curve.marks)
    assert (cluster.home / "logs" / "controller.jsonl").stat().st_size > 0

    # The operator promotes it. The old version is stopped after its time, and a rollback to it is possible.
    assert cluster.command("promote").phase == "PROMOTED"
    cluster.until(lambda: set(serve.status().applications) == {second.app_name})
    cluster.command("rollback", to="1.1")
    cluster.until(lambda: cluster.phase() == "PROMOTED")
    assert [route.version.version for route in cluster.table().endpoints[0].versions] == ["1.1"]


def _actors() -> list[dict[str, Any]]:
    from ray._private.state import actors

    return [
        {"Pid": actor["Pid"], "ClassName": actor["ActorClassName"]}
        for actor in actors().values()
        if actor["State"] == "ALIVE"
    ]
