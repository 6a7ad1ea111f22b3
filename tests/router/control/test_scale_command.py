"""`divisions scale`: which versions it means, what it is refused for, and that it survives the controller."""

from __future__ import annotations

import msgspec
import pytest

from divisions.control import Placement, RolloutCommand
from divisions.errors import ConflictError, MalformedRequestError, NoRoomError, UnknownVersionError
from divisions.scaling import Scaling
from router.control.version_scales import rows
from router.scaling.placement import Cluster, Node
from tests.router.rollout_world import World, spec, version


def scale(world, replicas, **changes):
    return world.controller.command(RolloutCommand("churn", "scale", replicas=replicas, **changes))


def wanted(world):
    return {each.version: each.replicas for each in world.controller.wanted().values()}


def test_it_changes_how_many_replicas_are_wanted_and_says_who_did_it(world):
    status = scale(world, 5, who="ann")
    assert wanted(world) == {"3.1": 5}
    assert (status.stable_replicas, status.wanted_stable_replicas) == (2, 5)
    assert status.history[-1].message == "ann scaled 3.1 to 5 replicas"
    world.seconds(2)
    assert world.status().stable_replicas == 5


def test_it_survives_the_controller_and_changes_no_generation(world):
    generation = world.status().generation
    scale(world, 5)
    world.restart_controller()
    assert wanted(world) == {"3.1": 5}
    assert world.status().generation == generation


def test_without_a_version_it_means_every_running_one_and_with_one_only_that(world):
    world.controller.start_rollout(spec("3.2"))
    world.until("STEP")
    scale(world, 4)
    assert wanted(world) == {"3.1": 4, "3.2": 4}
    scale(world, 3, version="3.2")
    assert wanted(world) == {"3.1": 4, "3.2": 3}
    with pytest.raises(UnknownVersionError, match=r"runs no version 9\.9"):
        scale(world, 3, version="9.9")


def test_a_step_waits_until_the_new_number_is_there(world):
    world.controller.start_rollout(spec("3.2"))
    world.until("STEP")
    world.lost_replicas["3.2"] = 2
    scale(world, 4, version="3.2")
    world.seconds(20)
    assert world.status().phase == "STEP"
    world.lost_replicas.clear()
    world.until("PROMOTED")


def test_a_new_version_gets_at_least_the_number_that_stable_was_scaled_to(world):
    scale(world, 5)
    world.controller.start_rollout(spec("3.2"))
    world.second()
    assert wanted(world) == {"3.1": 5, "3.2": 5}
    world.until("PROMOTED")
    world.seconds(40)
    assert wanted(world) == {"3.2": 5}


def test_a_number_below_that_of_the_pipeline_file_is_not_inherited(world):
    scale(world, 1)
    world.controller.start_rollout(spec("3.2"))
    world.second()
    assert wanted(world) == {"3.1": 1, "3.2": 2}


@pytest.mark.parametrize("replicas", [None, 0, -1, 1_001])
def test_a_number_that_makes_no_sense_is_refused(world, replicas):
    with pytest.raises(MalformedRequestError, match="1 to 1,000"):
        scale(world, replicas)


def test_a_version_in_the_gateways_has_nothing_to_scale(tmp_path):
    world = World(tmp_path)
    hosted = version("3.1", placement=Placement.IN_PROCESS)
    world.controller.start_rollout(msgspec.structs.replace(spec("3.1"), version=hosted))
    with pytest.raises(ConflictError, match="inside the gateways"):
        scale(world, 3)


def test_outside_of_the_limits_of_its_load_it_is_refused(tmp_path):
    world = World(tmp_path)
    scaled = version("3.1", replicas=2, scaling=Scaling(2, 6))
    world.controller.start_rollout(msgspec.structs.replace(spec("3.1"), version=scaled))
    for replicas in (1, 7):
        with pytest.raises(ConflictError, match="between 2 and 6"):
            scale(world, replicas)
    scale(world, 6)
    assert wanted(world) == {"3.1": 6}


def test_what_the_cluster_cannot_hold_is_refused_with_what_each_node_has(world):
    nodes = (Node("h1", {"CPU": 4.0}, {"CPU": 0.6}), Node("h2", {"CPU": 2.0}, {"CPU": 0.2}))
    world.controller.cluster_seen(Cluster(nodes))
    scale(world, 3)
    with pytest.raises(NoRoomError, match=r"room for 1 of 2 more replicas.*0\.5 CPUs.*h1 0\.6 of 4 CPUs; h2 0\.2 of 2"):
        scale(world, 5)
    assert wanted(world) == {"3.1": 3}
    scale(world, 5, force=True)
    assert wanted(world) == {"3.1": 5}
    scale(world, 1)
    assert wanted(world) == {"3.1": 1}


def test_two_versions_do_not_get_the_same_room(world):
    world.controller.start_rollout(spec("3.2"))
    world.until("STEP")
    world.controller.cluster_seen(Cluster((Node("h1", {"CPU": 4.0}, {"CPU": 1.0}),)))
    with pytest.raises(NoRoomError, match="version 3"):
        scale(world, 4)
    scale(world, 3)


def test_the_status_says_what_waiting_replicas_lack(world):
    scale(world, 4)
    nodes = (Node("h1", {"CPU": 4.0}, {"CPU": 0.0}),)
    for waiting, lacks in ((0, ""), (2, "the cluster has room for 0 of 2 more replicas")):
        world.controller.cluster_seen(Cluster(nodes, (({"CPU": 0.5}, waiting),) if waiting else ()))
        (row,) = world.controller.status().scales
        assert (row.wanted, row.ready, row.role) == (4, 2, "stable")
        assert row.lacks.partition(":")[0] == lacks


def test_versions_in_gateways_have_no_row():
    hosted = version("3.1", placement=Placement.IN_PROCESS)
    assert rows((), {hosted.app_name: hosted}, None, None) == ()


@pytest.mark.parametrize(("is_written", "count"), [(False, 2), (True, 5)])
def test_a_controller_killed_at_the_write_has_scaled_wholly_or_not_at_all(world, is_written, count):
    world.dies_at = lambda kind, is_written, at=is_written: kind == "SCALED" and is_written is at
    with pytest.raises(KeyboardInterrupt):
        scale(world, 5)
    world.dies_at = None
    world.restart_controller()
    assert wanted(world) == {"3.1": count}
