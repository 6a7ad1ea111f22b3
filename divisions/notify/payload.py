"""A notice as the JSON that Slack's incoming webhooks take, and as Alertmanager's. Pure."""

from __future__ import annotations

import enum
from datetime import UTC, datetime
from typing import Final

import msgspec

from divisions.notice import MOST_TEXT, Notice, Topic


class Kind(enum.StrEnum):
    """Whose JSON is sent: ``DIVISIONS_WEBHOOK_KIND``."""

    SLACK = "slack"
    ALERTMANAGER = "alertmanager"


_TITLES: Final = {
    Topic.ROLLED_BACK: "rolled back",
    Topic.HELD: "held",
    Topic.PROMOTED: "promoted",
    Topic.DRIFT: "drift",
    Topic.RUN_FAILED: "run failed",
    Topic.OUTCOMES: "below its gate",
    Topic.TEST: "test",
}
_SEVERITIES: Final = {Topic.ROLLED_BACK: "critical", Topic.PROMOTED: "info", Topic.TEST: "info"}
_ZERO_WIDTH_SPACE: Final = "\N{ZERO WIDTH SPACE}"


def body_of(notice: Notice, kind: Kind) -> bytes:
    """The request's body. It has the notice's key, so that a receiver can tell a repetition."""
    if kind is Kind.SLACK:
        return msgspec.json.encode({"text": slack_text(notice)})
    name = "Divisions" + "".join(word.capitalize() for word in notice.topic.value.split("-"))
    labels = {
        "alertname": name,
        "severity": _SEVERITIES.get(notice.topic, "warning"),
        "subject": _plain(notice.subject),
        "notice": _plain(notice.key),
    }
    started = datetime.fromtimestamp(max(notice.at_s, 0.0), UTC).isoformat(timespec="milliseconds")
    alert = {"labels": labels, "annotations": {"summary": _line(notice)}, "startsAt": started.replace("+00:00", "Z")}
    return msgspec.json.encode([alert])


def slack_text(notice: Notice) -> str:
    """One line for people, and the key. No name of a model or run can make it a link or call people.

    >>> slack_text(Notice("k", Topic.HELD, "churn", "<!channel> p99 > 24 ms", 0.0))
    'churn: held: &lt;!channel&gt; p99 &gt; 24 ms\\n(k)'
    """
    text = f"{_line(notice)}\n({_plain(notice.key)})".replace("@", "@" + _ZERO_WIDTH_SPACE)
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _line(notice: Notice) -> str:
    text = _plain(notice.text)
    return f"{_plain(notice.subject)}: {_TITLES[notice.topic]}" + (f": {text}" if text else "")


def _plain(text: str) -> str:
    """One line without control characters and lone surrogates, of bounded length."""
    whole = "".join(each if each.isprintable() else " " for each in text)
    line = " ".join(whole.split())
    return line if len(line) <= MOST_TEXT else line[: MOST_TEXT - 1] + "…"
