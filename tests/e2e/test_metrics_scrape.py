"""Several gateway processes on one port: one scrape has exactly the counts that the callers have, and so has a real
Prometheus, which has data for every query of every dashboard."""

from __future__ import annotations

import asyncio
import collections
import contextlib
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import msgspec
import pytest
from prometheus_client.parser import text_string_to_metric_families

from deploy.dashboards.panels import BOARDS
from deploy.prometheus.documents import RULES, configuration, rule_file
from divisions.clock import SystemClock
from divisions.control import EndpointRoute, ReplicaAddress, RoutingTable, VersionRoute, VersionSpec
from router.gateway.child import GatewayChild
from serving.replica.channel_server import ChannelConfig, ChannelServer
from tests.router.gateway.test_promtool import INVENTORY
from tests.router.gateway_world import SCHEMA, features, minutes_score
from tests.router.rollout_world import ANALYSIS, World, spec
from tests.serving.function_engine import FunctionEngine

pytestmark = pytest.mark.e2e
PATIENCE_S = 120.0


class OneTable:
    """A controller that knows one table, and one status."""

    def __init__(self, table: RoutingTable, status: bytes) -> None:
        self._table = table
        self._status = status

    async def call(self, method: str, arguments: tuple[object, ...], timeout_s: float) -> bytes:
        if method == "poll_table":
            if arguments[0] != -1:
                await asyncio.sleep(3600)
            return msgspec.msgpack.encode(self._table)
        return {"status": self._status, "drift": b'{"endpoints":[]}'}.get(method, b"")


