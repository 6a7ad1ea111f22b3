"""Validation gates: may this model serve? Pure.

A gate has three verdicts. *Unknown* means that the metric is missing or NaN, which is neither good nor bad. The key
``stages.validation.on_unknown`` decides. Without it, a drift that cannot be measured passes, with a warning, because
otherwise a pipeline with little data could never train a second version. A metric of the model itself refuses.
"""

from __future__ import annotations

import enum
import math
import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from divisions.pipeline.definition import DRIFT_GATE, GUESSING_GATE, Comparison, Gate, OnUnknown


class GateVerdict(enum.StrEnum):
    PASS = "pass"
    FAIL = "fail"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class GateResult:
    """``value`` is None if the verdict is unknown. ``is_refused`` says whether the model may not serve for it."""

    gate: Gate
    value: float | None
    verdict: GateVerdict
    is_refused: bool

    def __str__(self) -> str:
        if self.value is None:
            return f"{self.gate}: {self.gate.metric} is unknown"
        return f"{self.gate}: {self.gate.metric} is {self.value:.4g}"


_COMPARE: dict[Comparison, Callable[[float, float], bool]] = {
    Comparison.GREATER: operator.gt,
    Comparison.GREATER_EQUAL: operator.ge,
    Comparison.LESS: operator.lt,
    Comparison.LESS_EQUAL: operator.le,
}


def judge(
    gates: Sequence[Gate], metrics: Mapping[str, float], on_unknown: OnUnknown | None = None
) -> tuple[GateResult, ...]:
    """The result of every gate, in order."""
    return tuple(_judge_one(gate, metrics.get(gate.metric), on_unknown) for gate in gates)


def is_passed(results: Sequence[GateResult]) -> bool:
    """Whether no gate refuses; true without gates."""
    return not any(result.is_refused for result in results)


def _judge_one(gate: Gate, value: float | None, on_unknown: OnUnknown | None) -> GateResult:
    if value is None or math.isnan(value):
        return GateResult(gate, None, GateVerdict.UNKNOWN, _refuses_unknown(gate, on_unknown))
    is_met = _COMPARE[gate.comparison](value, gate.threshold)
    return GateResult(gate, value, GateVerdict.PASS if is_met else GateVerdict.FAIL, not is_met)


def _refuses_unknown(gate: Gate, on_unknown: OnUnknown | None) -> bool:
    if gate == GUESSING_GATE:
        return True
    if on_unknown is None:
        return gate.metric != DRIFT_GATE.metric
    return on_unknown is OnUnknown.REFUSE
