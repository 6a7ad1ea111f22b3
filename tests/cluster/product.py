"""Divisions on three hosts: Ray by hand, ``divisions up --address``, a pipeline run from a client machine."""

from __future__ import annotations

import json
import subprocess
import time
from collections import Counter
from dataclasses import dataclass, field, fields
from pathlib import Path

from benchmarks.stress.loss_result import Loss
from divisions.settings import Settings
from divisions.status import ReplicaStatus
from tests.cluster import ray_nodes
from tests.cluster.network import Host, Network, wait_until
from tests.cluster.services import BUCKET, Services
from tests.cluster.watch import PORT, Watch
from tests.e2e import s3_server
from trainers.demo_data import FIRST_DAY, write_demo_data

ENDPOINT, MODEL = "churn", "churn-predictor"
PIPELINE = f"""
pipeline: "customer-churn-v3"
stages:
  data_prep:
    input: "s3://{BUCKET}/raw/partition=${{today}}"
  training:
    hyperparams:
      "epochs": 8
  validation:
    metric_threshold: "auc > 0.6"
  deployment:
    strategy: "canary: 20% → 50% → 100%"
    endpoint: "/api/v2/predict/{ENDPOINT}"
    # These hosts share two processors, so their latencies say nothing: errors alone are judged.
    analysis:
      guards: [errors]
      min_dwell_s: MIN_DWELL
      min_samples: [40, 80]
      bake_s: 2
      warmup_s: 0
      warmup_requests: 0
      keep_stable_s: 3
      drain_s: 1
serving:
  replicas: 3
"""


