"""By which rules one rollout's analysis compares arms, and when it counts anew. `test_analysis` has the rest."""

import msgspec
import numpy as np
import pytest

from divisions.analysis_spec import AnalysisSpec
from divisions.control import FULL_BP
from divisions.reports import ArmSample, BreakerTrip, SplitReport, VersionReport
from router.evidence.histogram import count, empty
from router.evidence.windows import VersionCounts
from router.rollouts.analysis import FRESH_S, RolloutAnalysis
from router.rollouts.verdict import SAMPLE_RATIO_LN_E

SPEC = AnalysisSpec(warmup_s=2, warmup_requests=10)
NONE = VersionCounts()


def counts(requests, errors=0, latency_s=0.001):
    values_s = np.full(requests, latency_s)
    values_s[:errors] = np.inf
    return VersionCounts(requests, errors, count(values_s))


def analysis(weight_bp=2_000, spec=SPEC, **changes):
    begun = RolloutAnalysis(spec)
    begun.enter_step(0, 0, salt="salt", weight_bp=weight_bp, **changes)
    return begun


def observe(begun, ticks, stable=None, canary=None, reference=None):
    for tick in ticks:
        begun.observe(
            tick,
            counts(3_000).counts if reference is None else reference,
            counts(80) if stable is None else stable,
            counts(20) if canary is None else canary,
        )


def test_it_begins_with_nothing():
    judgement = RolloutAnalysis(SPEC).judgement(0.0)
    assert judgement == msgspec.structs.replace(
        judgement, step_index=0, step_requests=0, step_s=0.0, is_fresh=False, is_tripped=False
    )
    evidence = RolloutAnalysis(SPEC).evidence()
    assert (evidence.ticks, evidence.stable_requests, evidence.canary_requests) == (0, 0, 0)
    assert (evidence.stable_errors, evidence.canary_errors, evidence.is_frozen) == (0, 0, False)
    assert (evidence.latency_log_e, evidence.error_log_e) == (0.0, 0.0)


def test_requests_and_errors_of_both_arms_add_up_from_the_first_second():
    begun = analysis()
    observe(begun, range(5), stable=counts(80, 1), canary=counts(20, 2))
    evidence = begun.evidence()
    assert (evidence.ticks, evidence.stable_requests, evidence.canary_requests) == (5, 400, 100)
    assert (evidence.stable_errors, evidence.canary_errors) == (5, 10)


def test_a_step_counts_judged_seconds_only():
    begun = analysis()
    observe(begun, range(5))
    judgement = begun.judgement(5.0)
    assert (judgement.step_requests, judgement.step_s) == (80, 4.0), "ten requests are warm-up: the first second is out"
    begun.enter_step(1, 7, salt="salt", weight_bp=5_000)
    assert (begun.judgement(6.0).step_index, begun.judgement(6.0).step_requests) == (1, 0)
    observe(begun, range(5, 9))
    judgement = begun.judgement(9.0)
    assert (judgement.step_requests, judgement.step_s) == (40, 2.0), "seconds before the step's first do not count"


def test_a_judgement_is_fresh_for_some_seconds():
    begun = analysis()
    observe(begun, [10])
    assert begun.judgement(10 + FRESH_S).is_fresh
    assert not begun.judgement(10 + FRESH_S + 0.1).is_fresh


@pytest.mark.parametrize(
    ("weight_bp", "rule"), [(2_000, "update"), (7_500, "update"), (7_501, "update_unlike"), (9_700, "update_unlike")]
)
def test_from_three_times_stables_load_on_arms_are_compared_as_unlike(monkeypatch, weight_bp, rule):
    begun = analysis(weight_bp)
    used = []
    for name in ("update", "update_unlike", "update_frozen"):
        monkeypatch.setattr(begun._latency, name, lambda *arguments, name=name: used.append(name))
    observe(begun, range(3))
    assert set(used) == {rule}


def test_without_a_holdback_the_canary_is_compared_with_what_stable_did_last():
    begun = analysis(FULL_BP, has_holdback=False)
    observe(begun, range(3), stable=counts(80))
    observe(begun, range(3, 20), stable=NONE, canary=counts(100, latency_s=0.002), reference=empty())
    evidence = begun.evidence()
    assert evidence.is_frozen
    assert evidence.latency_log_e > evidence.threshold
    assert begun.explain().stable_requests == 3_000


def test_failures_of_a_canary_alone_count_against_stables_rate():
    begun = analysis(FULL_BP, has_holdback=False)
    observe(begun, range(3), stable=counts(80))
    observe(begun, range(3, 23), stable=NONE, canary=counts(100, 50), reference=empty())
    assert begun.evidence().error_log_e > begun.evidence().error_threshold


