"""A cluster of bare machines: `up --host` on one, `join` on others, and what is refused."""

from __future__ import annotations

import json
import shutil

import pytest

from tests.cluster.network import ROOT, Network, wait_until

HOME = "/root/home"
GATEWAY = "http://{}:8000"


@pytest.fixture(scope="module")
def hosts(network: Network):
    head, worker = network.host("bare-head"), network.host("bare-worker")
    for host in (head, worker):
        host.environment |= {"DIVISIONS_HOME": HOME}
    yield head, worker
    for host in (worker, head):
        host.kill()
        network.hosts.pop(host.name)


def nodes(host) -> dict[str, dict]:
    answer = json.loads(host.divisions("status", "--output", "json").stdout)
    # A node that was refused or has left, and has come again, has two rows for a while; the one in use counts.
    rows = sorted(answer["nodes"], key=lambda node: node["state"] == "alive")
    return {node["address"]: node for node in rows}


def rays(host) -> list[str]:
    """The names of Ray's processes on a host."""
    names = host.run("sh", "-c", "cat /proc/[0-9]*/comm", check=False).stdout.split()
    return [name for name in names if name.startswith(("ray", "gcs_server"))]


def test_a_machine_joins_serves_and_leaves(hosts):
    head, worker = hosts
    head.divisions("up", "--host", head.address)
    target = f"{head.address}:6479"

    refused = worker.divisions("join", target, check=False)
    assert refused.returncode == 1, "it has no token"
    assert "asks for a token, and we have none" in refused.stderr, refused.stderr
    (worker.disk("/root") / "wrong").write_text("0" * 64)
    refused = worker.divisions("join", target, "--token-file", "/root/wrong", check=False)
    assert refused.returncode == 1
    assert "refuses our token" in refused.stderr, refused.stderr
    assert not worker.disk(f"{HOME}/cluster.json").exists()
    shutil.copy(head.disk(f"{HOME}/ray_token"), worker.disk("/root") / "ray_token")

    other = worker.disk("/root") / "other"
    for package in ("divisions", "serving", "router", "trainers", "deploy"):
        shutil.copytree(ROOT / package, other / package, ignore=shutil.ignore_patterns("__pycache__", "_native"))
    (other / "router" / "another.py").touch()
    refused = worker.divisions("join", target, "--token-file", "/root/ray_token", check=False, PYTHONPATH="/root/other")
    assert refused.returncode == 1
    assert f"{worker.address} (bare-worker) has divisions 0.1.0 (" in refused.stderr, refused.stderr
    assert "the cluster has 0.1.0 (" in refused.stderr

    worker.divisions("join", target, "--token-file", "/root/ray_token")
    mine = nodes(worker)
    assert (mine[worker.address]["state"], mine[worker.address]["gateways"]) == ("alive", 1)
    assert mine[worker.address]["gateway"] == GATEWAY.format(worker.address)
    assert mine[head.address]["has_controller"]
    for name in ("token", "channel_token", "ray_token"):
        copied = worker.disk(f"{HOME}/{name}")
        assert copied.read_text().strip() == head.disk(f"{HOME}/{name}").read_text().strip()
        assert copied.stat().st_mode & 0o777 == 0o600
    for client, server in ((head, worker), (worker, head)):
        healthy = client.run("curl", "-sf", f"{GATEWAY.format(server.address)}/healthz", check=False)
        assert healthy.returncode == 0, healthy.stderr

    assert {"raylet", "ray"} <= set(rays(worker))
    worker.divisions("down")
    assert rays(worker) == []
    assert wait_until(lambda: nodes(head)[worker.address]["state"] == "lost", "the worker is lost") < 60
    head.divisions("down")
    assert rays(head) == []
