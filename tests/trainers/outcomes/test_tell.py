import dataclasses
import logging

import pytest

from divisions.clock import SystemClock
from divisions.notice import Topic
from divisions.outcomes import OutcomesReport, VersionAlert, read_report
from divisions.settings import Settings
from trainers.outcomes import tell

REPORT = OutcomesReport("churn", 5.0, 0.85, 9, 9, 0, 0, 0, alerts=(VersionAlert("3.1", 0.85, 0.8, 900, 5.0),))


@dataclasses.dataclass
class FakeReply:
    is_good: bool
    fault: str = "it is away"


@pytest.fixture
def webhook(monkeypatch):
    class Webhook:
        def __init__(self) -> None:
            self.is_good = True
            self.sent = []

        def send(self, notice):
            self.sent.append(notice)
            return FakeReply(self.is_good)

    it = Webhook()
    monkeypatch.setattr(tell, "webhook_of", lambda settings, clock: it)
    return it


def test_an_alert_is_told_once(webhook, tmp_path):
    settings = Settings(home=tmp_path, webhook_file="/there")
    report = tell.tell(REPORT, settings, SystemClock())
    assert report.alerts[0].is_told
    assert read_report(tmp_path, "churn") == report
    tell.tell(report, settings, SystemClock())
    (notice,) = webhook.sent
    assert (notice.topic, notice.subject) == (Topic.OUTCOMES, "churn")
    assert notice.text == "the AUC of version 3.1 is at most 0.8000, by 900 outcomes; the gate is 0.85"


def test_one_that_does_not_arrive_is_told_again(webhook, tmp_path, caplog):
    settings = Settings(home=tmp_path, webhook_file="/there")
    webhook.is_good = False
    with caplog.at_level(logging.WARNING):
        report = tell.tell(REPORT, settings, SystemClock())
    assert not report.alerts[0].is_told
    assert "it is away" in caplog.text
    webhook.is_good = True
    assert tell.tell(report, settings, SystemClock()).alerts[0].is_told
    assert webhook.sent[0].key == webhook.sent[1].key


@pytest.mark.parametrize("changes", [{"webhook_file": ""}, {"webhook_events": ("drift",)}])
def test_nothing_is_told_where_nobody_asked_for_it(webhook, tmp_path, changes):
    settings = dataclasses.replace(Settings(home=tmp_path, webhook_file="/there"), **changes)
    assert tell.tell(REPORT, settings, SystemClock()) == REPORT
    assert webhook.sent == []
