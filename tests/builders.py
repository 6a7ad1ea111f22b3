"""Values that many tests need and few look at closely: whole by default, changed by keyword."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from benchmarks.harness.bench_bundle import Workload
from divisions.bundle import MANIFEST, ONNX, Manifest
from divisions.registry import Registry
from divisions.schema import Feature, FeatureKind, FeatureSchema
from divisions.status import Evidence, RolloutStatus
from divisions.versions import ValidationStatus

SHORT_ANALYSIS = """
    analysis:
      guards: [errors]
      min_dwell_s: 4
      min_samples: [60, 100]
      bake_s: 4
      warmup_s: 1
      warmup_requests: 20
      keep_stable_s: 5
"""
"""For a pipeline file whose rollouts are to end soon, on a machine whose latencies say nothing."""


def rollout_status(**changes: Any) -> RolloutStatus:
    """A rollout of 3.2 at its first step, beside 3.1; ``changes`` replace fields."""
    usual = RolloutStatus(
        endpoint="churn",
        model="churn-predictor",
        phase="STEP",
        generation=1,
        epoch=1,
        step_index=0,
        steps_bp=(2_000, 5_000, 10_000),
        set_weight_bp=2_000,
        actual_weight_bp=2_000,
        stable_version="3.1",
        canary_version="3.2",
        message="",
        rollback_reason="",
        evidence=Evidence(),
        canary_requests=0,
        started_at_s=0.0,
        phase_since_s=0.0,
    )
    return msgspec.structs.replace(usual, **changes)


def bundle_to_register(folder: Path) -> Path:
    """What the registry needs of a bundle; its graph is none."""
    folder.mkdir(exist_ok=True)
    schema = FeatureSchema((Feature("minutes", FeatureKind.NUMERIC),))
    (folder / MANIFEST).write_bytes(Manifest("churn-predictor", "p", "r", "", schema, {}, {}).to_json())
    (folder / ONNX).write_bytes(b"graph")
    return folder


def registry_of(workload: Workload, home: Path) -> Registry:
    """A registry with the workload's bundle as version 3.1 of ``bench-model``, in production."""
    registry = Registry(home)
    with registry.start_run("bench", "a run", {}) as run:
        registry.register(
            run,
            model="bench-model",
            major=3,
            bundle_path=workload.bundle,
            bundle_sha256=workload.bundle_sha256,
            metrics={},
            status=ValidationStatus.PASSED,
        )
    registry.set_production("bench-model", "3.1")
    return registry
