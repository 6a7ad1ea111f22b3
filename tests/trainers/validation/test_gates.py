import math

import pytest

from divisions.pipeline.definition import DRIFT_GATE, GUESSING_GATE, Comparison, Gate, OnUnknown
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
    assert not is_passed(judge([AUC_GATE, DRIFT_GATE], {"auc": 0.8, "drift_score": 0.1}))


@pytest.mark.parametrize(
    ("on_unknown", "unknown", "passes"),
    [
        (None, "drift_score", True),
        (None, "precision", False),
        (OnUnknown.PASS, "drift_score", True),
        (OnUnknown.PASS, "precision", True),
        (OnUnknown.REFUSE, "drift_score", False),
        (OnUnknown.REFUSE, "precision", False),
        (OnUnknown.PASS, "auc_lower_bound", False),
    ],
)
def test_the_key_decides_about_a_metric_that_is_unknown(on_unknown, unknown, passes):
    gates = [GUESSING_GATE, AUC_GATE, DRIFT_GATE, Gate("precision", Comparison.GREATER, 0.5)]
    metrics = {"auc_lower_bound": 0.8, "auc": 0.9, "drift_score": 0.1, "precision": 0.7}
    assert is_passed(judge(gates, metrics, on_unknown))
    for absent in ({unknown: math.nan}, {}):
        known = {name: value for name, value in metrics.items() if name != unknown}
        assert is_passed(judge(gates, known | absent, on_unknown)) is passes
    # A key for the unknown never lets through what is known to be bad.
    assert not is_passed(judge(gates, known | {"auc": 0.1}, OnUnknown.PASS))


def test_a_refusal_names_metric_value_and_threshold():
    assert str(judge([AUC_GATE], {"auc": 0.8449})[0]) == "auc > 0.85: auc is 0.8449"
    assert str(judge([AUC_GATE], {})[0]) == "auc > 0.85: auc is unknown"
