"""A replica is moved: one more elsewhere, then one less here; never while something else goes on, never too often."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st

from router.scaling.moves import ADD_S, HOLD_S, HOUR_S, LEAVE_S, MAX_MOVES, PAUSE_S, QUIET_S, Moves
from router.scaling.placement import Cluster
from router.scaling.spread import Standing
from tests.router.rollout_world import version
from tests.router.scaling.test_spread import node

APP = "app"


@dataclass
class World:
    """Nodes with room for replicas of half a CPU, Ray Serve, and a shell that holds what it is asked to."""

    places: list[str]
    free: dict[str, float] = field(default_factory=lambda: dict.fromkeys("abc", 4.0))
    obeys_hold: bool = True
    can_hold: bool = True
    starts: bool = True
    goes: bool = True
    is_idle: bool = True
    waiting: int = 0
    wanted: int = 0

    def __post_init__(self):
        self.moves = Moves()
        self.now_s = 0.0
        self.number = len(self.places)
        self.wanted = self.wanted or self.number
        self.replicas = {f"r{number}": place for number, place in enumerate(self.places)}
        self.least = self.wanted
        self.asked: list[str] = []

    def second(self) -> None:
        self.now_s += 1
        self.serve()
        cluster = Cluster(
            tuple(node(name, free) for name, free in self.free.items()),
            (({"CPU": 1.0}, self.waiting),) * bool(self.waiting),
        )
        standing = Standing(version("1", num_cpus=0.5, replicas=self.wanted), dict(self.replicas), self.is_idle)
        self.moves.step({APP: standing}, cluster, self.now_s)
        if self.moves.is_waiting_for_room:
            self.moves.held(is_held=self.can_hold)
        for name in list(self.replicas):
            if self.moves.is_asked_to_go(name):
                self.asked.append(name)
                if self.goes:
                    del self.replicas[name]
                    self.moves.left(name)
                    assert self.moves.extra(APP) == 0, "told in that instant, Ray Serve stops no other one"
        self.least = min(self.least, len(self.replicas))

    def serve(self) -> None:
        told = self.wanted + self.moves.extra(APP)
        if len(self.replicas) < told and self.starts:
            held = self.moves.hold if self.obeys_hold else {}
            places = [name for name, free in self.free.items() if free >= 0.5 and name not in held]
            if places:  # The worst of those that it may take.
                self.number += 1
                self.replicas[f"r{self.number}"] = max(places, key=lambda name: (self.counts[name], name))
        while len(self.replicas) > told:
            self.replicas.popitem()  # It stops the newest one.

    def seconds(self, number: float) -> None:
        for _ in range(int(number)):
            self.second()

    @property
    def counts(self) -> Counter:
        return Counter(self.replicas.values())

    @property
    def note(self) -> str:
        return self.moves.notes().get(APP, "")


def test_replicas_on_one_node_are_spread_and_none_is_missing_meanwhile():
    world = World(["a", "a"])
    world.seconds(QUIET_S)
    assert world.counts == {"a": 2}
    world.seconds(10)
    assert sorted(world.counts.values()) == [1, 1]
    assert world.least == 2
    assert world.moves.extra(APP) == 0
    assert world.moves.hold == {}
    assert world.note == "a replica was moved off host-a, where 2 were"
    world.seconds(HOUR_S)
    assert world.note == ""
    assert len(world.asked) == 1


def test_of_a_crowded_node_the_newest_goes():
    world = World(["a", "a", "b"], {"a": 4.0, "b": 4.0, "c": 4.0})
    world.replicas = {"old": "a", "new": "a", "other": "b"}
    world.seconds(QUIET_S + 10)
    assert world.asked == ["new"]
    assert world.counts == {"a": 1, "b": 1, "c": 1}


def test_room_is_held_until_the_other_replica_is_placed():
    world = World(["a", "a"], can_hold=True, starts=False)
    world.seconds(QUIET_S + 1)
    assert world.moves.hold == {"a": 4.0}
    assert world.moves.extra(APP) == 1
    world.seconds(HOLD_S)
    assert world.moves.hold == {}
    assert world.moves.extra(APP) == 1
    world.seconds(ADD_S)
    assert world.moves.extra(APP) == 0
    assert (
        world.note == f"2 replicas were on host-a, and none was moved: another replica did not start within {ADD_S:g} s"
    )


def test_without_held_room_nothing_is_added():
    world = World(["a", "a"], can_hold=False)
    world.seconds(QUIET_S + 5)
    assert world.moves.extra(APP) == 0
    assert world.number == 2
    assert "could not be held" in world.note


def test_a_shell_that_does_not_answer_holds_up_nothing():
    cluster = Cluster((node("a"), node("b")))
    moves = Moves()
    waited = []
    for second in range(int(QUIET_S + 2 * HOLD_S)):
        moves.step({APP: Standing(version("1", replicas=2), {"x": "a", "y": "a"}, is_idle=True)}, cluster, second)
        waited.append(moves.is_waiting_for_room)
    assert sum(waited) == HOLD_S
    assert waited[int(QUIET_S)]
    moves.held(is_held=True)  # It comes too late.
    assert moves.extra(APP) == 0


def test_a_replica_that_was_placed_badly_goes_again_and_the_next_try_comes_later():
    world = World(["a", "a"], obeys_hold=False)
    world.seconds(QUIET_S + 10)
    assert world.counts == {"a": 2}
    assert "placed the other replica on a node that has some" in world.note
    world.obeys_hold = True
    world.seconds(PAUSE_S - 20)
    assert world.counts == {"a": 2}
    world.seconds(40)
    assert world.counts == {"a": 1, "c": 1}
    assert world.least == 2


def test_a_replica_that_does_not_go_is_left_alone():
    world = World(["a", "a"], goes=False)
    world.seconds(QUIET_S + LEAVE_S + 10)
    assert world.moves.extra(APP) == 0
    assert len(world.replicas) == 2
    assert not world.moves.is_asked_to_go(world.asked[-1])
    assert "did not go" in world.note


def test_nothing_is_moved_while_something_else_goes_on():
    for changes in ({"is_idle": False}, {"waiting": 1}, {"wanted": 3, "starts": False}):
        world = World(["a", "a"], **changes)
        world.seconds(3 * QUIET_S)
        assert world.note == "", changes
    world = World(["a", "a"])
    for number in range(6):  # The nodes change all the time.
        world.free[f"n{number}"] = 0.0
        world.seconds(QUIET_S - 2)
    assert world.note == ""


def test_a_move_makes_way_for_a_rollout_another_number_or_a_loss():
    def rollout(world):
        world.is_idle = False

    def another_number(world):
        world.wanted = 3

    def loss(world):
        del world.replicas["r0"]

    for event in (rollout, another_number, loss):
        world = World(["a", "a"], starts=False)
        world.seconds(QUIET_S + 1)
        assert world.moves.extra(APP) == 1
        event(world)
        world.second()
        assert world.moves.extra(APP) == 0, event
        assert "something else has begun" in world.note
        world.is_idle = world.starts = True
        world.seconds(2 * (QUIET_S + 10))  # It is no failure, so there is no pause.
        assert max(world.counts.values()) == 1, event


def test_a_version_that_is_no_longer_wanted_ends_its_move():
    world = World(["a", "a"], starts=False)
    world.seconds(QUIET_S + 1)
    world.moves.step({}, Cluster(), world.now_s + 1)
    assert (world.moves.extra(APP), world.moves.notes(), world.moves.hold) == (0, {}, {})


def test_versions_are_moved_one_after_the_other():
    moves = Moves()
    one = Standing(version("1", num_cpus=0.5, replicas=2), {"x": "a", "y": "a"}, is_idle=True)
    two = Standing(version("2", num_cpus=0.5, replicas=2), {"v": "a", "w": "a"}, is_idle=True)
    cluster = Cluster((node("a"), node("b")))
    for second in range(int(QUIET_S) + 3):
        moves.step({"one": one, "two": two}, cluster, float(second))
        moves.held(is_held=True)
    assert (moves.extra("one"), moves.extra("two")) == (1, 0)


def test_a_version_that_needs_no_move_is_in_the_way_of_no_other():
    moves = Moves()
    well = Standing(version("1", num_cpus=0.5, replicas=2), {"x": "a", "y": "b"}, is_idle=True)
    compared = Standing(version("2", num_cpus=0.5, replicas=2), {"v": "a", "w": "a"}, is_idle=False)
    crowded = Standing(version("3", num_cpus=0.5, replicas=2), {"t": "a", "u": "a"}, is_idle=True)
    for second in range(int(QUIET_S) + 2):
        moves.step({"1": well, "2": compared, "3": crowded}, Cluster((node("a"), node("b"))), float(second))
        moves.held(is_held=True)
    assert [moves.extra(name) for name in "123"] == [0, 0, 1]


def test_moves_of_an_hour_are_bounded():
    world = World(["a", "a"])
    begun = 0
    for _ in range(MAX_MOVES + 5):
        world.replicas = {f"again{world.number}": "a", f"more{world.number}": "a"}  # Somebody puts them together again.
        world.number += 1
        world.seconds(QUIET_S + 10)
        begun += sorted(world.counts.values()) == [1, 1]
    assert begun == MAX_MOVES
    world.seconds(HOUR_S)
    assert sorted(world.counts.values()) == [1, 1]


@settings(max_examples=25, deadline=None)
@given(st.lists(st.sampled_from("abc"), min_size=2, max_size=7), st.data())
def test_replicas_become_even_and_none_is_ever_missing(places, data):
    world = World(places)
    for _ in range(12):
        world.obeys_hold = data.draw(st.booleans())
        world.can_hold = data.draw(st.booleans())
        world.goes = data.draw(st.booleans())
        world.seconds(data.draw(st.integers(1, 120)))
        assert world.least >= world.wanted
        assert len(world.replicas) <= world.wanted + 1
    world.obeys_hold = world.can_hold = world.goes = True
    for _ in range(int(HOUR_S + PAUSE_S)):
        world.second()
        if max(world.counts.values()) - min(world.counts[name] for name in "abc") < 2:
            break
    world.seconds(QUIET_S)
    assert max(world.counts.values()) - min(world.counts[name] for name in "abc") < 2
    assert world.moves.hold == {}
    assert len(world.replicas) == world.wanted
