"""The analysis of one rollout: what it counts, what it leaves out, and what a restart keeps of it."""

import msgspec
import numpy as np
import pytest

from divisions.analysis_spec import AnalysisSpec
from divisions.reports import ArmSample, BreakerTrip, SplitReport
from router.evidence.histogram import count
from router.evidence.windows import VersionCounts
from router.rollouts.analysis import FRESH_S, RolloutAnalysis

SPEC = AnalysisSpec(warmup_s=0.0, warmup_requests=0, min_dwell_s=10.0)
REFERENCE = count(np.full(3_000, 0.002))
SALT = "salt"


def arm(requests, errors=0, latency_s=0.002):
    values_s = np.full(requests, latency_s)
    values_s[:errors] = np.inf
    return VersionCounts(requests, errors, count(values_s))


def begun(spec=SPEC, **step):
    analysis = RolloutAnalysis(spec)
    analysis.enter_step(0, 0, salt=SALT, weight_bp=2_000, **step)
    return analysis


def observe(analysis, ticks, canary=(100, 0), stable=(400, 0), latency_s=0.002):
    for tick in ticks:
        analysis.observe(tick, REFERENCE, arm(*stable), arm(*canary, latency_s=latency_s))


def test_requests_and_failures_of_both_arms_are_counted_and_explained():
    analysis = begun()
    observe(analysis, range(1, 11), canary=(100, 30), stable=(400, 4))
    evidence = analysis.evidence()
    assert (evidence.ticks, evidence.stable_requests, evidence.stable_errors) == (10, 4_000, 40)
    assert (evidence.canary_requests, evidence.canary_errors) == (1_000, 300)
    why = analysis.explain("errors")
    assert "300 of the canary's 1,000 requests failed (30.0%), against 40 of stable's 4,000 (1.0%)" in why.text
    assert (why.canary_exceeded, why.canary_requests) == (300, 1_000)
    assert (why.stable_exceeded, why.stable_requests) == (40, 4_000)
    assert why.log_e > why.threshold


def test_a_judgement_is_of_the_step_and_is_fresh_for_six_seconds():
    analysis = begun()
    observe(analysis, range(1, 5))
    analysis.enter_step(1, 8, salt=SALT, weight_bp=5_000)
    observe(analysis, range(5, 11))
    judgement = analysis.judgement(11.0)
    assert (judgement.step_index, judgement.step_requests, judgement.step_s) == (1, 300, 3.0)
    assert judgement.is_fresh
    assert FRESH_S == 6.0
    assert analysis.judgement(16.0).is_fresh
    assert not analysis.judgement(17.5).is_fresh


def test_nobody_misses_the_canary_before_every_gateway_has_its_weight():
    analysis = begun(AnalysisSpec(warmup_s=10.0, warmup_requests=100))
    observe(analysis, range(1, 4), canary=(0, 0))
    assert analysis.evidence().stable_requests == 1_200
    assert analysis.evidence().stable_applied == 0
    analysis.applied(5)
    observe(analysis, range(4, 7), canary=(0, 0))
    assert analysis.evidence().stable_applied == 800, "of the seconds 5 and 6"
    assert analysis.judgement(7.0).step_s == 0.0, "a canary without requests is never warm, so nothing is judged"
    analysis.enter_step(1, 8, salt=SALT, weight_bp=5_000)
    observe(analysis, range(7, 9), canary=(0, 0))
    assert analysis.evidence().stable_applied == 0


def test_the_warm_up_is_left_out_of_latency_but_not_of_errors():
    analysis = begun(msgspec.structs.replace(SPEC, warmup_s=20.0, warmup_requests=10_000))
    observe(analysis, range(1, 11), canary=(100, 50), latency_s=0.05)
    assert analysis.judgement(11.0).latency_ln_e == 0.0
    assert analysis.judgement(11.0).step_requests == 0
    assert analysis.judgement(11.0).error_ln_e > 5.3


