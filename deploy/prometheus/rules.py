"""Recording rules and alerts for every cluster. Each alert has a section in docs/runbooks.md. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

PAGE, TICKET = "page", "ticket"
RUNBOOKS = "docs/runbooks.md"

Rule = dict[str, Any]
"""A rule as Prometheus writes it in YAML."""


@dataclass(frozen=True, slots=True)
class Alert:
    """An alert.

    Attributes:
        name: in CamelCase; its runbook's heading.
        expr: what must hold.
        summary: one line for people; a template of Prometheus.
        severity: `PAGE` wakes somebody, `TICKET` waits for the morning.
        hold: how long it must hold, as Prometheus writes times; empty for at once.
    """

    name: str
    expr: str
    summary: str
    severity: str = TICKET
    hold: str = ""

    def rule(self, **labels: str) -> Rule:
        held = {"for": self.hold} if self.hold else {}
        return {
            "alert": self.name,
            "expr": self.expr,
            **held,
            "labels": {"severity": self.severity, **labels},
            "annotations": {"summary": self.summary, "runbook": f"{RUNBOOKS}#{self.name.lower()}"},
        }


def _grown(function: str, by: str, counter: str, window: str) -> str:
    """Whether a counter of what is rare has grown within ``window``, or began in it.

    Such a counter begins with its first value, which is no increase for Prometheus. It is new if the hour before
    the window had none, although something was scraped then.
    """
    now, before = (
        f"{function} by ({by}) ({each})" for each in (counter, f"max_over_time({counter}[1h] offset {window})")
    )
    return (
        f"{function} by ({by}) (increase({counter}[{window}])) > 0"
        f" or ({now} unless {before}) > 0 and on () count(divisions_build_info offset {window}) > 0"
    )


RECORDS = {
    "divisions:requests:rate5m": "sum by (endpoint, version, code) (rate(divisions_requests_total[5m]))",
    "divisions:refused:rate5m": "sum by (endpoint, status, code) (rate(divisions_refused_total[5m]))",
    "divisions:request_seconds:p50_5m": (
        "histogram_quantile(0.5, sum by (endpoint, version, le) (rate(divisions_request_seconds_bucket[5m])))"
    ),
    "divisions:request_seconds:p99_5m": (
        "histogram_quantile(0.99, sum by (endpoint, version, le) (rate(divisions_request_seconds_bucket[5m])))"
    ),
}
"""By the name under which Prometheus keeps them: what dashboards show and people ask for most."""

ALERTS = (
    Alert(
        "RolloutNeedsOperator",
        "max by (endpoint) (divisions_rollout_needs_operator) == 1",
        "The rollout of {{ $labels.endpoint }} holds. See `divisions rollout status {{ $labels.endpoint }}`.",
        hold="1m",
    ),
    Alert(
        "RolledBack",
        _grown("max", "endpoint, guard", "divisions_rollbacks_total", "10m"),
        "{{ $labels.endpoint }} was rolled back by the guard {{ $labels.guard }}.",
    ),
    Alert(
        "NoReadyReplicas",
        "max by (endpoint, version) (divisions_ready_replicas) == 0"
        " and on (endpoint, version) max by (endpoint, version) (divisions_weight_ratio) > 0",
        "Version {{ $labels.version }} of {{ $labels.endpoint }} has traffic but no replica.",
        PAGE,
        "1m",
    ),
    Alert(
        "RequestsRefused",
        'sum by (endpoint) (rate(divisions_refused_total{status="503"}[5m]))'
        " > 0.01 * sum by (endpoint) (rate(divisions_requests_total[5m]))",
        "{{ $labels.endpoint }} refuses more than 1 % of its requests: add replicas.",
        PAGE,
        "5m",
    ),
    Alert(
        "StoredFeaturesDoNotFit",
        _grown("sum", "endpoint", 'divisions_refused_total{code="StoredFeaturesError"}', "5m"),
        "The online store has features that {{ $labels.endpoint }} cannot read: a column changed its kind.",
    ),
    Alert(
        "OnlineStoreUnreachable",
        "min by (instance) (divisions_online_store_reachable) == 0",
        "A gateway at {{ $labels.instance }} does not reach the shared online store.",
        PAGE,
        "1m",
    ),
    Alert(
        "Drift",
        "max by (endpoint, feature) (divisions_drift_alert) == 1",
        "{{ $labels.endpoint }} drifts; feature: {{ $labels.feature }} (none: the predictions). "
        "`GET /api/v2/drift/{{ $labels.endpoint }}` has the histograms.",
    ),
    Alert(
        "PredictionLogLosesRows",
        _grown("sum", "endpoint, version, reason", "divisions_prediction_log_lost_rows_total", "10m"),
        "Rows of {{ $labels.endpoint }}'s prediction log are lost; reason: {{ $labels.reason }}.",
    ),
    Alert(
        "PredictionLogStuck",
        "min by (instance) (divisions_prediction_log_reachable) == 0",
        "The place of the prediction log takes nothing from {{ $labels.instance }}; files wait on that machine.",
        hold="15m",
    ),
    Alert(
        "CertificateEnds",
        "min by (instance) (divisions_port_certificate_expiry_timestamp_seconds) - time() < 3 * 86400",
        "The certificate of {{ $labels.instance }} expires in {{ $value | humanizeDuration }}.",
        hold="10m",
    ),
    Alert(
        "CertificateRefused",
        "max by (instance) (divisions_port_certificate_refused) == 1",
        "{{ $labels.instance }} has a new certificate that it cannot use; the one before is in force.",
        hold="5m",
    ),
    Alert(
        "JournalUnavailable",
        "max(divisions_journal_unavailable) == 1",
        "The controller cannot write its journal: no weight can rise. `divisions status` has the reason.",
        PAGE,
        "30s",
    ),
    Alert(
        "DependencyUnreachable",
        'min by (dependency) (divisions_dependency_reachable{dependency!="journal"}) == 0',
        "The controller does not reach: {{ $labels.dependency }}.",
        hold="5m",
    ),
    Alert(
        "ControllerSilent",
        "min(divisions_controller_silent_seconds) > 60",
        "No gateway hears the controller. Serving goes on, rollouts do not.",
        PAGE,
    ),
    Alert(
        "ControllerRestarts",
        "max(increase(divisions_controller_restarts_total[30m])) > 3",
        "The controller was started again {{ $value | humanize }} times in half an hour.",
    ),
    Alert(
        "GatewayDown",
        'up{job="divisions"} == 0',
        "Prometheus does not reach the gateway at {{ $labels.instance }}.",
        PAGE,
        "2m",
    ),
    Alert(
        "GatewayHangs",
        "min by (instance, gateway) (divisions_gateway_answered) == 0",
        "Gateway {{ $labels.gateway }} of {{ $labels.instance }} does not tell its counts.",
        hold="2m",
    ),
    Alert(
        "TablesDiffer",
        "max(divisions_table_epoch) != min(divisions_table_epoch)",
        "Gateways route by different tables: one of them does not hear the controller.",
        hold="3m",
    ),
    Alert(
        "PipelineFailed",
        "max by (pipeline) (divisions_pipeline_last_failed) == 1",
        "The last scheduled run of {{ $labels.pipeline }} failed. See `divisions schedule list`.",
    ),
    Alert(
        "ScheduleLate",
        "max by (pipeline) (divisions_schedule_lag_seconds) > 1800",
        "The next run of {{ $labels.pipeline }} is overdue for {{ $value | humanizeDuration }}.",
        hold="5m",
    ),
)


def groups() -> list[dict[str, Any]]:
    """The groups of every cluster."""
    records: Iterable[Rule] = ({"record": name, "expr": expr} for name, expr in RECORDS.items())
    return [
        {"name": "divisions-records", "rules": list(records)},
        {"name": "divisions", "rules": [alert.rule() for alert in ALERTS]},
    ]
