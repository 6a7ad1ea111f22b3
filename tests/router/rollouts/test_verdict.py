"""What each guard's evidence means, at the edges of its thresholds."""

import math

import msgspec
import pytest

from divisions.analysis_spec import AnalysisSpec
from divisions.control import FULL_BP
from router.rollouts.states import SHADOW_STEP, Judgement, Policy, Timer
from router.rollouts.verdict import Verdict, failure, is_overdue, judge, needed, suspicion

ANALYSIS = AnalysisSpec(
    alpha=0.01,
    error_alpha=0.005,
    min_dwell_s=60,
    max_dwell_s=600,
    min_samples=(3_000, 5_500),
    bake_s=300,
    shadow_s=30,
)
POLICY = Policy((2_000, 5_000, FULL_BP), ANALYSIS)
WITH_PREDICTIONS = msgspec.structs.replace(ANALYSIS, guards=("latency", "errors", "predictions"))
PREDICTIONS = Policy((2_000, 5_000, FULL_BP), WITH_PREDICTIONS)
LATENCY = -math.log(0.01)
ERRORS = -math.log(0.005)
GOOD = Judgement(step_index=0, step_requests=3_000, step_s=60.0, is_fresh=True)
EARLY = Timer(0.0)
LATE = Timer(0.0, elapsed_s=600.0)


def verdict(policy=POLICY, timer=EARLY, index=0, is_baking=False, **changes):
    return judge(msgspec.structs.replace(GOOD, **changes), timer, index, policy, is_baking=is_baking)


def test_enough_of_everything_passes():
    assert verdict() is Verdict.PASS


@pytest.mark.parametrize(
    "change",
    [
        {"is_fresh": False},
        {"step_index": 1},
        {"step_s": 59.9},
        {"step_requests": 2_999},
        {"latency_ln_e": LATENCY / 2},
        {"error_ln_e": ERRORS / 2},
        {"latency_ln_e": math.nan},
        {"error_ln_e": math.nan},
        {"sample_ratio_ln_e": math.nan},
        {"input_drift": math.nan},
    ],
    ids=str,
)
def test_each_thing_that_is_missing_delays_a_pass_until_the_step_is_overdue(change):
    assert verdict(**change) is Verdict.WAIT
    assert verdict(timer=LATE, **change) is Verdict.INCONCLUSIVE


@pytest.mark.parametrize("change", [{"latency_ln_e": LATENCY / 2 - 1e-9}, {"error_ln_e": ERRORS / 2 - 1e-9}], ids=str)
def test_evidence_just_below_half_of_its_threshold_passes(change):
    assert verdict(**change) is Verdict.PASS


@pytest.mark.parametrize(
    ("change", "guard"),
    [({"latency_ln_e": LATENCY}, "latency"), ({"error_ln_e": ERRORS}, "errors"), ({"is_tripped": True}, "breaker")],
    ids=str,
)
def test_a_guard_at_its_threshold_fails_the_step(change, guard):
    assert verdict(**change) is Verdict.FAIL
    assert failure(msgspec.structs.replace(GOOD, **change), POLICY).startswith(f"{guard}: ")


@pytest.mark.parametrize("change", [{"latency_ln_e": LATENCY - 1e-9}, {"error_ln_e": ERRORS - 1e-9}], ids=str)
def test_a_guard_just_below_its_threshold_only_waits(change):
    assert verdict(**change) is Verdict.WAIT
    assert failure(msgspec.structs.replace(GOOD, **change), POLICY) == ""


@pytest.mark.parametrize(
    ("change", "guard"),
    [({"sample_ratio_ln_e": math.log(1_000)}, "split"), ({"input_drift": 0.15}, "inputs")],
    ids=str,
)
def test_a_broken_split_holds(change, guard):
    assert verdict(**change) is Verdict.HOLD
    assert suspicion(msgspec.structs.replace(GOOD, **change), POLICY).startswith(f"{guard}: ")
    just_below = {name: value - 1e-9 for name, value in change.items()}
    assert verdict(**just_below) is Verdict.PASS


@pytest.mark.parametrize(("drift", "expected"), [(0.199, "pass"), (0.2, "hold"), (0.249, "hold"), (0.25, "fail")])
def test_drift_of_predictions_acts_only_if_it_is_asked_for(drift, expected):
    assert verdict(PREDICTIONS, prediction_drift=drift).value == expected
    assert verdict(POLICY, prediction_drift=drift) is Verdict.PASS


def test_drift_of_predictions_that_is_not_a_number_passes_only_if_it_is_not_asked_for():
    assert verdict(PREDICTIONS, prediction_drift=math.nan) is Verdict.WAIT
    assert verdict(POLICY, prediction_drift=math.nan) is Verdict.PASS


def test_a_failure_counts_more_than_a_suspicion_and_errors_more_than_latency():
    assert verdict(error_ln_e=ERRORS, input_drift=1.0) is Verdict.FAIL
    both = msgspec.structs.replace(GOOD, error_ln_e=ERRORS, latency_ln_e=LATENCY)
    assert failure(both, POLICY).startswith("errors: ")
    assert failure(msgspec.structs.replace(both, is_tripped=True), POLICY).startswith("breaker: ")


@pytest.mark.parametrize(
    ("index", "is_baking", "expected"),
    [
        (SHADOW_STEP, False, (30, 300)),
        (0, False, (60, 3_000)),
        (1, False, (60, 5_500)),
        (2, True, (300, 5_500)),
    ],
)
def test_what_each_step_needs(index, is_baking, expected):
    """The last number of samples repeats; the shadow needs a tenth of the first step's."""
    assert needed(POLICY, index, is_baking) == expected


def test_without_minimum_samples_a_step_needs_none_and_a_shadow_one():
    policy = Policy((2_000, FULL_BP), msgspec.structs.replace(ANALYSIS, min_samples=()))
    assert needed(policy, 0, False) == (60, 0)
    assert needed(policy, SHADOW_STEP, False) == (30, 1)


@pytest.mark.parametrize(
    ("elapsed_s", "is_baking", "max_dwell_s", "expected"),
    [
        (599.9, False, 600, False),
        (600.0, False, 600, True),
        (100.0, True, 100, False),  # baking lasts at least bake_s, whatever the longest dwell
        (300.0, True, 100, True),
    ],
)
def test_a_step_is_overdue_after_its_longest_dwell_and_its_least(elapsed_s, is_baking, max_dwell_s, expected):
    policy = Policy((2_000, FULL_BP), msgspec.structs.replace(ANALYSIS, max_dwell_s=max_dwell_s))
    assert is_overdue(Timer(0.0, elapsed_s=elapsed_s), 0, policy, is_baking=is_baking) is expected