@pytest.mark.parametrize(("guards", "latency", "errors"), [(("latency",), True, False), (("errors",), False, True)])
def test_only_the_guards_that_are_asked_for_gather_evidence(guards, latency, errors):
    analysis = begun(msgspec.structs.replace(SPEC, guards=guards))
    observe(analysis, range(1, 11), canary=(100, 40), latency_s=0.01)
    judgement = analysis.judgement(11.0)
    assert (judgement.latency_ln_e > 1.0, judgement.error_ln_e > 1.0) == (latency, errors)


def test_a_split_by_another_salt_or_weight_is_of_an_earlier_step():
    analysis = begun()
    for salt, weight_bp in (("old", 2_000), (SALT, 5_000), (SALT, 2_000)):
        sample = ArmSample(digests=(1, 2, 3))
        analysis.add_split(SplitReport(salt, weight_bp, 0, sample, ArmSample(digests=(4,))))
        expected = (3, 1) if (salt, weight_bp) == (SALT, 2_000) else (0, 0)
        evidence = analysis.evidence()
        assert (evidence.stable_customers, evidence.canary_customers) == expected


def test_a_trip_counts_once_and_only_for_its_own_salt():
    analysis = begun()
    trip = BreakerTrip("other", "m-v2", 15.0, 13.8, 100, 0, 25, 20)
    assert not analysis.trip(trip)
    assert not analysis.judgement(1.0).is_tripped
    assert analysis.trip(msgspec.structs.replace(trip, salt=SALT))
    assert analysis.judgement(1.0).is_tripped
    assert not analysis.trip(msgspec.structs.replace(trip, salt=SALT))
    assert "20 of the canary's 25 requests failed" in analysis.explain("breaker").text


def test_without_a_holdback_the_last_reference_is_kept_and_the_evidence_is_weaker():
    analysis = begun()
    observe(analysis, range(1, 4))
    analysis.enter_step(1, 4, salt=SALT, weight_bp=10_000, has_holdback=False)
    observe(analysis, range(4, 20), canary=(400, 0), stable=(0, 0), latency_s=0.01)
    assert analysis.evidence().is_frozen
    assert analysis.judgement(20.0).latency_ln_e > 4.6
    assert "weaker evidence" in analysis.explain("latency").text


def test_a_snapshot_brings_everything_back_but_customers_and_drift():
    analysis = begun()
    observe(analysis, range(1, 31), canary=(100, 3), latency_s=0.004)
    again = RolloutAnalysis(SPEC)
    again.restore(analysis.snapshot())
    again.resume_step(salt=SALT, weight_bp=2_000)
    assert again.snapshot() == msgspec.structs.replace(analysis.snapshot(), totals=again.evidence(), last_tick=0)
    before, after = analysis.evidence(), again.evidence()
    for name in ("latency_log_e", "error_log_e", "ticks", "stable_requests", "canary_requests", "canary_errors"):
        assert getattr(after, name) == getattr(before, name)
    assert after.canary_errors == 90
    assert again.judgement(31.0).step_requests == analysis.judgement(31.0).step_requests == 3_000


def test_without_a_name_the_guard_nearer_to_its_threshold_is_explained():
    slow, failing = begun(), begun(msgspec.structs.replace(SPEC, guards=("errors",)))
    observe(slow, range(1, 11), latency_s=0.02)
    observe(failing, range(1, 11), canary=(100, 30))
    assert (slow.explain().guard, failing.explain().guard) == ("latency", "errors")


def test_what_stable_did_before_the_rollout_outlives_a_restart():
    """It had all of the load then. A restarted controller knows no traffic, and the holdback's is no measure."""
    analysis = begun()
    observe(analysis, range(1, 4))
    again = RolloutAnalysis(SPEC)
    again.restore(analysis.snapshot())
    again.resume_step(salt=SALT, weight_bp=9_700)
    again.observe(10, np.zeros_like(REFERENCE), arm(12), arm(388))
    assert again.snapshot().before == analysis.snapshot().before == {268: 3_000}
