"""What admission asks of the values of a rollout's fields, as JSON schemas. `router.rollouts.admission` has the rules.

They are not in the structs: the journal and older releases may hold other values, which must still be read.
"""

from __future__ import annotations

from typing import Any, Final

from divisions.analysis_spec import GUARDS, NOT_NEGATIVE
from divisions.control import FULL_BP
from divisions.names import LABEL_PATTERN
from divisions.promotion import MOST_APPROVALS, MOST_WINDOWS, REQUIREMENTS, TIME_PATTERN
from divisions.scaling import MAX_REPLICAS, MAX_SCALE_DOWN_S
from router.openapi.document import Limits
from router.openapi.operation import NAME_SCHEMA

_NOT_NEGATIVE: Final[dict[str, Any]] = {"minimum": 0}
_SHARE: Final[dict[str, Any]] = {"exclusiveMinimum": 0, "exclusiveMaximum": 1}
_COUNT: Final[dict[str, Any]] = {"minimum": 1, "maximum": MAX_REPLICAS}
_LABEL: Final[dict[str, Any]] = {"pattern": f"^{LABEL_PATTERN}$"}
_PREFIXES: Final[dict[str, Any]] = {"maxItems": MOST_WINDOWS, "items": {"type": "string", "pattern": "^[!-~]{1,300}$"}}
_STEP: Final[dict[str, Any]] = {"type": "integer", "minimum": 1, "maximum": FULL_BP}

LIMITS: Final[Limits] = {
    "RolloutSpec": {
        "endpoint": NAME_SCHEMA,
        "steps_bp": {
            "minItems": 1,
            "items": _STEP,
            "description": "Rising, from above 0; the last one is 10000.",
        },
        "rollback_policy": {"enum": ["auto", "hold"]},
    },
    "PromotionPolicy": {
        "environment": {"pattern": r"^(?:[a-z0-9](?:\.?[a-z0-9_-])*\.?)?$", "maxLength": 64},
        "approvals": {"minimum": 0, "maximum": MOST_APPROVALS},
        "require": {"items": {"enum": list(REQUIREMENTS)}},
        "freeze": {"maxItems": MOST_WINDOWS},
        "registries": _PREFIXES,
        "images": _PREFIXES,
    },
    "FreezeWindow": {
        "start": {"pattern": TIME_PATTERN, "description": "Of every week, or a date; `end` is written alike."},
        "end": {"pattern": TIME_PATTERN},
    },
    "VersionSpec": {
        "model": _LABEL,
        "version": _LABEL,
        "replicas": _COUNT,
        "num_cpus": _NOT_NEGATIVE,
        "num_gpus": _NOT_NEGATIVE,
        "registry_version": _NOT_NEGATIVE,
        "max_batch": {"minimum": 1},
        "vram_gb": {"exclusiveMinimum": 0},
    },
    "Scaling": {
        "min": _COUNT,
        "max": _COUNT,
        "target_utilization": {"exclusiveMinimum": 0, "maximum": 1},
        "scale_down_after_s": {"exclusiveMinimum": 0, "maximum": MAX_SCALE_DOWN_S},
    },
    "AnalysisSpec": {
        "alpha": _SHARE,
        "error_alpha": _SHARE,
        **dict.fromkeys(NOT_NEGATIVE, _NOT_NEGATIVE),
        "min_samples": {"minItems": 1, "items": {"type": "integer", "minimum": 0}},
        "holdback_bp": {"minimum": 0, "exclusiveMaximum": FULL_BP},
        "guards": {"items": {"enum": list(GUARDS)}},
        "on_inconclusive": {"enum": ["hold", "rollback"]},
    },
}
