"""What a notification says, as a plain value. Pure."""

from __future__ import annotations

import enum
from typing import Final

import msgspec


class Topic(enum.StrEnum):
    """What notifications are about; ``DIVISIONS_WEBHOOK_EVENTS`` chooses among them."""

    ROLLED_BACK = "rolled-back"
    HELD = "held"
    PROMOTED = "promoted"
    DRIFT = "drift"
    RUN_FAILED = "run-failed"
    OUTCOMES = "outcomes"
    TEST = "test"


CHOICES: Final = tuple(topic.value for topic in Topic if topic is not Topic.TEST)
MOST_TEXT: Final = 1_000


class Notice(msgspec.Struct, frozen=True):
    """One notification. ``subject`` is an endpoint or a pipeline; ``key`` tells whether two are the same."""

    key: str
    topic: Topic
    subject: str
    text: str
    at_s: float


class NoticeCounts(msgspec.Struct, frozen=True):
    """Of this controller: notifications sent, lost and waiting. ``fault`` is why the last one did not arrive."""

    sent: int = 0
    lost: int = 0
    waiting: int = 0
    fault: str = ""


class SpanCounts(msgspec.Struct, frozen=True):
    """Spans of work since the process's start: those that the collector took, and those that are lost.

    ``fault`` says why the last attempt failed; empty if it did not.
    """

    exported: int = 0
    lost: int = 0
    fault: str = ""


def key_of(topic: Topic, subject: str, number: str, at_s: float) -> str:
    """The same for the same thing, also after a restart; another for everything else.

    >>> key_of(Topic.PROMOTED, "churn", "7", 1_000.25)
    'promoted/churn/7/1000250'
    """
    return f"{topic.value}/{subject}/{number}/{round(at_s * 1_000)}"
