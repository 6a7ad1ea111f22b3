"""Which versions may be moved, what Ray Serve is told meanwhile, and what is said of it."""

from __future__ import annotations

import msgspec
import pytest

from divisions.control import ReplicaAddress, RolloutSpec
from router.scaling.moves import QUIET_S
from router.scaling.placement import Cluster, Node
from tests.router.rollout_world import World, spec, version

NODES = Cluster(tuple(Node(f"host-{name}", {"CPU": 4.0}, {"CPU": 4.0}, node_id=name) for name in ("node", "other")))
"""The replicas of `World` are on ``node``."""
HELD = {"node": 4.0}


@pytest.fixture
def world(tmp_path):
    it = World(tmp_path)
    it.controller.cluster_seen(NODES)
    it.controller.start_rollout(serving("3.1"))
    it.until("PROMOTED")
    it.seconds(int(QUIET_S))
    assert it.controller.moves.is_waiting_for_room
    return it


def serving(label: str, **changes) -> RolloutSpec:
    return msgspec.structs.replace(spec(label), version=version(label, replicas=2, **changes))


def told(world) -> dict[str, int]:
    return {each.version: each.replicas for each in world.controller.told().values()}


def hear(world, replica: str, node: str = "other") -> bool:
    app_name = version("3.1").app_name
    address = ReplicaAddress(f"{app_name}#{replica}", app_name, node, "/run/sock", "", 8, started_at_s=1e12)
    return world.controller.register_replica(address)


def test_a_version_that_serves_gets_one_replica_elsewhere_and_loses_one(world):
    moves = world.controller.moves
    assert moves.hold == HELD
    assert told(world) == {"3.1": 2}
    moves.held(is_held=True)
    assert told(world) == {"3.1": 3}
    assert {each.version: each.replicas for each in world.controller.wanted().values()} == {"3.1": 2}
    (row,) = world.controller.status().scales
    assert row.note == "2 of 2 replicas are on host-node: moving one"

    assert not hear(world, "new")
    world.second()
    assert not hear(world, "new")
    assert not hear(world, "0", "node")
    assert hear(world, "1", "node"), "it is asked to go"
    assert world.status().phase == "PROMOTED"
    world.controller.replica_leaves(f"{version('3.1').app_name}#1")
    assert told(world) == {"3.1": 2}
    (row,) = world.controller.status().scales
    assert row.note == "a replica was moved off host-node, where 2 were"
    assert row.wanted == row.ready == 2


def test_replicas_stay_where_they_are_while_a_rollout_compares_versions(tmp_path):
    world = World(tmp_path)
    world.controller.start_rollout(serving("3.1"))
    world.until("PROMOTED")
    world.controller.start_rollout(serving("3.2"))
    world.controller.cluster_seen(NODES)
    world.seconds(int(QUIET_S) + 5)
    assert world.status().phase not in {"PROMOTED", "ROLLED_BACK"}
    assert world.controller.moves.hold == {}


def test_a_rollout_that_begins_ends_a_move(world):
    world.controller.moves.held(is_held=True)
    world.controller.start_rollout(serving("3.2"))
    world.second()
    assert told(world) == {"3.1": 2, "3.2": 2}


def test_a_controller_that_was_started_again_tells_ray_serve_the_old_number(world):
    world.controller.moves.held(is_held=True)
    assert told(world) == {"3.1": 3}
    world.restart_controller()
    assert told(world) == {"3.1": 2}


def test_the_note_on_a_move_stands_beside_the_reason_for_the_number(world):
    from router.control.spreading import Spreading

    world.controller.moves.held(is_held=True)
    spreading: Spreading = world.controller._spreading
    name = version("3.1").app_name
    assert spreading.notes({name: (0.5, "so many rows")}) == {
        name: (0.5, "so many rows; 2 of 2 replicas are on host-node: moving one")
    }
