"""Specs at the edges of what makes sense. One that is refused names the field and the value."""

from __future__ import annotations

import math

import msgspec
import pytest

from divisions.analysis_spec import AnalysisSpec
from divisions.control import FULL_BP, Faults
from divisions.errors import FaultsRefusedError, MalformedRequestError
from router.rollouts.admission import MAX_REPLICAS, check, check_spec
from tests.router.rollout_world import spec, version

DURATIONS = [
    "tolerance",
    "tolerance_ms",
    "min_dwell_s",
    "max_dwell_s",
    "bake_s",
    "warmup_s",
    "drain_s",
    "keep_stable_s",
    "shadow_s",
]


def with_analysis(**changes):
    return spec("3.1", analysis=msgspec.structs.replace(AnalysisSpec(), **changes))


@pytest.mark.parametrize("steps_bp", [(1, FULL_BP), (FULL_BP,), (2_000, 2_001, FULL_BP)])
def test_steps_rise_from_the_smallest_weight_to_all(steps_bp):
    check_spec(spec("3.1", steps_bp=steps_bp))


@pytest.mark.parametrize(
    "steps_bp", [(), (0, FULL_BP), (-1, FULL_BP), (5_000, 5_000, FULL_BP), (5_000, 2_000, FULL_BP), (2_000,), (10_001,)]
)
def test_other_steps_are_refused_with_what_they_are(steps_bp):
    with pytest.raises(MalformedRequestError) as caught:
        check_spec(spec("3.1", steps_bp=steps_bp))
    assert f"steps must rise from above 0 to 10,000 bp, got {list(steps_bp)}" in str(caught.value)


@pytest.mark.parametrize("name", ["alpha", "error_alpha"])
def test_a_level_lies_between_0_and_1(name):
    for value in (1e-9, 0.5, 1 - 1e-9):
        check_spec(with_analysis(**{name: value}))
    for value in (0.0, 1.0, -0.1, math.nan):
        with pytest.raises(MalformedRequestError, match=f"analysis.{name} must lie between 0 and 1"):
            check_spec(with_analysis(**{name: value}))


@pytest.mark.parametrize("name", DURATIONS)
def test_a_number_is_finite_and_not_negative(name):
    check_spec(with_analysis(**{name: 0.0}))
    for value in (-1e-9, math.inf, math.nan):
        with pytest.raises(MalformedRequestError, match=f"analysis.{name} must be a number from 0"):
            check_spec(with_analysis(**{name: value}))


@pytest.mark.parametrize(("holdback_bp", "is_good"), [(0, True), (9_999, True), (-1, False), (10_000, False)])
def test_a_holdback_leaves_the_canary_something(holdback_bp, is_good):
    if is_good:
        check_spec(with_analysis(holdback_bp=holdback_bp))
        return
    with pytest.raises(MalformedRequestError, match=f"holdback_bp must be from 0 to 9,999, got {holdback_bp}"):
        check_spec(with_analysis(holdback_bp=holdback_bp))


@pytest.mark.parametrize(("replicas", "is_good"), [(1, True), (0, False)])
def test_a_version_has_at_least_one_replica(replicas, is_good):
    made = msgspec.structs.replace(spec("3.1"), version=version("3.1", replicas=replicas))
    if is_good:
        check_spec(made)
        return
    with pytest.raises(MalformedRequestError, match="at least one replica and at most 1,000, got 0"):
        check_spec(made)


def test_words_are_those_that_are_known():
    for policy in ("auto", "hold"):
        check_spec(spec("3.1", rollback_policy=policy))
    for choice in ("hold", "rollback"):
        check_spec(with_analysis(on_inconclusive=choice))
    check_spec(with_analysis(guards=("latency", "errors", "predictions")))
    for bad, message in (
        (spec("3.1", rollback_policy="never"), "rollback_policy must be auto or hold, got 'never'"),
        (with_analysis(on_inconclusive="pass"), "on_inconclusive must be hold or rollback, got 'pass'"),
        (with_analysis(guards=("latency", "zeal", "age")), "guards knows latency, errors, predictions, got age, zeal"),
    ):
        with pytest.raises(MalformedRequestError, match=message):
            check_spec(bad)


def test_faults_are_admitted_where_they_are_allowed_and_nowhere_else():
    faulty = msgspec.structs.replace(spec("3.1"), version=version("3.1", faults=Faults()))
    check(faulty, None, is_forced=False, allow_faults=True)
    with pytest.raises(FaultsRefusedError, match="DIVISIONS_ALLOW_FAULTS=1"):
        check(faulty, None, is_forced=False, allow_faults=False)


def test_a_version_has_as_many_replicas_as_the_limit_at_most():
    for replicas in (1, MAX_REPLICAS):
        check_spec(msgspec.structs.replace(spec("3.1"), version=version("3.1", replicas=replicas)))
    for replicas in (0, MAX_REPLICAS + 1):
        with pytest.raises(MalformedRequestError, match=f"at most {MAX_REPLICAS:,}, got {replicas}"):
            check_spec(msgspec.structs.replace(spec("3.1"), version=version("3.1", replicas=replicas)))
