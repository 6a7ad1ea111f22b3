"""The key ``stages.validation.decision``: its forms, and errors with line and column."""

from __future__ import annotations

import pytest

from divisions.errors import PipelineError
from divisions.pipeline.definition import CHALLENGER_GATE, AtLeast, Cost, FixedThreshold, MaxF1
from divisions.pipeline.file import parse_pipeline

FILE = """pipeline: churn
stages:
  data_prep:
    input: data
  validation:
    {}
  deployment:
    endpoint: /api/v2/predict/churn
"""


@pytest.mark.parametrize(
    ("line", "rule"),
    [
        ("rollback_policy: auto", MaxF1()),
        ("decision: max_f1", MaxF1()),
        ("decision: precision >= 0.8", AtLeast("precision", 0.8)),
        ('decision: "recall>=.75"', AtLeast("recall", 0.75)),
        ("decision: {cost: {fp: 1, fn: 5}}", Cost(1.0, 5.0)),
        ("decision:\n      cost: {fn: 2.5, fp: 1}", Cost(1.0, 2.5)),
        ("decision: 0.5", FixedThreshold(0.5)),
    ],
)
def test_every_form_is_read(line, rule):
    found = parse_pipeline(FILE.format(line)).validation.decision
    assert found == rule
    assert type(found) is type(rule)


@pytest.mark.parametrize(
    ("line", "column", "message"),
    [
        ("decision: best", 15, "'best' is no rule"),
        ("decision: precision > 0.8", 15, "'precision > 0.8' is no rule"),
        ("decision: precision <= 0.8", 15, "is no rule"),
        ("decision: auc >= 0.8", 15, "'auc >= 0.8' is no rule"),
        ("decision: precision >= 80", 15, "always or never true"),
        ("decision: 1.5", 15, "must be a number above 0 to 1, got 1.5"),
        ("decision: 0", 15, "must be a number above 0 to 1, got 0"),
        ("decision:", 5, "nothing"),
        ("decision: [max_f1]", 15, "must be text, got a list"),
        ("decision: {}", 15, "'cost' is missing"),
        ("decision: {price: 1}", 16, "unknown key 'price'"),
        ("decision: {cost: {fp: 1}}", 22, "'fn' is missing"),
        ("decision: {cost: {fp: -1, fn: 5}}", 27, "must be a number above 0"),
        ("decision: {cost: {fp: 1, fn: 5, tp: 1}}", 37, "unknown key 'tp'"),
        ("decision: {cost: 5}", 22, "must be a section"),
    ],
)
def test_errors_have_a_place_and_a_remedy(line, column, message):
    with pytest.raises(PipelineError) as caught:
        parse_pipeline(FILE.format(line))
    errors = [caught.value, *caught.value.others]
    assert any(message in error.message for error in errors), [str(error) for error in errors]
    (error,) = [error for error in errors if message in error.message]
    assert error.remedy
    assert (error.line, error.column) == (6, column) or message == "nothing"


@pytest.mark.parametrize(
    ("rule", "text"),
    [
        (MaxF1(), "max_f1"),
        (AtLeast("recall", 0.8), "recall >= 0.8"),
        (Cost(1.0, 5.0), "cost: {fp: 1, fn: 5}"),
        (FixedThreshold(0.5), "0.5"),
    ],
)
def test_rules_are_shown_as_they_are_written(rule, text):
    assert str(rule) == text


def test_a_challenger_may_be_asked_not_to_be_worse():
    assert CHALLENGER_GATE in parse_pipeline(FILE.format("challenger: not_worse")).validation.gates
    assert CHALLENGER_GATE not in parse_pipeline(FILE.format("decision: 0.5")).validation.gates
    with pytest.raises(PipelineError, match=r":?6:17: .*challenger: must be 'not_worse', got 'better'"):
        parse_pipeline(FILE.format("challenger: better"), "f.yaml")
