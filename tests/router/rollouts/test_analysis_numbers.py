"""The numbers of an analysis: rates, windows, what is told and explained, and what a snapshot has."""

from __future__ import annotations

import math

import msgspec
import numpy as np
import pytest

from divisions.analysis_spec import AnalysisSpec
from divisions.control import FULL_BP
from divisions.reports import ArmSample, BreakerTrip, SplitReport
from router.evidence import sample_ratio
from router.evidence.detectable import min_detectable_ratio
from router.evidence.error_evidence import ErrorEvidence
from router.evidence.histogram import empty
from router.evidence.tolerance import tolerance_of
from router.evidence.windows import VersionCounts
from router.rollouts.analysis import FRESH_S, RolloutAnalysis

SPEC = AnalysisSpec(warmup_s=0, warmup_requests=0, alpha=0.02, error_alpha=0.01, min_dwell_s=45)


def counted(requests: int, errors: int = 0, bucket: int = 200) -> VersionCounts:
    made = VersionCounts(requests, errors, empty())
    made.counts[bucket] = requests
    return made


def spread(requests: int) -> VersionCounts:
    made = VersionCounts(requests, 0, empty())
    for number in range(10):
        made.counts[150 + 10 * number] = requests // 10
    return made


def begun(weight_bp: int = 2_000, **changes) -> RolloutAnalysis:
    analysis = RolloutAnalysis(SPEC)
    analysis.enter_step(3, 0, salt="salt", weight_bp=weight_bp, **changes)
    return analysis


def observe(analysis, ticks, stable=None, canary=None, reference=None, **kinds) -> None:
    for tick in ticks:
        analysis.observe(
            tick,
            spread(3_000).counts if reference is None else reference,
            spread(80) if stable is None else stable,
            spread(20) if canary is None else canary,
            **kinds,
        )


def test_thresholds_are_those_of_the_levels():
    evidence = begun().evidence()
    assert evidence.threshold == pytest.approx(-math.log(0.02))
    assert evidence.error_threshold == pytest.approx(-math.log(0.01))
    assert evidence.split_threshold == pytest.approx(math.log(1_000))


def test_errors_are_evidence_by_both_arms_counts():
    analysis, expected = begun(), ErrorEvidence()
    for _ in range(9):
        observe(analysis, [1], counted(80, 2), counted(20, 3))
        expected.update(80, 2, 20, 3)
    assert analysis.judgement(1.0).error_ln_e == pytest.approx(expected.ln_e())


def test_alone_a_canary_is_compared_with_stables_rate_so_far():
    analysis, expected = begun(FULL_BP, has_holdback=False), ErrorEvidence()
    observe(analysis, range(2), counted(100, 4), counted(20, 1))
    for _ in range(2):
        expected.update(100, 4, 20, 1)
    observe(analysis, range(2, 9), VersionCounts(), counted(50, 5), reference=empty())
    for _ in range(7):
        expected.update_frozen((8 + 1) / (200 + 100), 50, 5)
    assert analysis.judgement(9.0).error_ln_e == pytest.approx(expected.ln_e())


def test_what_can_be_detected_follows_from_the_traffic_of_the_last_thirty_seconds():
    analysis = begun()
    assert analysis.evidence().min_detectable is None
    observe(analysis, range(100, 150))
    told = analysis.evidence().min_detectable
    expected = min_detectable_ratio(
        spread(3_000).counts, 80, 20, tolerance_of(SPEC.tolerance, SPEC.tolerance_ms).once, -math.log(0.02), 45
    )
    assert told == expected is not None


def test_the_split_is_judged_by_distinct_customers_and_the_weight():
    analysis = begun()
    analysis.add_split(SplitReport("salt", 2_000, 0, ArmSample(tuple(range(30))), ArmSample(tuple(range(100, 170)))))
    expected = sample_ratio.ln_e(30, 70, 2_000)
    assert analysis.judgement(0.0).sample_ratio_ln_e == pytest.approx(expected)
    assert analysis.evidence().split_log_e == pytest.approx(expected)
    analysis.enter_step(4, 0, salt="salt", weight_bp=5_000)
    assert analysis.judgement(0.0).sample_ratio_ln_e == 0.0


@pytest.mark.parametrize(("late_s", "is_fresh"), [(FRESH_S, True), (FRESH_S + 0.01, False)])
def test_a_judgement_is_of_the_last_tick(late_s, is_fresh):
    analysis = begun()
    assert not analysis.judgement(0.0).is_fresh
    observe(analysis, [100, 101])
    judgement = analysis.judgement(101 + late_s)
    assert judgement.is_fresh is is_fresh
    assert (judgement.step_index, judgement.step_requests, judgement.step_s) == (3, 40, 2.0)


def test_an_explanation_has_the_counts_of_the_window():
    analysis = begun()
    observe(analysis, range(100, 140))
    told = analysis.explain("latency")
    assert (told.stable_requests, told.canary_requests, told.window_s) == (30 * 80, 30 * 20, 30.0)
    assert analysis.explain("errors").window_s == 40.0
    assert analysis.explain("breaker", "why").guard == "undecided", "no breaker has tripped"
    assert analysis.trip(BreakerTrip("salt", "m-v2", 14.0, 13.8, 80, 0, 20, 20))
    assert analysis.explain("breaker").guard == "breaker"
    assert analysis.judgement(140.0).is_tripped
    for guard in ("split", "inputs", "predictions", "undecided"):
        assert analysis.explain(guard, "why").guard == guard


def test_the_reference_before_the_rollout_is_that_of_its_first_tick():
    analysis = begun()
    observe(analysis, [100], reference=counted(1_000, bucket=111).counts)
    observe(analysis, [101], reference=counted(2_000, bucket=222).counts)
    snapshot = analysis.snapshot()
    assert snapshot.before == {111: 1_000}
    assert snapshot.stable == {222: 2_000}
    assert (snapshot.last_tick, snapshot.step_index, snapshot.step_ticks, snapshot.step_requests) == (101, 3, 2, 40)


@pytest.mark.parametrize(("reference", "stable", "is_taken"), [(20, 1, True), (19, 1, False), (20, 0, False)])
def test_without_a_holdback_only_a_good_reference_is_kept(reference, stable, is_taken):
    analysis = begun(FULL_BP, has_holdback=False)
    observe(analysis, [100], reference=counted(500, bucket=111).counts)
    observe(analysis, [101], counted(stable), reference=counted(reference, bucket=222).counts)
    assert analysis.snapshot().stable == ({222: reference} if is_taken else {111: 500})


def test_what_a_snapshot_brings_back():
    analysis = begun()
    observe(analysis, range(100, 130), correlations=np.full(6, 0.25))
    snapshot = msgspec.msgpack.decode(msgspec.msgpack.encode(analysis.snapshot()), type=type(analysis.snapshot()))
    again = RolloutAnalysis(SPEC)
    again.restore(snapshot)
    again.resume_step(salt="salt", weight_bp=2_000)
    assert again.snapshot().correlations == (0.25,) * 6
    for name in ("latency_log_e", "error_log_e", "ticks", "stable_requests", "canary_requests", "is_frozen"):
        assert getattr(again.evidence(), name) == getattr(analysis.evidence(), name)
    assert not again.judgement(130.0).is_fresh, "no tick has come since"
    observe(again, [131], reference=counted(2_000, bucket=222).counts)
    assert again.snapshot().before == snapshot.before
    assert again.judgement(131.0).step_s == 31.0
    observe(again, [132], correlations=np.full(6, 0.5))
    assert again.snapshot().correlations == (0.5,) * 6, "the larger of both"
