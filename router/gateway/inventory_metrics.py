"""Metrics of what a cluster has beside its rollouts, from the controller's inventory. Pure.

The controller gathers it in the background (`router.control.inventory_keeper`), so a scrape waits for no registry.
"""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.core import GaugeMetricFamily, Metric

from divisions.inventory import Inventory, LiveAuc, PipelineState

DEPENDENCIES = ("registry", "artifacts")


def families(inventory: Inventory, *, journal_works: bool, policy_works: bool = True) -> Iterator[Metric]:
    versions = GaugeMetricFamily(
        "divisions_registry_versions", "Versions in the registry by state", labels=["model", "state"]
    )
    for version in inventory.versions:
        versions.add_metric([version.model, version.state], version.count)
    runs = GaugeMetricFamily("divisions_runs", "Training runs by status", labels=["pipeline", "status"])
    for run in inventory.runs:
        runs.add_metric([run.pipeline, run.status.lower()], run.count)
    yield from (versions, runs)
    yield from _pipelines(inventory.pipelines)
    features = GaugeMetricFamily(
        "divisions_features_newest_timestamp_seconds", "Newest event time of stored features", labels=["endpoint"]
    )
    for stored in inventory.features:
        features.add_metric([stored.endpoint], stored.newest_s)
    yield features
    yield GaugeMetricFamily("divisions_plan_cache_plans", "Compiled engines on the controller's disk", inventory.plans)
    yield GaugeMetricFamily("divisions_plan_cache_bytes", "Their size", inventory.plan_bytes)
    gpus = GaugeMetricFamily("divisions_gpus", "GPUs of a node", labels=["node"])
    booked = GaugeMetricFamily("divisions_gpus_booked", "GPUs of a node that are given to somebody", labels=["node"])
    for node in inventory.gpus:
        gpus.add_metric([node.node], node.gpus)
        booked.add_metric([node.node], node.booked)
    yield from (gpus, booked)
    yield from _live_aucs(inventory.live_aucs)
    reachable = GaugeMetricFamily(
        "divisions_dependency_reachable", "Whether the controller reaches it", labels=["dependency"]
    )
    reachable.add_metric(["journal"], float(journal_works))
    reachable.add_metric(["policy"], float(policy_works))
    for name in DEPENDENCIES:
        reachable.add_metric([name], float(name not in inventory.unreachable))
    yield reachable


def _live_aucs(aucs: tuple[LiveAuc, ...]) -> Iterator[Metric]:
    labels = ["endpoint", "version"]
    area = GaugeMetricFamily("divisions_live_auc", "AUC on customers whose outcome is known", labels=[*labels, "bound"])
    error = GaugeMetricFamily("divisions_live_calibration_error", "Likewise, of the scores", labels=labels)
    outcomes = GaugeMetricFamily("divisions_live_outcomes", "How many these are", labels=labels)
    below = GaugeMetricFamily("divisions_live_auc_below_gate", "1 while the AUC is below its gate", labels=labels)
    for each in aucs:
        values = [each.endpoint, each.version]
        for bound, value in (("estimate", each.auc), ("lower", each.lower), ("upper", each.upper)):
            area.add_metric([*values, bound], value)
        error.add_metric(values, each.calibration_error)
        outcomes.add_metric(values, each.outcomes)
        below.add_metric(values, float(each.is_below_gate))
    yield from (area, error, outcomes, below)


def _pipelines(pipelines: tuple[PipelineState, ...]) -> Iterator[Metric]:
    yield GaugeMetricFamily(
        "divisions_pipelines_active", "Pipelines that run by their trigger", sum(each.is_active for each in pipelines)
    )
    running = GaugeMetricFamily(
        "divisions_pipeline_running", "1 while its scheduled run is at work", labels=["pipeline"]
    )
    failed = GaugeMetricFamily("divisions_pipeline_last_failed", "1 if its last run failed", labels=["pipeline"])
    lag = GaugeMetricFamily("divisions_schedule_lag_seconds", "Since its next run is overdue", labels=["pipeline"])
    for each in pipelines:
        running.add_metric([each.pipeline], each.is_running)
        failed.add_metric([each.pipeline], each.has_failed)
        lag.add_metric([each.pipeline], each.lag_s)
    yield from (running, failed, lag)
