"""Sends notices in a thread of its own, so that nobody waits for the server. What waits and what was told is a file.

The file is ``notices/<name>.json`` in the home, one for each process that tells something. A disk that is full costs
the memory of a restart, and a line in the log. Nothing here raises.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Final, Protocol

import msgspec

from divisions.clock import Clock
from divisions.deployment import write_private
from divisions.errors import SettingsError
from divisions.notice import Notice, NoticeCounts, Topic
from divisions.notify import outbox
from divisions.notify.outbox import Outbox
from divisions.notify.payload import Kind
from divisions.notify.retry import Reply, pause_s
from divisions.notify.webhook import Webhook
from divisions.settings import Settings

log = logging.getLogger(__name__)

FOLDER: Final = "notices"


class Sender(Protocol):
    """Sends one notice once; never raises."""

    def send(self, notice: Notice) -> Reply: ...


class Notifier:
    """See the module. `start` begins the thread; without it nothing is sent.

    Args:
        sender: sends one.
        path: the file of what waits and what was told.
        clock: the time.
        topics: what is told; empty means all.
        pause: waits for some seconds; None waits until then or until the end.
    """

    def __init__(
        self,
        sender: Sender,
        path: Path,
        clock: Clock,
        topics: frozenset[Topic] = frozenset(),
        pause: Callable[[float], None] | None = None,
    ) -> None:
        self._sender = sender
        self._path = path
        self._clock = clock
        self._topics = topics
        self._pause = pause or self._wait
        self._changed = threading.Condition()
        self._is_ended = False
        self._sent = self._lost = 0
        self._fault = ""
        self._box = self._saved = self._read()

    def start(self) -> threading.Thread:
        thread = threading.Thread(target=self._work, name="notifier", daemon=True)
        thread.start()
        return thread

    def end(self) -> None:
        """The thread ends after the request that is under way; what waits is in the file."""
        with self._changed:
            self._is_ended = True
            self._changed.notify_all()

    def tell(self, notice: Notice) -> None:
        """Has it sent, if it is wanted and was not told. Returns at once."""
        if self._topics and notice.topic not in self._topics:
            return
        with self._changed:
            self._box, dropped = outbox.added(self._box, notice)
            if dropped:
                self._lose(dropped, "too many wait")
            self._changed.notify_all()

    def counts(self) -> NoticeCounts:
        with self._changed:
            return NoticeCounts(self._sent, self._lost, len(self._box.waiting), self._fault)

    def _work(self) -> None:
        while not self._is_ended:
            try:
                self.step()
            except Exception:
                log.exception("a notification could not be handled")  # The edge of a loop: it goes on.
                self._pause(pause_s(1, Reply(0)))

    def step(self) -> None:
        """Sends the oldest notice that waits, until it has arrived or is given up; else waits for one."""
        with self._changed:
            while not self._box.waiting and not self._is_ended:
                self._changed.wait()
        tries = 0
        while (notice := self._next()) is not None:
            self._save()
            reply = self._sender.send(notice)
            tries += 1
            if reply.is_good or reply.is_final:
                self._done(notice, reply)
                return
            with self._changed:
                if reply.fault != self._fault:
                    log.warning("a notification waits: %s", reply.fault)
                self._fault = reply.fault
            self._pause(pause_s(tries, reply))

    def _next(self) -> Notice | None:
        with self._changed:
            self._box, late = outbox.fresh(self._box, self._clock.wall_s())
            if late:
                self._lose(late, "the server did not take them within an hour")
            notice = None if late or self._is_ended or not self._box.waiting else self._box.waiting[0]
        if late:
            self._save()
        return notice

    def _done(self, notice: Notice, reply: Reply) -> None:
        with self._changed:
            self._box = outbox.told(self._box, notice, self._clock.wall_s())
            self._fault = reply.fault
            if reply.is_good:
                self._sent += 1
            else:
                self._lose(1, reply.fault)
        self._save()

    def _lose(self, number: int, why: str) -> None:
        self._lost += number
        log.error("%d notifications are lost: %s", number, why)

    def _wait(self, seconds: float) -> None:
        """New notices do not end it: they wait for the same server."""
        with self._changed:
            self._changed.wait_for(lambda: self._is_ended, timeout=seconds)

    def _save(self) -> None:
        with self._changed:
            box = self._box
        if box is self._saved:
            return
        try:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            write_private(self._path, msgspec.json.encode(box))
            self._saved = box
        except OSError as error:
            log.warning("what was notified could not be saved to %s: %s", self._path, error.strerror)

    def _read(self) -> Outbox:
        try:
            return msgspec.json.decode(self._path.read_bytes(), type=Outbox)
        except FileNotFoundError:
            return Outbox()
        except (OSError, msgspec.MsgspecError, UnicodeDecodeError) as error:
            log.warning("%s is left out, so notifications of the last hour may come again: %s", self._path, error)
            return Outbox()


def webhook_of(settings: Settings, clock: Clock) -> Webhook:
    """The webhook that the settings name; call it only if they name one."""
    return Webhook(Path(settings.webhook_file), Kind(settings.webhook_kind), clock.wall_s)


def notifier_of(settings: Settings, clock: Clock, name: str) -> Notifier | None:
    """The notifier of one process of the home, to be started; None without a webhook."""
    if not settings.webhook_file:
        return None
    webhook = webhook_of(settings, clock)
    try:
        webhook.check()
    except SettingsError as error:
        log.warning("%s", error)
    topics = frozenset(Topic(event) for event in settings.webhook_events)
    return Notifier(webhook, settings.home / FOLDER / f"{name}.json", clock, topics)