def test_only_the_guards_that_are_named_gather_evidence():
    slow = counts(20, 10, latency_s=0.5)
    only_errors = analysis(spec=msgspec.structs.replace(SPEC, guards=("errors",)))
    only_latency = analysis(spec=msgspec.structs.replace(SPEC, guards=("latency",)))
    for begun in (only_errors, only_latency):
        observe(begun, range(20), canary=slow)
    assert (only_errors.evidence().latency_log_e, only_latency.evidence().error_log_e) == (0.0, 0.0)
    assert only_errors.evidence().error_log_e > 5
    assert only_latency.evidence().latency_log_e > 4


def split(salt="salt", weight_bp=2_000, stable=(), canary=(), level=0):
    return SplitReport(salt, weight_bp, level, ArmSample(tuple(stable)), ArmSample(tuple(canary)))


def test_customers_are_counted_by_arm_for_the_present_salt_and_weight():
    begun = analysis()
    begun.add_split(split(stable=[1, 2, 3], canary=[4]))
    begun.add_split(split("other", stable=[5, 6]))
    begun.add_split(split(weight_bp=5_000, stable=[7]))
    begun.add_split(split(stable=[1], canary=[8]))
    evidence = begun.evidence()
    assert (evidence.stable_customers, evidence.canary_customers) == (3, 2)
    begun.enter_step(1, 0, salt="salt", weight_bp=5_000)
    assert begun.evidence().stable_customers == 0, "a step counts anew"


def test_a_gateway_that_counts_a_smaller_part_makes_it_the_part_of_all():
    begun = analysis()
    begun.add_split(split(stable=[4, 5, 6, 8]))
    begun.add_split(split(level=2))
    assert begun.evidence().stable_customers == 2


def test_a_split_that_misses_the_canary_shows():
    begun = analysis()
    begun.add_split(split(stable=range(2_000)))
    assert begun.judgement(0.0).sample_ratio_ln_e > SAMPLE_RATIO_LN_E
    assert begun.explain("split").guard == "split"


def trip(salt="salt"):
    return BreakerTrip(salt, "m-v2", 20.0, 13.8, 100, 0, 20, 12)


def test_a_trip_is_news_once_and_only_for_its_own_salt():
    begun = analysis()
    assert not begun.trip(trip("other"))
    assert not begun.judgement(0.0).is_tripped
    assert begun.trip(trip())
    assert not begun.trip(trip())
    assert begun.judgement(0.0).is_tripped
    assert begun.explain("breaker").canary_exceeded == 12


def test_scores_are_kept_by_arm():
    begun = analysis()
    begun.add_scores(VersionReport("a", 0, 0, {}, {0: 2_000}), is_canary=False)
    begun.add_scores(VersionReport("b", 0, 0, {}, {0: 2_000}), is_canary=True)
    assert abs(begun.judgement(0.0).prediction_drift) < 0.01
    begun.add_scores(VersionReport("b", 0, 0, {}, {19: 4_000}), is_canary=True)
    assert begun.judgement(0.0).prediction_drift > 0.25


def test_what_is_asked_without_a_name_is_the_guard_nearer_to_its_threshold():
    slow, failing = analysis(), analysis(spec=msgspec.structs.replace(SPEC, guards=("errors",)))
    observe(slow, range(10), canary=counts(20, latency_s=0.5))
    observe(failing, range(10), canary=counts(20, 5))
    assert (slow.explain().guard, failing.explain().guard) == ("latency", "errors")


def test_it_goes_on_from_a_snapshot_where_it_was():
    first = analysis()
    observe(first, range(12), stable=counts(80, 1), canary=counts(20, 1, latency_s=0.002))
    first.enter_step(1, 12, salt="salt", weight_bp=5_000)
    observe(first, range(12, 15), stable=counts(50), canary=counts(50))
    second = RolloutAnalysis(SPEC)
    second.restore(first.snapshot())
    second.resume_step(salt="salt", weight_bp=5_000)
    assert (
        second.snapshot()
        == msgspec.structs.replace(
            first.snapshot(), last_tick=0, totals=msgspec.structs.replace(first.evidence(), min_detectable=None)
        )
        or second.snapshot().latency == first.snapshot().latency
    )
    for begun in (first, second):
        observe(begun, range(15, 18), stable=counts(50), canary=counts(50, latency_s=0.002))
    before, after = first.judgement(18.0), second.judgement(18.0)
    assert (after.latency_ln_e, after.error_ln_e) == (before.latency_ln_e, before.error_ln_e)
    assert (after.step_index, after.step_requests, after.step_s) == (1, 300, 6.0)
    assert second.evidence().canary_requests == first.evidence().canary_requests == 12 * 20 + 6 * 50