@pytest.fixture
def replica(tmp_path):
    """A warm replica on a thread of its own."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    engine = FunctionEngine(SCHEMA.num_columns, minutes_score)
    server = ChannelServer(engine, ChannelConfig("3.1", 8, b"channel"), SystemClock().monotonic_s)
    path = tmp_path / "replica.sock"
    asyncio.run_coroutine_threadsafe(server.start(path, None, is_encrypted=False), loop).result(PATIENCE_S)
    yield ReplicaAddress("r-1", "churn-predictor-v3.1", "node", str(path), "", 8)
    asyncio.run_coroutine_threadsafe(server.drain(0.2), loop).result(PATIENCE_S)
    loop.call_soon_threadsafe(loop.stop)
    thread.join(PATIENCE_S)
    loop.close()


@pytest.fixture
def start(tmp_path, monkeypatch, replica):
    """Starts so many more gateways; returns their shared address."""
    (tmp_path / "token").write_text("secret")
    (tmp_path / "channel_token").write_text("channel")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    monkeypatch.setenv("DIVISIONS_HOME", str(tmp_path))
    monkeypatch.setenv("DIVISIONS_PORT", str(port))
    monkeypatch.setenv("DIVISIONS_ONLINE_STORE", "redis://127.0.0.1:1")  # it is away, and requests have features
    monkeypatch.setenv("DIVISIONS_REQUEST_TIMEOUT_MS", "2000")  # a count is final when no request can be under way
    spec = VersionSpec("churn-predictor", "3.1", "", "", SCHEMA, max_batch=8)
    route = EndpointRoute("churn", "salt", (VersionRoute(spec, 10_000, False, (replica,)),))
    controller = OneTable(RoutingTable(1, (route,)), status(tmp_path / "rollouts"))
    children: list[GatewayChild] = []

    def more(count: int) -> str:
        new = [GatewayChild("node", controller.call) for _ in range(count)]
        children.extend(new)
        starts = [threading.Thread(target=child.start_and_wait) for child in new]
        for thread in starts:
            thread.start()
        for thread in starts:
            thread.join(PATIENCE_S)
        return f"http://127.0.0.1:{port}"

    yield more
    for child in children:
        child.stop()
    for child in children:
        child.join(PATIENCE_S)


def status(folder: Path) -> bytes:
    """The status of a controller in memory that has rolled one version back and judges the next, with all that an
    inventory may hold."""
    folder.mkdir()
    cluster = World(folder)
    cluster.deploy_first()
    cluster.latency_s["3.2"] = 0.02
    cluster.controller.start_rollout(spec("3.2"))
    cluster.until("ROLLED_BACK")
    cluster.controller.start_rollout(spec("3.3", analysis=msgspec.structs.replace(ANALYSIS, min_dwell_s=30)))
    cluster.until("STEP")
    cluster.seconds(5)
    return msgspec.json.encode(msgspec.structs.replace(cluster.controller.status(), inventory=INVENTORY))


def send(url: str, count: int, answers: collections.Counter) -> None:
    """Each request on a connection of its own, so that the kernel chooses a gateway for each."""
    for _ in range(count):
        reply = httpx.post(f"{url}/api/v2/predict/churn", json={"features": features()}, timeout=PATIENCE_S)
        answers["2xx" if reply.status_code == 200 else str(reply.status_code)] += 1
        refused = httpx.post(f"{url}/api/v2/predict/churn", content=b"{", timeout=PATIENCE_S)
        answers[str(refused.status_code)] += 1


def counted(url: str) -> tuple[collections.Counter, set[str], set[tuple[str, float]]]:
    """Answers by class or status, the gateways that have counted some, and whether each gateway has told."""
    found: collections.Counter = collections.Counter()
    gateways: set[str] = set()
    told: set[tuple[str, float]] = set()
    for family in text_string_to_metric_families(httpx.get(f"{url}/metrics", timeout=PATIENCE_S).text):
        for row in family.samples:
            if row.name == "divisions_requests_total" and row.labels["code"] == "2xx":
                found["2xx"] += row.value
                gateways.add(row.labels["gateway"])
            elif row.name == "divisions_refused_total":
                found[row.labels["status"]] += row.value
            elif row.name == "divisions_gateway_answered":
                told.add((row.labels["gateway"], row.value))
    return found, gateways, told


@contextlib.contextmanager
def prometheus(folder: Path, targets: str) -> Iterator[str]:
    """A real Prometheus with our configuration and rules, but every second; its address."""
    folder.mkdir()
    (folder / "prometheus.yml").write_text(configuration(targets, interval="1s"))
    (folder / RULES).write_text(rule_file())
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        place = f"127.0.0.1:{probe.getsockname()[1]}"
    command = ["prometheus", f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/data"]
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen([*command, f"--web.listen-address={place}"], stdout=log, stderr=log)
    try:
        yield f"http://{place}"
    finally:
        server.kill()
        server.wait(PATIENCE_S)


def ask(server: str, expr: str) -> list[dict]:
    """The series of a query; none while Prometheus does not answer yet."""
    try:
        reply = httpx.get(f"{server}/api/v1/query", params={"query": expr}, timeout=PATIENCE_S)
    except httpx.TransportError:
        return []
    return reply.json()["data"]["result"] if reply.status_code == 200 else []


def test_a_scrape_of_two_and_of_four_gateways_counts_what_their_callers_count(start, tmp_path):
    sent: collections.Counter = collections.Counter()
    for gateways in (2, 4):
        url = start(2)
        send(url, 40, sent)
        end_s = time.monotonic() + PATIENCE_S
        found: tuple = ()
        while found != (sent, {(str(number), 1.0) for number in range(gateways)}):
            assert time.monotonic() < end_s, (found, sent)
            time.sleep(0.2)
            counts, serving, told = counted(url)
            found = (counts, told)
        assert len(serving) > 1, "the kernel gives several gateways some of 40 connections"
    if shutil.which("prometheus") is None:
        pytest.skip("the dashboards were not tried: prometheus is not installed; see `make servers`")
    queries = [
        query.expr for board in BOARDS for _, panels in board.rows for panel in panels for query in panel.queries
    ]
    with prometheus(tmp_path / "prometheus", f"{tmp_path}/metrics/*.json") as server:
        end_s = time.monotonic() + PATIENCE_S
        while empty := [expr for expr in queries if not ask(server, expr)]:
            assert time.monotonic() < end_s, f"no data: {empty}"
            send(url, 1, sent)
            time.sleep(0.5)
        while True:
            (answered,) = ask(server, 'sum(divisions_requests_total{code="2xx"})')
            (refused,) = ask(server, "sum(divisions_refused_total)")
            if (float(answered["value"][1]), float(refused["value"][1])) == (sent["2xx"], sent["400"]):
                break
            assert time.monotonic() < end_s, (answered, refused, sent)
            time.sleep(0.5)
