"""The tiles: unknown is None, and each version has its role and weight."""

from __future__ import annotations

import msgspec

from divisions.drift import DriftAlert, DriftSummary
from divisions.house import RolloutLine
from divisions.house_rows import RegistryTable
from divisions.inventory import PipelineState
from router.house.live import live
from router.house.traffic import Traffic
from tests.router.house.test_traffic import filled

LINE = RolloutLine("churn", "m", "STEP", 7, 0, (2_000, 10_000), 2_000, 2_000, "1", "2", "", "", 90.0, 95.0)


def test_nothing_is_known_of_a_house_that_has_just_begun():
    found = live(Traffic(), (), RegistryTable(), None, (), 5.0)
    known = {name: value for name, value in msgspec.structs.asdict(found).items() if value is not None}
    assert known == {"at_s": 5.0, "window_s": 0, "drift_alerts": 0, "drift_unknown": 0, "versions": ()}


def test_rates_are_over_the_seconds_that_are_known():
    found = live(filled(10, errors=1), (LINE,), RegistryTable(), (), (), 5.0)
    assert (found.window_s, found.requests, found.errors, found.requests_per_s) == (10, 100, 10, 10.0)
    assert found.latency_ms is not None
    stable, canary = found.versions
    assert (stable.version, stable.role, stable.weight_bp, stable.requests_per_s) == ("1", "stable", 8_000, 10.0)
    assert (stable.error_ratio, stable.p99_ms) == (0.1, None)
    assert (canary.version, canary.role, canary.weight_bp) == ("2", "canary", 2_000)
    assert (canary.requests, canary.error_ratio, canary.mean_ms) == (0, None, None)


def test_a_version_that_is_replaced_keeps_its_traffic_without_a_role():
    promoted = msgspec.structs.replace(LINE, phase="PROMOTED", stable_version="2", actual_weight_bp=10_000)
    now, before = live(filled(10), (promoted,), RegistryTable(), (), (), 5.0).versions
    assert (now.version, now.role, now.weight_bp) == ("2", "stable", 10_000)
    assert (before.version, before.role, before.weight_bp, before.requests) == ("1", "", 0, 100)
    back = msgspec.structs.replace(LINE, phase="ROLLED_BACK", actual_weight_bp=0)
    assert [each.version for each in live(filled(10), (back,), RegistryTable(), (), (), 5.0).versions] == ["1"]


def test_pipelines_versions_and_drift_are_counted():
    pipelines = (
        PipelineState("a", is_active=True, is_running=True, lag_s=0.0, has_failed=False),
        PipelineState("b", is_active=False, is_running=False, lag_s=7.0, has_failed=False, is_paused=True),
    )
    alert = DriftAlert("age", "1h", "training", 0.3, 0.2, 1.0)
    drift = (DriftSummary("churn", "1", "watching", 3, (alert, alert)), DriftSummary("fraud", "1", "warming", 0, ()))
    found = live(Traffic(), (), RegistryTable((), 2, 5, 1), pipelines, drift, 5.0)
    assert (found.active_pipelines, found.running_pipelines, found.scheduled_pipelines, found.late_pipelines) == (
        1, 1, 2, 1
    )  # fmt: skip
    assert found.paused_pipelines == 1
    assert (found.models, found.versions_total, found.pending_versions) == (2, 5, 1)
    assert (found.drift_alerts, found.drift_unknown) == (2, 1)
