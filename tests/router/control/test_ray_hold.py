"""Room is held and released, also when Ray does not answer in between. Calls of Ray are replaced."""

from __future__ import annotations

import pytest

from router.control import ray_hold
from router.control.ray_hold import RayHold


class Ray:
    """Placement groups by number. ``is_away`` has every call fail; ``has_room`` says whether a group is placed."""

    def __init__(self):
        self.groups: dict[int, list] = {}
        self.names: dict[int, str] = {}
        self.number = 0
        self.is_away_while_waiting = self.is_away = False
        self.has_room = True

    def make(self, bundles, strategy, name, bundle_label_selector):
        assert name not in self.names.values(), "Ray refuses a second one of that name"
        self.number += 1
        self.names[self.number] = name
        self.groups[self.number] = list(zip(bundles, bundle_label_selector, strict=True))
        return Group(self, self.number)

    def remove(self, group):
        if self.is_away:
            raise OSError("Ray's head is away")
        self.groups.pop(group.number, None)
        self.names.pop(group.number, None)

    def get(self, name):
        for number, known in self.names.items():
            if known == name:
                return Group(self, number)
        raise ValueError(f"no placement group {name}")


class Group:
    def __init__(self, ray, number):
        self.ray, self.number = ray, number

    def wait(self, timeout_seconds):
        if self.ray.is_away_while_waiting:
            raise OSError("Ray's head is away")
        return self.ray.has_room


@pytest.fixture
def ray(monkeypatch):
    it = Ray()
    monkeypatch.setattr(ray_hold, "placement_group", it.make)
    monkeypatch.setattr(ray_hold, "remove_placement_group", it.remove)
    monkeypatch.setattr(ray_hold, "get_placement_group", it.get)
    return it


def test_what_is_asked_for_is_held_once_and_everything_else_released(ray):
    hold = RayHold()
    assert hold.set({})
    assert hold.set({"a": 2.0, "b": 0.0})
    assert hold.set({"a": 2.0})
    assert ray.groups == {1: [({"CPU": 2.0}, {"ray.io/node-id": "a"})]}
    assert hold.set({"b": 1.0})
    assert ray.groups == {2: [({"CPU": 1.0}, {"ray.io/node-id": "b"})]}
    assert hold.set({})
    assert ray.groups == {}


def test_without_room_nothing_stays_behind(ray):
    ray.has_room = False
    assert not RayHold().set({"a": 2.0})
    assert ray.groups == {}


def test_what_ray_was_asked_for_when_it_went_away_is_released_later(ray):
    hold = RayHold()
    ray.is_away_while_waiting = True
    with pytest.raises(OSError, match="away"):
        hold.set({"a": 2.0})
    assert hold.set({})
    assert ray.groups == {}


def test_what_a_controller_held_when_it_was_killed_is_released_by_the_next(ray):
    RayHold().set({"a": 2.0})
    RayHold("another's").set({"b": 1.0})
    assert RayHold().set({})
    assert list(ray.names.values()) == ["another's"]
    RayHold("another's").set({"a": 1.0})
    assert list(ray.groups.values()) == [[({"CPU": 1.0}, {"ray.io/node-id": "a"})]]


def test_what_could_not_be_released_is_released_later(ray):
    hold = RayHold()
    hold.set({"a": 2.0})
    ray.is_away = True
    for _ in range(2):
        with pytest.raises(OSError, match="away"):
            hold.set({})
    ray.is_away = False
    assert hold.set({})
    assert ray.groups == {}
