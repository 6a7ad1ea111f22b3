"""Tells new alerts by webhook, if there is one. One that does not arrive is told again with the next report."""

from __future__ import annotations

import logging
from pathlib import Path

import msgspec

from divisions.clock import Clock
from divisions.errors import DivisionsError
from divisions.notice import Notice, Topic, key_of
from divisions.notify.notifier import webhook_of
from divisions.outcomes import OutcomesReport, VersionAlert, write_report
from divisions.settings import Settings

log = logging.getLogger(__name__)


def notice_of(endpoint: str, alert: VersionAlert, now_s: float) -> Notice:
    """What is told of an alert; the same key however often it is told."""
    text = (
        f"the AUC of version {alert.version} is at most {alert.worst_case:.4f}, by {alert.labels:,} outcomes;"
        f" the gate is {alert.gate:g}"
    )
    return Notice(key_of(Topic.OUTCOMES, endpoint, alert.version, alert.since_s), Topic.OUTCOMES, endpoint, text, now_s)


def tell(report: OutcomesReport, settings: Settings, clock: Clock) -> OutcomesReport:
    """Sends what was not told yet; returns the report with what was, and saves it."""
    if not settings.webhook_file or all(alert.is_told for alert in report.alerts):
        return report
    if settings.webhook_events and Topic.OUTCOMES.value not in settings.webhook_events:
        return report
    told = tuple(_told(report.endpoint, alert, settings, clock) for alert in report.alerts)
    report = msgspec.structs.replace(report, alerts=told)
    write_report(Path(settings.home), report)
    return report


def _told(endpoint: str, alert: VersionAlert, settings: Settings, clock: Clock) -> VersionAlert:
    if alert.is_told:
        return alert
    try:
        reply = webhook_of(settings, clock).send(notice_of(endpoint, alert, clock.wall_s()))
    except DivisionsError as error:
        log.warning("the alert was not told: %s", error)
        return alert
    if not reply.is_good:
        log.warning("the alert was not told, the next report tries again: %s", reply.fault)
    return msgspec.structs.replace(alert, is_told=reply.is_good)
