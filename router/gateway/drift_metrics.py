"""Metrics of drift in Prometheus' text format, from the controller's report. Pure.

They come from the one controller and are equal on every gateway. Labels are endpoints, features and windows.
"""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from divisions.drift import DriftReport, FeatureScores

STATES = ("unknown", "warming", "watching", "usual")


class DriftCollector(Collector):
    """The metrics of one report."""

    def __init__(self, report: DriftReport) -> None:
        self._report = report

    def collect(self) -> Iterator[Metric]:
        by = ["endpoint", "feature", "window", "against"]
        score = GaugeMetricFamily("divisions_drift_score", "Corrected stability index of a feature", labels=by)
        predictions = GaugeMetricFamily(
            "divisions_drift_prediction_score",
            "Corrected stability index of the scores",
            labels=["endpoint", "window", "against"],
        )
        active = GaugeMetricFamily("divisions_drift_alert", "1 while a drift goes on: alert", labels=by)
        alerts = CounterMetricFamily("divisions_drift_alerts", "Drifts that were found", labels=["endpoint"])
        customers = GaugeMetricFamily(
            "divisions_drift_customers", "Customers in a window, or a part of them", labels=["endpoint", "window"]
        )
        state = GaugeMetricFamily("divisions_drift_state", "1 for the state of the watch", labels=["endpoint", "state"])
        for drift in self._report.endpoints:
            for scores in drift.features:
                for window, against, value in _scores(scores):
                    score.add_metric([drift.endpoint, scores.feature, window, against], value)
            for window, against, value in _scores(drift.predictions):
                predictions.add_metric([drift.endpoint, window, against], value)
            for alert in drift.alerts:
                active.add_metric([drift.endpoint, alert.feature, alert.window, alert.against], 1.0)
            alerts.add_metric([drift.endpoint], drift.alerts_total)
            customers.add_metric([drift.endpoint, "1h"], drift.customers_hour)
            customers.add_metric([drift.endpoint, "24h"], drift.customers_day)
            for each in STATES:
                state.add_metric([drift.endpoint, each], float(each == drift.state))
        yield from (score, predictions, active, alerts, customers, state)


def _scores(scores: FeatureScores) -> list[tuple[str, str, float]]:
    found = (
        ("1h", "training", scores.hour),
        ("24h", "training", scores.day),
        ("1h", "usual", scores.hour_usual),
        ("24h", "usual", scores.day_usual),
    )
    return [(window, against, value) for window, against, value in found if value is not None]


def render(report: DriftReport) -> bytes:
    """The metrics as text."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(DriftCollector(report))
    return generate_latest(registry)
