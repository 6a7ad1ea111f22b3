"""Which transitions and alerts are told by webhook, and what of an earlier controller's still has to be."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from divisions.clock import Clock
from divisions.drift import DriftAlert
from divisions.drift_text import text_of
from divisions.notice import Notice, NoticeCounts, Topic, key_of
from divisions.notify.notifier import Notifier, notifier_of
from divisions.notify.retry import OLDEST_S
from divisions.settings import Settings
from router.control.event_log import EventSink
from router.journal.journal import Journal, JournalEntry, Kind
from router.rollouts.messages import RolloutEvent

NAME: Final = "controller"
_TOPICS: Final = {
    Kind.ROLLBACK_INTENT.value: Topic.ROLLED_BACK,
    Kind.HELD.value: Topic.HELD,
    Kind.BARRED.value: Topic.HELD,
    Kind.PROMOTED.value: Topic.PROMOTED,
}
"""A roll-back is told when it begins: from then on the canary gets no traffic."""


def notice_of(transition: RolloutEvent | JournalEntry) -> Notice | None:
    """What is told of a transition; the same whether it just happened or is read from the journal."""
    topic = _TOPICS.get(str(transition.kind))
    if topic is None:
        return None
    note = transition.message if isinstance(transition, RolloutEvent) else transition.note
    endpoint, at_s = transition.endpoint, transition.at_s
    return Notice(key_of(topic, endpoint, str(transition.generation), at_s), topic, endpoint, note, at_s)


def notice_of_drift(endpoint: str, alert: DriftAlert, now_s: float) -> Notice:
    """What is told of a new alert."""
    number = f"{alert.feature}/{alert.window}/{alert.against}"
    key = key_of(Topic.DRIFT, endpoint, number, alert.since_s)
    return Notice(key, Topic.DRIFT, endpoint, text_of(alert), now_s)


def untold(entries: Iterable[JournalEntry], now_s: float) -> list[Notice]:
    """What may not have been told of the last hour's transitions, oldest first."""
    notices = (notice_of(entry) for entry in entries if now_s - entry.at_s <= OLDEST_S)
    return sorted((notice for notice in notices if notice is not None), key=lambda notice: notice.at_s)


class Notices:
    """Tells transitions and alerts, if there is a webhook; passes every event on to another sink first.

    Args:
        settings: have the webhook.
        clock: the time.
        events: gets every transition.
        notifier: sends; None makes the one of the settings.
    """

    def __init__(self, settings: Settings, clock: Clock, events: EventSink, notifier: Notifier | None = None) -> None:
        self._clock = clock
        self._events = events
        self._notifier = notifier or notifier_of(settings, clock, NAME)

    def emit(self, event: RolloutEvent) -> None:
        self._events.emit(event)
        notice = notice_of(event)
        if self._notifier is not None and notice is not None:
            self._notifier.tell(notice)

    def drifted(self, endpoint: str, alert: DriftAlert) -> None:
        if self._notifier is not None:
            self._notifier.tell(notice_of_drift(endpoint, alert, self._clock.wall_s()))

    def catch_up(self, journal: Journal, endpoints: Iterable[str]) -> None:
        """Tells what the controller before may have died too early for, and begins to send. Call it once."""
        if self._notifier is not None:
            entries = [entry for endpoint in endpoints for entry in journal.entries(endpoint)]
            for notice in untold(entries, self._clock.wall_s()):
                self._notifier.tell(notice)
            self._notifier.start()

    def counts(self) -> NoticeCounts:
        return self._notifier.counts() if self._notifier is not None else NoticeCounts()
