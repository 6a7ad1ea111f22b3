"""Which replica comes next: near ones first, in turns, and none of a node that is late."""

from __future__ import annotations

import pytest

from divisions.control import ReplicaAddress
from router.predict import upstream
from router.predict.free_channels import FreeChannels
from router.predict.upstream import Channel

pytestmark = pytest.mark.skipif(
    not upstream.__file__.endswith(".py"), reason="compiled classes have no interpreted children"
)


class Fake(Channel):
    def __init__(self, name: str, node: str) -> None:
        self.address = ReplicaAddress(name, "m-v1", node, f"/{name}.sock", "10.0.0.1:1", 8)
        self.is_local = node == "here"
        self.is_ready = True
        self.is_overdue = self.is_hung = False

    def send(self, jobs, now_s): ...

    def close(self) -> None: ...


@pytest.fixture
def channels() -> dict[str, Fake]:
    named = {"a1": "a", "here1": "here", "b1": "b", "a2": "a", "here2": "here"}
    return {name: Fake(name, node) for name, node in named.items()}


@pytest.fixture
def free(channels) -> FreeChannels:
    free = FreeChannels()
    for channel in channels.values():
        free.add(channel)
    return free


def order(free: FreeChannels) -> list[str]:
    taken = []
    while (channel := free.take()) is not None:
        taken.append(channel.address.replica_id)
    return taken


def test_near_ones_come_first_and_each_kind_takes_turns(free, channels):
    first = free.take()
    free.add(first)
    assert order(free) == ["here2", "here1", "a1", "b1", "a2"]
    assert not free.has_any()


def test_without_the_preference_all_take_turns(free):
    free.prefer_local(False)
    assert order(free) == ["here1", "here2", "a1", "b1", "a2"]


def test_the_preference_may_come_back(free):
    free.prefer_local(False)
    free.prefer_local(True)
    free.prefer_local(True)
    assert order(free) == ["here1", "here2", "a1", "b1", "a2"]


def test_what_is_put_back_comes_next_again(free):
    channel = free.take()
    free.put_back(channel)
    assert free.take() is channel


def test_one_that_is_not_ready_or_dropped_is_left_out(free, channels):
    channels["here1"].is_ready = channels["a1"].is_ready = False
    free.drop(channels["b1"])
    free.drop(channels["b1"])
    assert order(free) == ["here2", "a2"]


def test_a_node_of_which_a_replica_is_late_gets_nothing_new(free, channels):
    free.drop(channels["a1"])
    channels["a1"].is_overdue = True
    free.note_late(channels.values())
    assert order(free) == ["here1", "here2", "b1"]
    assert free.has_any()
    channels["a1"].is_overdue = False
    free.note_late(channels.values())
    assert order(free) == ["a2"]


def test_a_late_replica_of_this_node_says_nothing_of_its_neighbours(free, channels):
    free.drop(channels["here1"])
    channels["here1"].is_overdue = True
    free.note_late(channels.values())
    assert order(free) == ["here2", "a1", "b1", "a2"]


def test_if_all_nodes_are_late_there_is_nothing_better(channels):
    free = FreeChannels()
    known = [channels[name] for name in ("a1", "a2", "b1")]
    for channel in known[1:]:
        free.add(channel)
    channels["a1"].is_overdue = channels["b1"].is_overdue = True
    free.drop(channels["b1"])
    free.note_late(known)
    assert order(free) == ["a2"]
