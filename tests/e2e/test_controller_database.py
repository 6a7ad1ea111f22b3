"""The controller's actor on a real Ray cluster with its journal in a real PostgreSQL: the server hangs, the actor is
killed, and another controller takes over."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import psycopg
import pytest
import ray

from divisions.control import RolloutSpec, RoutingTable
from divisions.deployment import NAME, deployment_of, write_node
from divisions.settings import Settings
from divisions.status import ControllerStatus, RolloutStatus
from router.journal.fence import Holder
from router.journal.journal import Journal
from router.journal.postgres import PostgresDatabase
from tests.e2e.controllers import controller_pid
from tests.e2e.ray_in_process import running_ray
from tests.e2e.test_controller import write_version
from tests.router.rollout_world import ANALYSIS, World
from tests.servers import PostgresServer

pytestmark = pytest.mark.e2e

SLOW_TO_END = msgspec.structs.replace(ANALYSIS, deploy_deadline_s=90, max_dwell_s=600, min_dwell_s=300, drain_s=1)
REPORT_S = 1.0


class Cluster:
    """A client of the actor, and one gateway that reports requests by the weights of its table."""

    def __init__(self, home: Path, database: str) -> None:
        from router.control.ray_start import get_or_create_controller

        self.settings = Settings(home=home, database=database)
        deployment = deployment_of(self.settings)
        write_node(home, deployment, {"channel_token": b"shared"})
        self.actor: Any = get_or_create_controller(self.settings, deployment)
        (home / "gateway").mkdir()
        self.gateway = World(home / "gateway")
        self.reports = 0
        self.tables: list[tuple[float, int, int]] = []
        """When the gateway got each table, its epoch, and the canary's weight in it."""
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        last = 0
        while not self._ended.wait(0.05):
            with contextlib.suppress(ray.exceptions.RayError):
                self._follow_table()
                tick = int(time.monotonic()) - 1
                report = self.gateway._report(tick) if tick > last else None
                if report is not None:
                    last = tick
                    ray.get(self.actor.report.remote(msgspec.msgpack.encode(report)), timeout=60)
                    self.reports += 1

    def _follow_table(self) -> None:
        known = self.tables[-1][1] if self.tables else 0
        body = ray.get(self.actor.poll_table.remote(known, 0.05), timeout=60)
        table = msgspec.msgpack.decode(body, type=RoutingTable)
        if table.epoch > known:
            self.gateway.table = table
            routes = [route for endpoint in table.endpoints for route in endpoint.versions]
            weight_bp = sum(route.weight_bp for route in routes if route.is_canary)
            self.tables.append((time.monotonic(), table.epoch, weight_bp))

    @property
    def weight_bp(self) -> int:
        return self.tables[-1][2]

    def status(self) -> ControllerStatus:
        return msgspec.json.decode(ray.get(self.actor.status.remote(), timeout=60), type=ControllerStatus)

    def rollout(self) -> RolloutStatus:
        return self.status().rollouts[0]

    def start(self, label: str) -> None:
        folder = self.settings.home / f"bundle-{label}"
        spec = RolloutSpec("churn", write_version(folder, label), analysis=SLOW_TO_END)
        ray.get(self.actor.start_rollout.remote(msgspec.json.encode(spec)))

    def until(self, ask: Callable[[], object], timeout_s: float = 180.0) -> None:
        ends_s = time.monotonic() + timeout_s
        while time.monotonic() < ends_s:
            with contextlib.suppress(ray.exceptions.RayError):
                if ask():
                    return
            time.sleep(0.1)
        raise AssertionError(f"it did not happen in time: {self.tables[-3:]} {self.status()}")

    def written(self) -> list[str]:
        """What the journal holds, oldest first."""
        with psycopg.connect(self.settings.database.replace("+psycopg", "")) as connection:
            rows = connection.execute("SELECT kind FROM divisions.journal ORDER BY seq").fetchall()
        return [kind for (kind,) in rows]

    def starts(self) -> int:
        """How often Ray has started the actor again."""
        from ray._private.state import actors

        return int(actors(self.actor._actor_id.hex())["NumRestarts"])

    def close(self) -> None:
        self._ended.set()
        self._thread.join()
        ray.kill(self.actor)


