import pytest
from hypothesis import given
from hypothesis import strategies as st

from divisions.errors import PipelineError
from divisions.pipeline.definition import Comparison, Gate
from divisions.pipeline.expressions import METRIC_MAXIMUM, nearest, parse_gate, parse_gates, parse_number


@pytest.mark.parametrize(
    ("text", "gate"),
    [
        ("auc > 0.85", Gate("auc", Comparison.GREATER, 0.85)),
        ("auc>=0.85", Gate("auc", Comparison.GREATER_EQUAL, 0.85)),
        ("  drift_score <  .15 ", Gate("drift_score", Comparison.LESS, 0.15)),
        ("calibration_error <= 1e-3", Gate("calibration_error", Comparison.LESS_EQUAL, 0.001)),
        ("ece < 0.05", Gate("calibration_error", Comparison.LESS, 0.05)),
        ("log_loss < 2.5E+1", Gate("log_loss", Comparison.LESS, 25.0)),
    ],
)
def test_a_gate_is_name_operator_number(text, gate):
    assert parse_gate(text) == gate


@pytest.mark.parametrize(
    "text",
    [
        "",
        "auc",
        "auc >",
        "> 0.85",
        "auc = 0.85",
        "auc == 0.85",
        "auc => 0.85",
        "auc > 0.85 0.9",
        "auc > nan",
        "auc < inf",
        "log_loss < 1e999",
        "auc > 0,85",
        "auc > 1_0",
        "auc > 0x1",
        "auc > ٠.٨",
        "auc > __import__('os')",
        "auc > 0.85; rm",
        "auc\n>",
        "a" * 5_000 + " > 1",
        "auc > 0." + "9" * 5_000,
    ],
)
def test_anything_else_is_refused(text):
    with pytest.raises(PipelineError) as caught:
        parse_gate(text)
    assert caught.value.remedy


@pytest.mark.parametrize("text", ["auc > 85", "auc > 1", "auc <= 1", "auc > -1", "auc >= 0", "drift_score < 0"])
def test_a_gate_that_decides_nothing_is_refused(text):
    with pytest.raises(PipelineError, match="always or never true"):
        parse_gate(text)


def test_an_unknown_metric_is_answered_with_the_nearest_known_one():
    with pytest.raises(PipelineError, match="did you mean recall"):
        parse_gate("recal > 0.5")
    with pytest.raises(PipelineError, match="did you mean auc"):
        parse_gate("AUC > 0.5")
    with pytest.raises(PipelineError, match="the metrics are auc"):
        parse_gate("zzz > 0.5")


@pytest.mark.parametrize("text", ["auc > 0.85, f1 > 0.5", "auc > 0.85 and f1 > 0.5", "auc > 0.85,f1 > 0.5"])
def test_gates_are_separated_by_commas_or_and(text):
    assert parse_gates(text) == (Gate("auc", Comparison.GREATER, 0.85), Gate("f1", Comparison.GREATER, 0.5))


@pytest.mark.parametrize("text", ["", ",", "auc > 0.85,", "and auc > 0.85", "auc > 0.85 or f1 > 0.5"])
def test_a_separator_needs_a_gate_on_both_sides(text):
    with pytest.raises(PipelineError):
        parse_gates(text)


@given(
    st.sampled_from(sorted(METRIC_MAXIMUM)),
    st.sampled_from(list(Comparison)),
    st.integers(1, 999_999).map(lambda millionths: millionths / 1_000_000),
)
def test_what_a_gate_prints_parses_to_itself(metric, comparison, threshold):
    gate = parse_gate(f"{metric} {comparison.value} {threshold}")
    assert gate == Gate(metric, comparison, threshold)
    assert parse_gate(str(gate)).threshold == pytest.approx(threshold, rel=1e-5)


@given(st.text())
def test_any_text_is_a_gate_or_a_pipeline_error(text):
    try:
        gates = parse_gates(text)
    except PipelineError:
        return
    assert all(gate.metric in METRIC_MAXIMUM for gate in gates)


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_numbers_are_read_as_python_reads_them(number):
    assert parse_number(repr(number)) == number


@pytest.mark.parametrize("text", ["", ".", "e5", "nan", "inf", "-Infinity", "1e", "1_0", " 1", "1e400"])
def test_what_is_no_finite_number_is_refused(text):
    with pytest.raises(ValueError, match=r"not a number|too large"):
        parse_number(text)


def test_nearest_ignores_case_and_gives_nothing_for_strangers():
    assert nearest("EPOCH", ["epochs", "seed"]) == "epochs"
    assert nearest("qqqq", ["epochs", "seed"]) is None


@pytest.mark.parametrize("metric", ["auc", "precision", "recall", "accuracy", "f1", "calibration_error"])
def test_a_share_lies_between_0_and_1(metric):
    assert parse_gate(f"{metric} >= 1").threshold == 1.0
    assert parse_gate(f"{metric} < 1").threshold == 1.0
    for always_or_never in ("> 1", "<= 1", ">= 1.001", "< 1.001", "< 0", ">= 0"):
        with pytest.raises(PipelineError, match=f"always or never true: {metric} lies between 0 and 1"):
            parse_gate(f"{metric} {always_or_never}")


@pytest.mark.parametrize("metric", ["log_loss", "drift_score"])
def test_a_loss_has_no_largest_value(metric):
    assert parse_gate(f"{metric} < 1000").threshold == 1_000.0
    with pytest.raises(PipelineError, match="always or never true"):
        parse_gate(f"{metric} >= 0")


SHARES = ("auc", "auc_lower_bound", "precision", "recall", "accuracy", "f1", "calibration_error")
UNBOUNDED = ("log_loss", "drift_score", "latency_p99_ms")


def test_every_metric_is_a_share_or_unbounded():
    assert sorted((*SHARES, *UNBOUNDED)) == sorted(METRIC_MAXIMUM)


@pytest.mark.parametrize("metric", SHARES)
def test_a_share_has_gates_from_0_to_1(metric):
    for text in ("> 0", "> 0.99", ">= 1", ">= 0.01", "<= 0", "<= 0.99", "< 1", "< 0.01"):
        assert parse_gate(f"{metric} {text}").metric == metric
    for text in ("> 1", ">= 1.01", ">= 0", "<= 1", "< 1.01", "< 0", "> 1.5", "> -0.01"):
        with pytest.raises(PipelineError, match="lies between 0 and 1"):
            parse_gate(f"{metric} {text}")


@pytest.mark.parametrize("metric", UNBOUNDED)
def test_a_metric_without_a_maximum_has_gates_from_0(metric):
    for text in ("> 0", "> 1", "> 1e6", ">= 0.01", "<= 0", "< 0.01", "< 1e6"):
        assert parse_gate(f"{metric} {text}").metric == metric
    for text in (">= 0", "< 0", "> -0.01"):
        with pytest.raises(PipelineError, match="is never below 0"):
            parse_gate(f"{metric} {text}")
