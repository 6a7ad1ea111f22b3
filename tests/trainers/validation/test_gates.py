import math

import pytest

from divisions.pipeline.definition import DRIFT_GATE, Comparison, Gate
from trainers.validation.gates import GateVerdict, is_passed, judge

AUC_GATE = Gate("auc", Comparison.GREATER, 0.85)


@pytest.mark.parametrize(
    ("comparison", "value", "verdict"),
    [
        (Comparison.GREATER, 0.85, GateVerdict.FAIL),
        (Comparison.GREATER, 0.8501, GateVerdict.PASS),
        (Comparison.GREATER_EQUAL, 0.85, GateVerdict.PASS),
        (Comparison.LESS, 0.85, GateVerdict.FAIL),
        (Comparison.LESS, 0.8499, GateVerdict.PASS),
        (Comparison.LESS_EQUAL, 0.85, GateVerdict.PASS),
        (Comparison.LESS_EQUAL, 0.8501, GateVerdict.FAIL),
    ],
)
def test_a_gate_compares_the_metric_with_its_threshold(comparison, value, verdict):
    (result,) = judge([Gate("auc", comparison, 0.85)], {"auc": value})
    assert result.verdict is verdict


@pytest.mark.parametrize("metrics", [{}, {"auc": math.nan}, {"acu": 0.9}])
@pytest.mark.parametrize("comparison", list(Comparison))
def test_a_metric_that_is_missing_or_nan_is_unknown_and_refuses(metrics, comparison):
    results = judge([Gate("auc", comparison, 0.85)], metrics)
    assert results[0].verdict is GateVerdict.UNKNOWN
    assert not is_passed(results)


def test_every_gate_must_pass():
    assert is_passed(judge([AUC_GATE, DRIFT_GATE], {"auc": 0.9, "drift_score": 0.1}))
    assert not is_passed(judge([AUC_GATE, DRIFT_GATE], {"auc": 0.9, "drift_score": 0.2}))
    assert not is_passed(judge([AUC_GATE, DRIFT_GATE], {"auc": 0.9}))


def test_a_refusal_names_metric_value_and_threshold():
    assert str(judge([AUC_GATE], {"auc": 0.8449})[0]) == "auc > 0.85: auc is 0.8449"
    assert str(judge([AUC_GATE], {})[0]) == "auc > 0.85: auc is unknown"