@pytest.fixture(scope="module")
def cluster(postgres_server: PostgresServer) -> Iterator[Cluster]:
    with running_ray() as home:
        cluster = Cluster(home, postgres_server.new_database())
        cluster.start("1")
        cluster.until(lambda: cluster.rollout().phase == "PROMOTED")
        yield cluster
        cluster.close()


def test_a_server_that_hangs_holds_up_no_rollback_and_is_told(
    cluster: Cluster, postgres_server: PostgresServer
) -> None:
    cluster.start("2")
    cluster.until(lambda: cluster.rollout().phase == "STEP" and cluster.weight_bp > 0)
    reports = cluster.reports
    cluster.until(lambda: cluster.reports >= reports + 5)
    before = cluster.written()
    postgres_server.freeze()
    try:
        cluster.gateway.latency_s["2"] = 0.02
        cluster.until(lambda: cluster.weight_bp == 0)  # the server hangs all the while
        status = cluster.status()
        assert "latency" in status.rollouts[0].rollback_reason
        assert "cannot be written" in status.journal_fault
        assert status.unwritten > 0
        assert status.rollouts[0].unwritten
    finally:
        postgres_server.thaw()
    cluster.until(lambda: not cluster.status().journal_fault)
    cluster.until(lambda: cluster.rollout().phase == "ROLLED_BACK")
    after = cluster.written()
    assert after[: len(before)] == before
    assert after[len(before) :].count("ROLLBACK_INTENT") == 1


def test_a_killed_controller_goes_on_from_the_database(cluster: Cluster) -> None:
    """First on a node without the settings, as one that has just joined: it begins no journal there, and ends."""
    before, epoch = cluster.rollout(), cluster.status().epoch
    home, starts = cluster.settings.home, cluster.starts()
    deployment = (home / NAME).rename(home / "deployment")
    os.kill(controller_pid(home), signal.SIGKILL)
    cluster.until(lambda: cluster.starts() >= starts + 2)
    deployment.rename(home / NAME)
    cluster.until(lambda: cluster.status().epoch > 0)  # It publishes nothing until replicas had time to speak up.
    assert cluster.status().epoch >= epoch
    assert (cluster.rollout().phase, cluster.rollout().generation) == (before.phase, before.generation)
    assert not (home / "journal.db").exists()


def test_a_controller_that_was_cut_off_writes_nothing_after_another_one_and_ends(
    cluster: Cluster, tmp_path: Path
) -> None:
    before, epoch, written = cluster.rollout(), cluster.status().epoch, cluster.written()
    restarts = cluster.status().restarts
    old = controller_pid(cluster.settings.home)
    session = ray.get_runtime_context().get_session_name()
    os.kill(old, signal.SIGSTOP)
    try:
        database = PostgresDatabase(cluster.settings.database, tmp_path)
        newer = Journal(database, holder=Holder(session, "a test"))
        spec = RolloutSpec("churn", write_version(tmp_path / "bundle", "3"), analysis=SLOW_TO_END)
        refused = cluster.actor.start_rollout.remote(msgspec.json.encode(spec))
    finally:
        os.kill(old, signal.SIGCONT)
    with pytest.raises(ray.exceptions.RayError, match=r"took term|died|unavailable"):
        ray.get(refused, timeout=120)
    newer.close()
    cluster.until(lambda: cluster.status().restarts > restarts)
    assert controller_pid(cluster.settings.home) != old
    assert cluster.written() == written
    assert (cluster.rollout().phase, cluster.rollout().generation) == (before.phase, before.generation)
    cluster.until(lambda: cluster.status().epoch > 0)  # It publishes nothing until replicas had time to speak up.
    assert cluster.status().epoch >= epoch
