"""The JSON of Slack and Alertmanager: no name or text, however hostile, becomes more than text."""

from __future__ import annotations

import json
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from divisions.notice import CHOICES, MOST_TEXT, Notice, Topic, key_of
from divisions.notify.payload import Kind, body_of
from divisions.setting_values import _CHOICES

TEXTS = st.text() | st.sampled_from(["<!channel>", "@here", "<https://evil|ok>", "a\nb", "\udcff", "&lt;", "x" * 1_500])
NOTICES = st.builds(Notice, TEXTS, st.sampled_from(Topic), TEXTS, TEXTS, st.floats(0.0, 4e9))


@given(NOTICES)
def test_in_slack_nothing_is_a_link_or_calls_people(notice):
    text = json.loads(body_of(notice, Kind.SLACK))["text"]
    assert not set(text) & {"<", ">"}
    assert "@here" not in text
    assert len(text.splitlines()) == 2
    assert len(text) < 30 * MOST_TEXT


@given(NOTICES)
def test_in_alertmanager_every_label_is_one_line_and_the_key_tells_alerts_apart(notice):
    (alert,) = json.loads(body_of(notice, Kind.ALERTMANAGER))
    assert set(alert) == {"labels", "annotations", "startsAt"}
    assert all(len(value.splitlines()) <= 1 for value in alert["labels"].values())
    assert alert["startsAt"].endswith("Z")
    assert alert["labels"]["severity"] in {"critical", "warning", "info"}


def test_the_documents_have_the_name_of_each_alert():
    told = (Path(__file__).parents[3] / "docs" / "notifications.md").read_text()
    names = {
        json.loads(body_of(Notice("k", topic, "churn", "", 0.0), Kind.ALERTMANAGER))[0]["labels"]["alertname"]
        for topic in Topic
    }
    assert {name for name in names if f"`{name}`" not in told} == set()


def test_what_people_and_programs_read():
    key = key_of(Topic.ROLLED_BACK, "churn", "7", 1_796_515_200.25)
    notice = Notice(key, Topic.ROLLED_BACK, "churn", "p99 of 3.2 < 24 ms no more", 1_796_515_200.25)
    assert json.loads(body_of(notice, Kind.SLACK)) == {
        "text": "churn: rolled back: p99 of 3.2 &lt; 24 ms no more\n(rolled-back/churn/7/1796515200250)"
    }
    assert json.loads(body_of(notice, Kind.ALERTMANAGER)) == [
        {
            "labels": {
                "alertname": "DivisionsRolledBack",
                "severity": "critical",
                "subject": "churn",
                "notice": "rolled-back/churn/7/1796515200250",
            },
            "annotations": {"summary": "churn: rolled back: p99 of 3.2 < 24 ms no more"},
            "startsAt": "2026-12-06T00:00:00.250Z",
        }
    ]


def test_the_settings_choose_among_exactly_these():
    ours = {"webhook_events": CHOICES, "webhook_kind": tuple(kind.value for kind in Kind)}
    assert {name: choices for name, choices in _CHOICES.items() if name.startswith("webhook")} == ours
