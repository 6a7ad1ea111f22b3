"""Which transitions of a real controller are told, and that a restart tells what is missing and nothing twice."""

from __future__ import annotations

import pytest

from divisions.control import RolloutCommand
from divisions.drift import DriftAlert
from divisions.notify.notifier import Notifier
from divisions.notify.retry import OLDEST_S, Reply
from divisions.settings import Settings
from router.control.notices import Notices
from tests.router.rollout_world import World, spec


class Server:
    def __init__(self):
        self.told = []

    def send(self, notice):
        self.told.append((notice.topic.value, notice.subject, notice.text))
        return Reply(200)


class Unstarted(Notifier):
    """Sends when the test says so."""

    def start(self):
        pass

    def drain(self):
        while self.counts().waiting:
            self.step()


class Place:
    def __init__(self, tmp_path):
        self.folder, self.server = tmp_path, Server()
        self.world = World(tmp_path)
        self.begin()

    def begin(self):
        """What the actor does at each start."""
        self.notifier = Unstarted(self.server, self.folder / "notices.json", self.world.clock)
        self.notices = Notices(Settings(self.folder), self.world.clock, self.world.events, self.notifier)
        self.notices.catch_up(self.world.journal, self.world.controller.records)

    def tell(self):
        for event in list(self.world.events.events):
            self.notices.emit(event)

    @property
    def topics(self):
        self.notifier.drain()
        return [topic for topic, _, _ in self.server.told]


@pytest.fixture
def place(tmp_path):
    return Place(tmp_path)


def roll_back(world):
    world.latency_s["3.2"] = 0.0108
    world.controller.start_rollout(spec("3.2"))
    world.until("STEP")
    world.controller.command(RolloutCommand("churn", "pause"))
    world.controller.command(RolloutCommand("churn", "resume"))
    world.until("ROLLED_BACK")


def test_a_rollout_is_told_with_its_reason_and_a_restart_tells_nothing_twice(place):
    place.world.deploy_first()
    roll_back(place.world)
    place.tell()
    assert place.topics == ["promoted", "held", "rolled-back"]
    assert "latency" in place.server.told[2][2] or "ms" in place.server.told[2][2]
    place.begin()
    assert len(place.topics) == 3


def test_a_controller_that_told_nothing_is_caught_up_from_the_journal(place):
    place.world.deploy_first()
    roll_back(place.world)
    place.begin()
    caught_up = place.topics
    assert caught_up == ["promoted", "held", "rolled-back"]
    place.tell()
    assert place.topics == caught_up


def test_nothing_older_than_an_hour_is_told_at_the_start(place):
    place.world.deploy_first()
    place.world.clock.advance(OLDEST_S + 60)
    place.begin()
    assert place.topics == []


def test_drift_is_told_once_an_alert(place):
    alert = DriftAlert("age", "1h", "training", 0.3, 0.1, place.world.clock.wall_s())
    place.notices.drifted("churn", alert)
    place.notices.drifted("churn", alert)
    assert place.topics == ["drift"]
    assert place.server.told[0][2].startswith("drift of feature 'age'")


def test_a_tick_of_the_controller_passes_alerts_on(place, monkeypatch):
    alert = DriftAlert("age", "1h", "training", 0.3, 0.1, 0.0)
    found = []
    monkeypatch.setattr(place.world.controller, "_on_drift", lambda *told: found.append(told))
    monkeypatch.setattr(place.world.controller.drift_watch, "tick", lambda: [("churn", alert)])
    place.world.controller.tick()
    assert found == [("churn", alert)]


def test_without_a_webhook_events_go_to_the_file_alone(tmp_path):
    world = World(tmp_path)
    notices = Notices(Settings(tmp_path), world.clock, world.events)
    world.deploy_first()
    before = len(world.events.events)
    notices.emit(world.events.events[0])
    notices.catch_up(world.journal, ["churn"])
    assert len(world.events.events) == before + 1
    assert notices.counts().waiting == 0
    assert not (tmp_path / "notices").exists()
