"""The key ``stages.validation.decision``: by which rule a probability becomes yes or no."""

from __future__ import annotations

from divisions.errors import PipelineError
from divisions.pipeline.definition import AtLeast, Comparison, Cost, DecisionRule, FixedThreshold, MaxF1
from divisions.pipeline.expressions import parse_gate
from divisions.pipeline.yaml_nodes import Node, Scalar
from divisions.pipeline.yaml_sections import Section, number, text

_EXAMPLE = (
    "write max_f1, 'precision >= 0.8', 'recall >= 0.8', 'cost: {fp: 1, fn: 5}' below it, or a threshold such as 0.5"
)
_THRESHOLD = number(0, 1, is_low_open=True)
_COST = number(0, 1e9, is_low_open=True)


def decision(section: Section) -> DecisionRule:
    """Reads the key of section ``validation``."""
    if not section.has_section("decision"):
        default: DecisionRule = MaxF1()
        return section.take("decision", _rule, default)
    with section.section("decision") as outer, outer.section("cost", is_required=True) as cost:
        return Cost(fp=cost.require("fp", _COST, 1.0), fn=cost.require("fn", _COST, 1.0))


def _rule(node: Node) -> DecisionRule:
    if isinstance(node, Scalar) and node.is_plain and node.text[:1] in set("0123456789.+-"):
        return FixedThreshold(_THRESHOLD(node))
    given = text(node).strip()
    if given == MaxF1.NAME:
        return MaxF1()
    try:
        gate = parse_gate(given)
    except PipelineError as error:
        if "always or never" in error.message:
            raise
        raise PipelineError(f"{given[:60]!r} is no rule", remedy=_EXAMPLE) from None
    if gate.metric not in {"precision", "recall"} or gate.comparison is not Comparison.GREATER_EQUAL:
        raise PipelineError(f"'{gate}' is no rule", remedy=_EXAMPLE)
    return AtLeast(gate.metric, gate.threshold)
