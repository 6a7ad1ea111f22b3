"""The notifier: order, repetition, loss and restarts, with a server in memory and no waiting."""

from __future__ import annotations

import os

import pytest

from divisions.clock import ManualClock, SystemClock
from divisions.notice import Notice, NoticeCounts, Topic
from divisions.notify import notifier
from divisions.notify.notifier import Notifier, notifier_of
from divisions.notify.outbox import MOST_WAITING
from divisions.notify.retry import Reply
from divisions.settings import Settings


class Server:
    def __init__(self):
        self.keys = []
        self.replies = []

    def send(self, notice):
        self.keys.append(notice.key)
        reply = self.replies.pop(0) if self.replies else Reply(200)
        if isinstance(reply, BaseException):
            raise reply
        return reply


class World:
    def __init__(self, folder):
        self.path, self.clock, self.server, self.pauses = folder / "n" / "c.json", ManualClock(), Server(), []
        self.restart()

    def restart(self, *topics):
        self.notifier = Notifier(self.server, self.path, self.clock, frozenset(topics), self.pause)

    def pause(self, seconds):
        self.pauses.append(seconds)
        self.clock.advance(seconds)

    def tell(self, key, topic=Topic.HELD):
        self.notifier.tell(Notice(key, topic, "churn", "", self.clock.wall_s()))

    def drain(self):
        while self.notifier.counts().waiting:
            self.notifier.step()
        return self.server.keys


@pytest.fixture
def world(tmp_path):
    return World(tmp_path)


def test_each_is_told_once_in_order_also_after_a_restart(world):
    world.tell("a")
    world.tell("b")
    world.tell("a")
    assert world.drain() == ["a", "b"]
    world.restart()
    world.tell("b")
    world.tell("c")
    assert world.drain() == ["a", "b", "c"]
    assert world.path.stat().st_mode & 0o777 == 0o600


def test_a_server_that_is_away_gets_it_later_and_is_given_longer_pauses(world):
    world.server.replies = [Reply(0, fault="h: no answer in time"), Reply(429, 30.0, "h answered 429"), Reply(500)]
    world.tell("a")
    assert world.drain() == ["a"] * 4
    assert world.pauses == [1.0, 30.0, 4.0]
    assert world.notifier.counts() == NoticeCounts(sent=1)


def test_what_the_server_refuses_for_good_is_lost_and_the_next_one_goes_on(world, caplog):
    world.server.replies = [Reply(404, fault="h answered 404")]
    world.tell("a")
    world.notifier.step()
    assert world.notifier.counts() == NoticeCounts(lost=1, fault="h answered 404")
    assert "1 notifications are lost: h answered 404" in caplog.text
    world.tell("b")
    assert world.drain() == ["a", "b"]
    assert world.notifier.counts() == NoticeCounts(sent=1, lost=1)


def test_a_server_that_is_away_for_an_hour_loses_it(world):
    world.server.replies = [Reply(503, fault="h answered 503")] * 1_000
    world.tell("a")
    world.drain()
    assert 15 <= len(world.server.keys) <= 30
    assert world.notifier.counts() == NoticeCounts(lost=1, fault="h answered 503")
    world.restart()
    world.tell("a")
    assert world.notifier.counts().waiting == 0


def test_a_process_that_dies_after_sending_sends_it_again_with_the_same_key_and_one_before_loses_nothing(world):
    world.server.replies = [KeyboardInterrupt("kill -9")]
    world.tell("a")
    world.tell("b")
    with pytest.raises(KeyboardInterrupt):
        world.notifier.step()
    world.restart()
    assert world.drain() == ["a", "a", "b"]


def test_only_what_is_wanted_is_told(world):
    world.restart(Topic.ROLLED_BACK)
    world.tell("a", Topic.PROMOTED)
    world.tell("b", Topic.ROLLED_BACK)
    assert world.drain() == ["b"]


def test_too_many_are_counted(world):
    for number in range(MOST_WAITING + 2):
        world.tell(str(number))
    assert world.notifier.counts() == NoticeCounts(lost=2, waiting=MOST_WAITING)


def test_a_full_disk_and_a_damaged_file_stop_nothing(world, monkeypatch, caplog):
    world.path.parent.mkdir()
    world.path.write_bytes(b'{"waiting": 7}')
    world.restart()
    assert "may come again" in caplog.text

    def full(path, content):
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(notifier, "write_private", full)
    world.tell("a")
    assert world.drain() == ["a"]
    assert "No space left on device" in caplog.text


def test_the_thread_sends_and_ends(tmp_path):
    server = Server()
    told = Notifier(server, tmp_path / "c.json", SystemClock())
    told.tell(Notice("a", Topic.HELD, "churn", "", SystemClock().wall_s()))
    thread = told.start()
    while not told.counts().sent:
        assert thread.is_alive()
        thread.join(0.01)
    told.end()
    thread.join(60)
    assert not thread.is_alive()


def test_without_a_webhook_there_is_no_notifier(tmp_path):
    assert notifier_of(Settings(tmp_path), ManualClock(), "c") is None
