"""Two nodes, a gateway and load: replicas are spread, added, removed, moved off a drained node; no request fails."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import ray

from divisions.analysis_spec import AnalysisSpec
from divisions.control import RolloutCommand, RolloutSpec
from divisions.errors import NoRoomError
from divisions.settings import load_settings
from divisions.status import ControllerStatus, ReplicaStatus
from router.control.ray_hold import RayHold
from tests.e2e.homes import answer, choose_lasting
from tests.e2e.test_controller import write_version

pytestmark = pytest.mark.e2e
LABEL = "disk"
JSON = (("content-type", "application/json"),)


class Load:
    """Requests one after the other from a few threads, until it is stopped; keeps what was not answered with 200."""

    def __init__(self, url: str) -> None:
        self.answered = 0
        self.failed: list[object] = []
        self._url = url
        self._stopped = threading.Event()
        self._threads = [threading.Thread(target=self._run, daemon=True) for _ in range(3)]

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stopped.set()
        for thread in self._threads:
            thread.join(timeout=60)

    def _run(self) -> None:
        while not self._stopped.is_set():
            try:
                status, body = answer(f"{self._url}/api/v2/predict/sum", {"features": {"a": 1.5}}, JSON)
            except OSError as error:
                status, body = 0, str(error).encode()
            if status == 200:
                self.answered += 1
            else:
                self.failed.append((status, body))
            self._stopped.wait(0.004)


class TwoNodes:
    """Two raylets on this machine, each with 2 CPUs and a label, and everything that serves."""

    def __init__(self, folder: Path) -> None:
        from ray import serve
        from ray.cluster_utils import Cluster

        from divisions.deployment import deployment_of, write_node
        from router.control.ray_start import get_or_create_controller

        self.home = folder / "home"
        self.nodes = Cluster(
            initialize_head=True,
            head_node_args={
                "num_cpus": 2,
                "include_dashboard": False,
                "temp_dir": str(folder / "ray"),
                "labels": {LABEL: "slow"},
                "resources": {"divisions_gateway": 1},
            },
        )
        self.nodes.add_node(num_cpus=2, labels={LABEL: "fast"})
        self.address = self.nodes.address
        ray.init(address=self.address, namespace="divisions", log_to_driver=False)
        serve.start(proxy_location="Disabled")
        settings = load_settings()
        self.url = f"http://127.0.0.1:{settings.port}"
        deployment = deployment_of(settings, str(self.address).rpartition(":")[0])
        write_node(settings.home, deployment, {})
        self.actor: Any = get_or_create_controller(settings, deployment)

    def command(self, name: str, **changes: Any) -> None:
        ray.get(self.actor.command.remote(msgspec.json.encode(RolloutCommand("sum", name, **changes))), timeout=60)

    def status(self) -> ControllerStatus:
        return msgspec.json.decode(ray.get(self.actor.status.remote(), timeout=60), type=ControllerStatus)

    def running(self) -> list[ReplicaStatus]:
        return [replica for replica in self.status().replicas if replica.ready]

    def is_serving(self) -> bool:
        try:
            return answer(f"{self.url}/readyz")[0] == 200
        except OSError:
            return False

    def by_node(self) -> dict[str, int]:
        """How many ready replicas each node has, by its label."""
        labels = {node["NodeID"]: node["Labels"].get(LABEL, "") for node in ray.nodes() if node["Alive"]}
        counts = dict.fromkeys(("slow", "fast"), 0)
        for replica in self.running():
            counts[labels.get(replica.node, "gone")] = counts.get(labels.get(replica.node, "gone"), 0) + 1
        return counts

    def until(self, ask: Callable[[], object], timeout_s: float = 180.0) -> None:
        end_s = time.monotonic() + timeout_s
        while time.monotonic() < end_s:
            if ask():
                return
            time.sleep(0.1)
        raise AssertionError(f"it did not happen in time: {self.by_node()} {self.status().scales}")


@pytest.fixture(scope="module")
def cluster() -> Iterator[TwoNodes]:
    from ray import serve

    folder = Path(tempfile.mkdtemp(prefix="dv"))  # pytest's long names leave no room for Ray's sockets
    patch = pytest.MonkeyPatch()
    (port,) = choose_lasting(1)
    patch.setenv("DIVISIONS_HOME", str(folder / "home"))
    patch.setenv("DIVISIONS_PORT", str(port))
    patch.setenv("DIVISIONS_GATEWAYS", "1")
    patch.setenv("DIVISIONS_REQUEST_TIMEOUT_MS", "8000")  # a busy machine may stall; what is lost still fails
    patch.setenv("TMPDIR", str(folder))
    patch.setattr(tempfile, "tempdir", None)
    (folder / "home" / "logs").mkdir(parents=True)
    for name in ("token", "channel_token"):
        (folder / "home" / name).write_text("secret")
    it = None
    try:
        it = TwoNodes(folder)
        yield it
        ray.kill(it.actor)
        serve.shutdown()
    finally:
        ray.shutdown()
        if it is not None:
            it.nodes.shutdown()
        patch.undo()
        for path in folder.rglob("bundle*/*"):
            path.chmod(0o600)
        shutil.rmtree(folder, ignore_errors=True)


def test_replicas_come_go_and_move_without_a_failed_request(cluster: TwoNodes) -> None:
    from ray import serve

    version = msgspec.structs.replace(write_version(cluster.home / "bundle-1", "1.1"), num_cpus=0.4, replicas=2)
    spec = RolloutSpec("sum", version, analysis=AnalysisSpec(deploy_deadline_s=180))
    # Ray has room for both on one node only, as when the other one comes back after its loss.
    away = next(node for node in ray.nodes() if node["Labels"].get(LABEL) == "fast")
    hold = RayHold("test")
    assert hold.set({away["NodeID"]: 2.0})
    ray.get(cluster.actor.start_rollout.remote(msgspec.json.encode(spec)))
    cluster.until(lambda: len(cluster.running()) == 2)
    cluster.until(cluster.is_serving)
    assert cluster.by_node() == {"slow": 2, "fast": 0}

    with Load(cluster.url) as load:
        hold.set({})
        cluster.until(lambda: cluster.by_node() == {"slow": 1, "fast": 1})
        cluster.until(lambda: len(cluster.status().replicas) == 2)
        (scale,) = cluster.status().scales
        assert re.fullmatch("a replica was moved off .+, where 2 were", scale.note), scale.note
        cluster.until(lambda: serve.status().applications[version.app_name].status == "RUNNING")

        first = {replica.name for replica in cluster.running()}
        cluster.command("scale", replicas=4)
        cluster.until(lambda: len(cluster.running()) == 4)
        assert first < {replica.name for replica in cluster.running()}  # nobody was replaced
        cluster.command("scale", replicas=2)
        cluster.until(lambda: len(cluster.status().replicas) == 2)

        with pytest.raises(NoRoomError, match="room for 8 of 18 more replicas"):
            cluster.command("scale", replicas=20)

        # A node is drained, as an autoscaler does it. Its replicas get successors first.
        cluster.command("scale", replicas=3)
        cluster.until(lambda: len(cluster.running()) == 3)
        leaving = next(node for node in ray.nodes() if node["Labels"].get(LABEL) == "fast")
        drain = [sys.executable, "-m", "ray.scripts.scripts", "drain-node", "--address", cluster.address]
        reason = ["--reason", "DRAIN_NODE_REASON_PREEMPTION", "--reason-message", "test"]
        limits = ["--deadline-remaining-seconds", "60"]
        subprocess.run([*drain, "--node-id", leaving["NodeID"], *reason, *limits], check=True, capture_output=True)
        cluster.until(lambda: cluster.by_node() == {"slow": 3, "fast": 0})
        cluster.until(lambda: len(cluster.status().replicas) == 3)
        time.sleep(1)
    assert load.failed == []
    assert load.answered > 200

    # A controller that is killed in the middle of a move leaves room held; the next one releases it.
    stays = next(node for node in ray.nodes() if node["Labels"].get(LABEL) == "slow")
    assert RayHold().set({stays["NodeID"]: 0.1})
    ray.kill(cluster.actor, no_restart=False)
    cluster.until(lambda: {one["state"] for one in ray.util.placement_group_table().values()} == {"REMOVED"})
