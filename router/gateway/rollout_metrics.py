"""Metrics of rollouts and of the inventory in Prometheus' text format, from the controller's status. Pure.

Every gateway serves them, so one scrape target is enough. They come from the one controller and are equal everywhere.
Labels are endpoints, phases and guards, which are all few.
"""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from divisions.status import ControllerStatus, Evidence, Explanation, RolloutStatus
from router.gateway import inventory_metrics
from router.rollouts.states import Phase


class RolloutCollector(Collector):
    """The metrics of one status."""

    def __init__(self, status: ControllerStatus) -> None:
        self._status = status

    def collect(self) -> Iterator[Metric]:
        by_endpoint, by_guard = ["endpoint"], ["endpoint", "guard"]
        weight = GaugeMetricFamily("divisions_rollout_weight_ratio", "The canary's share in force", labels=by_endpoint)
        phase = GaugeMetricFamily(
            "divisions_rollout_phase", "1 for the phase that the rollout is in", labels=["endpoint", "phase"]
        )
        held = GaugeMetricFamily(
            "divisions_rollout_needs_operator",
            "1 while a rollout holds, or waits for a policy: alert",
            labels=by_endpoint,
        )
        evidence = GaugeMetricFamily("divisions_rollout_log_evidence", "ln E of a guard", labels=by_guard)
        threshold = GaugeMetricFamily("divisions_rollout_log_threshold", "The ln E at which it acts", labels=by_guard)
        drift = GaugeMetricFamily(
            "divisions_rollout_drift", "Corrected stability index", labels=["endpoint", "between"]
        )
        detectable = GaugeMetricFamily(
            "divisions_rollout_min_detectable_ratio", "Smallest slow-down that is found", labels=by_endpoint
        )
        why = GaugeMetricFamily(
            "divisions_rollout_explanation", "What the guard that acted last saw", labels=[*by_guard, "value"]
        )
        for rollout in self._status.rollouts:
            name = rollout.endpoint
            weight.add_metric([name], rollout.actual_weight_bp / 10_000)
            for each in Phase:
                phase.add_metric([name, each.value], float(each.value == rollout.phase))
            held.add_metric([name], float(rollout.phase == Phase.HOLD or _waits_for_approval(rollout)))
            for guard, ln_e, limit in _guards(rollout):
                evidence.add_metric([name, guard], ln_e)
                threshold.add_metric([name, guard], limit)
            for between, index in _drifts(rollout.evidence):
                drift.add_metric([name, between], index)
            if rollout.evidence.min_detectable is not None:
                detectable.add_metric([name], rollout.evidence.min_detectable)
            if rollout.explanation is not None:
                for value, number in _facts(rollout.explanation):
                    why.add_metric([name, rollout.explanation.guard, value], number)
        wanted, used = _replicas(self._status)
        rollbacks = CounterMetricFamily(
            "divisions_rollbacks", "Rollouts that were rolled back, by the guard that did it", labels=by_guard
        )
        for count in self._status.rollbacks:
            rollbacks.add_metric([count.endpoint, count.guard], count.count)
        yield from (weight, phase, held, evidence, threshold, drift, detectable, why, wanted, used, rollbacks)
        yield CounterMetricFamily("divisions_controller_restarts", "Of the controller", self._status.restarts)
        yield GaugeMetricFamily(
            "divisions_journal_unavailable",
            "1 while the controller cannot write its journal: alert",
            bool(self._status.journal_fault),
        )
        yield GaugeMetricFamily(
            "divisions_journal_unwritten", "Transitions in force that are not on disk yet", self._status.unwritten
        )
        yield from inventory_metrics.families(
            self._status.inventory,
            journal_works=not self._status.journal_fault,
            policy_works=not self._status.policy_fault,
        )


def render(status: ControllerStatus) -> bytes:
    """The metrics as text."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(RolloutCollector(status))
    return generate_latest(registry)


def _waits_for_approval(rollout: RolloutStatus) -> bool:
    return rollout.gate is not None and rollout.gate.is_waiting


def _replicas(status: ControllerStatus) -> tuple[GaugeMetricFamily, GaugeMetricFamily]:
    labels = ["endpoint", "version"]
    wanted = GaugeMetricFamily("divisions_wanted_replicas", "Replicas that a version should have", labels=labels)
    used = GaugeMetricFamily(
        "divisions_utilization_ratio", "Share of the replicas' greatest rate in use", labels=labels
    )
    for scale in status.scales:
        wanted.add_metric([scale.endpoint, scale.version], scale.wanted)
        if scale.utilization is not None:
            used.add_metric([scale.endpoint, scale.version], scale.utilization)
    return wanted, used


def _guards(rollout: RolloutStatus) -> tuple[tuple[str, float, float], ...]:
    evidence = rollout.evidence
    if not evidence.threshold:
        return ()
    return (
        ("latency", evidence.latency_log_e, evidence.threshold),
        ("errors", evidence.error_log_e, evidence.error_threshold),
        ("split", evidence.split_log_e, evidence.split_threshold),
    )


def _drifts(evidence: Evidence) -> tuple[tuple[str, float], ...]:
    return (
        ("inputs", evidence.input_drift),
        ("predictions", evidence.prediction_drift),
        ("training", evidence.training_drift),
    )


def _facts(why: Explanation) -> list[tuple[str, float]]:
    found = {
        "log_e": why.log_e,
        "threshold": why.threshold,
        "quantile": why.quantile,
        "threshold_ms": why.threshold_ms,
        "stable_requests": why.stable_requests,
        "canary_requests": why.canary_requests,
        "stable_exceeded": why.stable_exceeded,
        "canary_exceeded": why.canary_exceeded,
        "stable_quantile_ms": why.stable_quantile_ms,
        "canary_quantile_ms": why.canary_quantile_ms,
        "window_s": why.window_s,
    }
    return [(name, float(value)) for name, value in found.items() if value is not None]
