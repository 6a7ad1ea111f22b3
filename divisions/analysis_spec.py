"""How a rollout is judged: the spec of its analysis, and what holds of its values wherever one is read. Pure."""

from __future__ import annotations

from typing import Final

import msgspec

GUARDS = ("latency", "errors", "predictions")
"""The guards that `AnalysisSpec.guards` may name. The last one works only if it is named."""


NOT_NEGATIVE: Final = (
    "tolerance",
    "tolerance_ms",
    "min_dwell_s",
    "max_dwell_s",
    "bake_s",
    "warmup_s",
    "warmup_requests",
    "deploy_deadline_s",
    "drain_s",
    "keep_stable_s",
    "shadow_s",
)
"""The fields of `AnalysisSpec` that may be any number from 0. Admission refuses others; the API's document says so."""


class AnalysisSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How a rollout is judged; ``deployment.analysis`` of the pipeline file. Reasons are in docs/rollouts.md.

    ``tolerance`` and ``tolerance_ms`` are the null hypothesis: at no quantile is the canary slower than stable by more
    than the share ``tolerance`` or by more than ``tolerance_ms``, whichever is more (see `router.evidence.tolerance`).
    ``min_samples`` are canary requests needed before a step may pass, one per step; the last one repeats.
    ``shadow_s`` is how long the canary answers copies of requests before the first step; ``on_inconclusive`` is what
    happens after ``max_dwell_s`` without a verdict: ``hold`` or ``rollback``.
    """

    tolerance: float = 0.104
    tolerance_ms: float = 0.2
    alpha: float = 0.01
    error_alpha: float = 0.005
    min_dwell_s: float = 60.0
    max_dwell_s: float = 600.0
    min_samples: tuple[int, ...] = (3000, 5500)
    bake_s: float = 300.0
    warmup_s: float = 60.0
    warmup_requests: int = 200
    holdback_bp: int = 300
    deploy_deadline_s: float = 180.0
    drain_s: float = 5.0
    keep_stable_s: float = 600.0
    guards: tuple[str, ...] = ("latency", "errors")
    shadow_s: float = 0.0
    on_inconclusive: str = "hold"