@dataclass(slots=True)
class Product:
    """A cluster of the hosts one (with Ray's head), two and three, and a client machine that is not of it."""

    network: Network
    services: Services
    folder: Path
    hosts: list[Host] = field(default_factory=list)
    nodes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    holdout: Path = Path()
    token: str = ""
    measured: list[Loss] = field(default_factory=list)
    gateway: dict[str, str] = field(default_factory=dict)
    """Settings of its gateways, beside those that all hosts share."""

    @property
    def head(self) -> Host:
        return self.hosts[0]

    @property
    def client(self) -> Host:
        return self.network.host("client")

    def host_at(self, address: str) -> Host:
        return next(host for host in self.hosts if host.address == address)

    def start(self) -> None:
        self.hosts = [self.network.host(name) for name in ("one", "two", "three")]
        for host in self.hosts:
            host.environment["DIVISIONS_HOME"] = f"/root/home-of-{host.name}"
        ray_nodes.share_token(self.hosts)
        self.start_node(self.head)
        for host in self.hosts[1:]:
            self.start_node(host)
        joined = f"import time\nwhile len(ray.nodes()) < {len(self.hosts)}: time.sleep(0.2)"
        ray_nodes.run_driver(self.head, self.head, joined, timeout_s=180)
        self.up()
        self.token = self.head.run("cat", "/root/home-of-one/token").stdout.strip()
        self.client.environment |= self.settings() | {
            "DIVISIONS_HOME": "/root/home-of-a-client",
            "DIVISIONS_GATEWAY": f"http://{self.hosts[1].address}:{PORT}",
            "DIVISIONS_TOKEN": self.token,
        }
        for name, dwell_s in (("pipeline", 2), ("slow", 30)):
            self.client.disk(f"/root/{name}.yaml").write_text(PIPELINE.replace("MIN_DWELL", str(dwell_s)))
        self.write_events()

    def start_node(self, host: Host) -> None:
        """Starts Ray there, after a loss of power, too."""
        if not host.is_alive:
            host.start()
        if host is self.head:
            host.disk("/tmp/ray/ray_current_cluster").unlink(missing_ok=True)
            self.nodes[host.name] = ray_nodes.start_head(host, self.services.redis)
        else:
            self.nodes[host.name] = ray_nodes.start_worker(host, self.head)

    def settings(self) -> dict[str, str]:
        """What all hosts share."""
        known = {f"DIVISIONS_{one.name.upper()}" for one in fields(Settings)}
        shared = self.services.environment
        return {name: text for name, text in shared.items() if name in known or not name.startswith("DIVISIONS_")}

    def up(self) -> None:
        address = f"{self.head.address}:{ray_nodes.GCS_PORT}"
        self.head.divisions("up", "--address", address, **ray_nodes.RAY_SETTINGS, **self.settings(), **self.gateway)

    def write_events(self) -> None:
        """Writes raw events into the bucket."""
        data = write_demo_data(self.folder / "data")
        self.holdout = data.holdout
        client = s3_server.client_of(self.services.environment["AWS_ENDPOINT_URL"])
        for path in data.partitions[FIRST_DAY].iterdir():
            client.upload_file(str(path), BUCKET, f"raw/{path.parent.name}/{path.name}")

    def run_pipeline(self) -> str:
        """Runs the pipeline on the client machine, and rolls its version out; returns its label."""
        done = self.client.divisions(
            *("run", "/root/pipeline.yaml", "--today", FIRST_DAY.isoformat(), "--no-ray", "--output", "json")
        )
        return str(json.loads(done.stdout)["version"])

    def roll_out(self, pipeline: str = "pipeline") -> str:
        """Registers the first version's bundle again and starts its rollout; returns its label."""
        done = self.client.divisions("models", "register", MODEL, "--from", "3.1", "--output", "json")
        version = str(json.loads(done.stdout)["version"])
        self.client.divisions(
            *("rollout", "start", MODEL, "--version", version, "--pipeline", f"/root/{pipeline}.yaml")
        )
        return version

    def watch(self) -> Watch:
        return Watch(self.hosts, self.token, ENDPOINT)

    def controllers_host(self, watch: Watch) -> Host:
        """Where the controller runs. For a moment after its start no node is known to have it."""

        def found() -> list[str]:
            return [node.address for node in watch.latest.nodes if node.has_controller] if watch.latest else []

        wait_until(lambda: bool(found()), "a controller that knows its node")
        return self.host_at(found()[0])

    def move_controller(self, watch: Watch, away_from: Host) -> Host:
        """Ends the controller's process until Ray starts it on another host than ``away_from``; returns that host."""
        while (host := self.controllers_host(watch)) is away_from:
            killed_s = time.time() + 1.0  # an answer may be on its way
            for pid in self.controllers(host):  # none if the status is a moment old
                host.run("kill", "-9", pid, check=False)
            wait_until(lambda: watch.answered_s[-1] > killed_s, "the controller is back")  # noqa: B023
        return host

    def spread(self, watch: Watch) -> None:
        """Ends replicas that share a host until each host has one of the version that serves."""
        while (shared := self._shared(watch)) is not None:
            self.host_of(watch, shared.node).run("kill", "-9", str(shared.pid))
            wait_until(lambda: shared.name not in self._ready(watch), "the replica is gone")
            wait_until(watch.is_at_full_strength, "another replica")

    def _ready(self, watch: Watch) -> dict[str, ReplicaStatus]:
        """The replicas of the version that serves, by name."""
        found = watch.latest.replicas if watch.latest else ()
        return {each.name: each for each in found if each.ready and each.role == "stable"}

    def _shared(self, watch: Watch) -> ReplicaStatus | None:
        """A replica on a host that has more than one, if another host has none."""
        counts = Counter(each.node for each in self._ready(watch).values())
        if len(counts) >= len(self.hosts):
            return None
        return next(each for each in self._ready(watch).values() if counts[each.node] > 1)

    def host_of(self, watch: Watch, node_id: str) -> Host:
        assert watch.latest is not None
        return self.host_at(next(node.address for node in watch.latest.nodes if node.node_id == node_id))

    def controllers(self, host: Host) -> list[str]:
        """The pids, on that host, of the controller's processes there."""
        return host.run("pgrep", "-f", "^ray::ControllerActor", check=False).stdout.split()

    def be_whole(self, watch: Watch, timeout_s: float = 240.0) -> None:
        """Brings everything back that a test took away; returns when all gateways and replicas are there."""
        self.network.mend_all()

        def is_whole() -> bool:
            for host in self.hosts:
                if not host.is_alive or self.nodes[host.name].poll() is not None:
                    self.start_node(host)
            return self.is_whole(watch)

        wait_until(is_whole, "a whole cluster", timeout_s)

    def is_whole(self, watch: Watch) -> bool:
        now = watch.latest
        nodes = [node for node in now.nodes if node.state == "alive"] if now else []
        gateways = sum(node.gateways >= node.wanted_gateways > 0 for node in nodes)
        return gateways == len(self.hosts) and watch.is_fresh() and watch.is_at_full_strength()
