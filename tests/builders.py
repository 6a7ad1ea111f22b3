"""Values that many tests need and few look at closely: whole by default, changed by keyword."""

from __future__ import annotations

from typing import Any

import msgspec

from divisions.control import Evidence, RolloutStatus


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
