"""Keeping the nodes against a cluster that is played: one look after another, each followed by its preparation."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

import pytest

from divisions.deployment import deployment_of
from divisions.errors import ClusterError
from divisions.settings import Settings
from router.control.node_keeper import NodeKeeper
from router.control.nodes import GatewayState, SeenNode
from tests.router.control.test_nodes import OTHER, OWN


@dataclass
class PlayedCluster:
    nodes: tuple = (OWN, OTHER)
    reasons: dict[str, str] = field(default_factory=dict)
    fault: Exception | None = None
    hanging: tuple[str, ...] = ()
    is_full: bool = False
    running: dict[str, GatewayState] = field(default_factory=dict)
    prepared: list[tuple[str, dict]] = field(default_factory=list)

    def list_nodes(self):
        return self.nodes

    async def prepare(self, node, secrets):
        self.prepared.append((node.address, dict(secrets)))
        if node.address in self.hanging:
            await asyncio.Event().wait()
        if self.fault is not None:
            raise self.fault
        return self.reasons.get(node.address, "")

    def gateways(self):
        return dict(self.running)

    def start(self, app_name, node):
        if self.is_full:
            raise ClusterError("Ray Serve is away")
        self.running[app_name] = GatewayState("RUNNING", node.gateways)

    def stop(self, app_name):
        del self.running[app_name]


@pytest.fixture
def keep(run, tmp_path):
    """Looks at a cluster so many times; returns what is shown of each node by its address."""
    (tmp_path / "token").write_bytes(b"secret")
    settings = Settings(home=tmp_path, port=8_123, host="")

    def look(cluster, times=2):
        async def scenario():
            keeper = NodeKeeper(settings, deployment_of(settings), cluster, OWN.node_id)
            for _ in range(times):
                await keeper.keep()
                await asyncio.gather(*keeper._preparing.values())
            return {row.address: row for row in keeper.rows(())}

        return run(scenario())

    return look


def test_a_node_that_joins_is_prepared_with_the_secrets_and_gets_its_gateways(keep):
    cluster = PlayedCluster()
    rows = keep(cluster)
    assert cluster.prepared == [("10.0.0.2", {"token": b"secret"})], "once, and never the controller's own node"
    assert sorted(state.running for state in cluster.running.values()) == [1, 2]
    assert {address: row.state for address, row in rows.items()} == {"10.0.0.1": "alive", "10.0.0.2": "alive"}


def test_a_node_that_refuses_is_shown_with_the_reason_and_gets_none(keep):
    cluster = PlayedCluster(reasons={"10.0.0.2": "has another version"})
    rows = keep(cluster)
    assert (rows["10.0.0.2"].state, rows["10.0.0.2"].reason) == ("refused", "has another version")
    assert len(cluster.running) == 1


def test_a_preparation_that_fails_is_the_reason(keep):
    rows = keep(PlayedCluster(fault=OSError("no route")))
    assert rows["10.0.0.2"].reason == "10.0.0.2 could not be prepared: no route"


def test_gateways_that_ray_does_not_take_are_told_and_tried_again(keep):
    cluster = PlayedCluster(nodes=(OWN,), is_full=True)
    assert "Ray Serve is away" in keep(cluster)["10.0.0.1"].reason
    cluster.is_full = False
    assert keep(cluster)["10.0.0.1"].reason == ""
    assert len(cluster.running) == 1


def test_a_node_that_hangs_holds_up_no_other_and_is_asked_once(run, tmp_path, monkeypatch):
    monkeypatch.setattr("router.control.nodes.RETRY_S", 0.0)
    late = SeenNode("c" * 56, "10.0.0.3", "three", True, gateways=1)

    async def scenario():
        cluster = PlayedCluster(hanging=(OTHER.address,))
        keeper = NodeKeeper(Settings(home=tmp_path), deployment_of(Settings(home=tmp_path)), cluster, OWN.node_id)
        await keeper.keep()
        await keeper.keep()
        cluster.nodes = (OWN, OTHER, late)
        await keeper.keep()
        await keeper.keep()
        states = {row.address: row.state for row in keeper.rows(())}
        assert states == {"10.0.0.1": "alive", "10.0.0.2": "joining", "10.0.0.3": "alive"}
        assert [address for address, _ in cluster.prepared] == ["10.0.0.2", "10.0.0.3"]
        assert len(cluster.running) == 2
        for task in keeper._preparing.values():
            task.cancel()

    run(scenario())
