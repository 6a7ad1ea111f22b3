"""Validation gates: may this model serve? Pure.

A gate has three verdicts. *Unknown* means that the metric is missing or NaN. It refuses, because a model without a
measurement must not serve.
"""

from __future__ import annotations

import enum
import math
import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from divisions.pipeline.definition import Comparison, Gate


class GateVerdict(enum.StrEnum):
    PASS = "pass"
    FAIL = "fail"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class GateResult:
    """``value`` is None if the verdict is unknown."""

    gate: Gate
    value: float | None
    verdict: GateVerdict

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


def judge(gates: Sequence[Gate], metrics: Mapping[str, float]) -> tuple[GateResult, ...]:
    """The result of every gate, in order."""
    return tuple(_judge_one(gate, metrics.get(gate.metric)) for gate in gates)


def is_passed(results: Sequence[GateResult]) -> bool:
    """Whether every gate passed; true without gates."""
    return all(result.verdict is GateVerdict.PASS for result in results)


def _judge_one(gate: Gate, value: float | None) -> GateResult:
    if value is None or math.isnan(value):
        return GateResult(gate, None, GateVerdict.UNKNOWN)
    is_met = _COMPARE[gate.comparison](value, gate.threshold)
    return GateResult(gate, value, GateVerdict.PASS if is_met else GateVerdict.FAIL)
