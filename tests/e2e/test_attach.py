"""A Ray cluster that others use too: deployed onto with `up --address`, and removed from it without a trace."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from deploy.supervision.processes import wait_until
from tests.e2e.command_line import ROOT
from tests.e2e.homes import answer
from tests.e2e.ray_hosts import RayHost, RayHosts

pytestmark = pytest.mark.e2e
OTHERS = """
import sys, ray
from ray import serve
ray.init(address=sys.argv[1], namespace="others", log_to_driver=False, _node_ip_address=sys.argv[2])
@serve.deployment(ray_actor_options={"num_cpus": 0.1})
class Theirs:
    def __call__(self):
        return "theirs"
@ray.remote(num_cpus=0)
class Keeper:
    def value(self):
        return 42
if sys.argv[3] == "start":
    serve.start(proxy_location="Disabled")
    serve.run(Theirs.bind(), name="theirs", route_prefix=None)
    Keeper.options(name="keeper", lifetime="detached").remote()
handle = serve.get_app_handle("theirs")
print(handle.remote().result(timeout_s=120), ray.get(ray.get_actor("keeper").value.remote()))
print(sorted(serve.status().applications))
"""


@pytest.fixture(scope="module")
def cluster() -> Iterator[RayHosts]:
    hosts = RayHosts()
    try:
        hosts.add()
        hosts.add()
        assert "theirs 42" in others(hosts, "start")
        yield hosts
    finally:
        hosts.end()


def others(cluster: RayHosts, what: str) -> str:
    host = cluster.hosts[0]
    done = subprocess.run(
        [sys.executable, "-c", OTHERS, cluster.head, host.address, what],
        env=host.environment, cwd=ROOT, capture_output=True, text=True, timeout=240, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def nodes(host: RayHost) -> dict[str, dict]:
    done = host.divisions("status", "--output", "json")
    assert done.returncode == 0, done.stderr
    rows = sorted(json.loads(done.stdout)["nodes"], key=lambda node: node["state"] != "lost")
    return {node["address"]: node for node in rows}


def test_it_is_deployed_on_every_marked_node_and_removed_without_harm_to_others(cluster):
    head, worker = cluster.hosts
    with ThreadPoolExecutor() as pool:  # two at once: one waits for the other, and finds all there
        both = list(pool.map(lambda host: host.divisions("up", "--address", cluster.head), cluster.hosts))
    assert [done.returncode for done in both] == [0, 0], [done.stdout + done.stderr for done in both]
    for host in cluster.hosts:
        assert answer(f"{cluster.url(host)}/healthz")[0] == 200
        assert nodes(host)[host.address]["gateways"] == 1
        assert {path.stat().st_mode & 0o777 for path in host.home.iterdir() if path.is_file()} == {0o600}
    assert (head.home / "token").read_bytes() == (worker.home / "token").read_bytes()
    assert (head.home / "ray_token").read_text() == cluster.token
    assert [row["has_controller"] for row in nodes(head).values()].count(True) == 1

    before = nodes(head)
    again = head.divisions("up", "--address", cluster.head)
    assert again.returncode == 0, again.stderr
    assert nodes(head) == before

    removed = head.divisions("down")
    assert removed.returncode == 0, removed.stderr
    assert "theirs" in removed.stdout
    assert others(cluster, "look").splitlines() == ["theirs 42", "['theirs']"]
    for host in cluster.hosts:
        with pytest.raises(OSError, match="refused"):
            answer(f"{cluster.url(host)}/healthz")
    assert head.divisions("down").returncode == 1


def test_a_node_that_joins_gets_a_gateway_and_one_that_leaves_loses_it(cluster):
    head, worker = cluster.hosts[:2]
    assert worker.divisions("up", "--address", cluster.head).returncode == 0
    third = cluster.add()
    assert wait_until(lambda: nodes(worker).get(third.address, {}).get("gateways") == 1, 240), nodes(worker)
    assert answer(f"{cluster.url(third)}/healthz")[0] == 200
    gone = cluster.lose(third)
    assert wait_until(lambda: nodes(worker)[gone.address]["state"] == "lost", 240), nodes(worker)
    assert answer(f"{cluster.url(head)}/healthz")[0] == 200
    assert worker.divisions("down").returncode == 0


def test_a_wrong_token_is_refused_and_an_up_that_was_killed_is_finished_by_the_next(cluster):
    head = cluster.hosts[0]
    refused = head.divisions("up", "--address", cluster.head, RAY_AUTH_TOKEN="0" * 64)
    assert refused.returncode == 1
    assert re.search(r"error: the Ray cluster at .* refuses our token.*RAY_AUTH_TOKEN", refused.stderr), refused.stderr
    for step in ("Prepare the nodes", "Start the controller", "Start the gateways"):
        starting = head.start("up", "--address", cluster.head)
        lines = []
        assert any(line.startswith(step) for line in starting.stdout if not lines.append(line)), (step, lines)
        starting.kill()
        starting.wait()
    done = head.divisions("up", "--address", cluster.head)
    assert done.returncode == 0, done.stderr
    assert {node["gateways"] for node in nodes(head).values() if node["state"] == "alive"} == {1}
    removed = head.divisions("down")
    assert removed.returncode == 0, removed.stderr
    assert others(cluster, "look").splitlines() == ["theirs 42", "['theirs']"]
