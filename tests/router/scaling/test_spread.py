"""Which node has too many of a version's replicas, and where no other one may be placed."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from router.scaling.placement import Node
from router.scaling.spread import MAX_HELD, Standing, crowding
from tests.router.rollout_world import version

HALF = version("1", num_cpus=0.5, replicas=2)


def node(name: str, free: float = 4.0, **changes) -> Node:
    return Node(f"host-{name}", {"CPU": 4.0}, {"CPU": free}, node_id=name, **changes)


def standing(*nodes: str, of=HALF) -> Standing:
    return Standing(of, {f"r{number}": name for number, name in enumerate(nodes)}, is_idle=True)


def test_all_on_one_node_is_crowded_where_another_has_room():
    found = crowding(standing("a", "a"), [node("a", 3.0), node("b")])
    assert (found.node.name, found.count, found.held) == ("host-a", 2, {"a": 3.0})
    assert crowding(standing("a", "a"), [node("a"), node("b", 0.4)]) is None
    assert crowding(standing("a", "a"), [node("a")]) is None


def test_a_difference_of_one_cannot_be_mended():
    assert crowding(standing("a", "a", "b"), [node("a"), node("b")]) is None
    assert crowding(standing("a", "b"), [node("a"), node("b"), node("c")]) is None
    assert crowding(standing(), [node("a"), node("b")]) is None


def test_room_is_held_where_a_replica_would_help_nothing_and_only_where_there_is_some():
    nodes = [node("a"), node("b", 1.23456), node("c"), node("d", 0.1)]
    assert crowding(standing("a", "a", "b", "d"), nodes).held == {"a": 4.0, "b": 1.2345}
    assert crowding(standing("a", "a", "a", "b"), nodes).held == {"a": 4.0}
    names = [f"n{number:02}" for number in range(MAX_HELD + 1)]
    found = crowding(standing(*names, names[0]), [*map(node, names), node("z")])
    assert (found.node.name, found.held) == ("host-n00", {})


def test_nodes_that_do_not_suit_are_no_better_place():
    assert crowding(standing("a", "a"), [node("a"), node("b", is_draining=True)]) is None
    gpu = version("1", num_cpus=0.5, num_gpus=1.0)
    assert crowding(standing("a", "a", of=gpu), [node("a"), node("b")]) is None
    label = version("1", num_cpus=0.5, nodes={"zone": "eu"})
    assert crowding(standing("a", "a", of=label), [node("a"), node("b")]) is None
    assert crowding(standing("a", "a", of=label), [node("a"), node("b", labels={"zone": "eu"})]) is not None


def test_a_version_without_cpus_is_moved_and_holds_nothing():
    found = crowding(standing("a", "a", of=version("1", num_cpus=0.0)), [node("a"), node("b")])
    assert found.held == {}


def test_nothing_is_moved_while_a_node_with_replicas_is_not_listed():
    assert crowding(standing("a", "a", "lost"), [node("a"), node("b")]) is None


@given(st.lists(st.sampled_from("abcd"), min_size=1, max_size=9), st.lists(st.floats(0, 4), min_size=4, max_size=4))
def test_a_move_makes_the_numbers_more_even_and_its_end_can_be_reached(places, free):
    nodes = [node(name, each) for name, each in zip("abcd", free, strict=True)]
    found = crowding(standing(*places), nodes)
    counts = Counter(places)
    open_nodes = [each.node_id for each in nodes if each.free["CPU"] >= 0.5 - 1e-6]
    is_uneven = any(max(counts.values()) - counts[name] >= 2 for name in open_nodes)
    assert (found is not None) == is_uneven
    if found is not None:
        assert found.count == counts[found.node.node_id] == max(counts.values())
        better = set(open_nodes) - set(found.held)
        assert better
        assert all(found.is_better(counts[name]) for name in better)
