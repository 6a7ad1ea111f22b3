"""From gateways' reports to analyses: what counts, for whom, and what is forgotten."""

from __future__ import annotations

import pytest

from divisions.analysis_spec import AnalysisSpec
from divisions.reports import (
    ArmSample,
    BreakerTrip,
    EndpointReport,
    GatewayReport,
    SaltScores,
    SplitReport,
    VersionReport,
)
from router.rollouts.monitor import Arms, Monitor

ARMS = Arms("m-v1", "m-v2")
ANALYSIS = AnalysisSpec(warmup_s=0, warmup_requests=0)


def compared(endpoint: str) -> Arms | None:
    return ARMS if endpoint == "churn" else None


def version(app_name: str, requests: int, errors: int = 0, bucket: int = 200, **changes) -> VersionReport:
    return VersionReport(app_name, requests, errors, {bucket: requests}, **changes)


def report(tick: int, *versions: VersionReport, gateway: str = "g", endpoint: str = "churn", **updates):
    return GatewayReport(gateway, 1, tick, (EndpointReport(endpoint, versions, **updates),))


def begun() -> Monitor:
    monitor = Monitor()
    monitor.begin("churn", ANALYSIS).enter_step(0, 0, salt="salt", weight_bp=2_000)
    return monitor


def feed(monitor: Monitor, ticks, *versions: VersionReport, **kinds) -> None:
    for tick in ticks:
        monitor.report(report(tick, *versions, **kinds), tick + 2.0, compared)
        monitor.close_ticks(tick + 2.0, compared)


def test_both_arms_of_a_tick_are_counted_and_a_missing_one_is_none():
    monitor = begun()
    feed(monitor, range(10, 13), version("m-v1", 80, 1), version("m-v2", 20, 2), version("m-v0", 9))
    feed(monitor, range(13, 15), version("m-v1", 80))
    evidence = monitor.analysis("churn").evidence()
    assert (evidence.ticks, evidence.stable_requests, evidence.canary_requests) == (5, 400, 60)
    assert (evidence.stable_errors, evidence.canary_errors) == (3, 6)


def test_a_tick_is_compared_with_the_seconds_before_it_and_not_with_itself():
    """The thresholds are fixed before the tick begins: a slow second of both arms is not measured by itself."""
    monitor = begun()
    feed(monitor, range(10, 40), version("m-v1", 80), version("m-v2", 20))
    seen = []
    analysis = monitor.analysis("churn")
    original = analysis.observe
    analysis.observe = lambda tick, reference, *rest: (
        seen.append(int(reference.sum())),
        original(tick, reference, *rest),
    )
    feed(monitor, range(40, 42), version("m-v1", 1_000), version("m-v2", 20))
    assert seen == [30 * 80, 29 * 80 + 1_000]


def test_a_report_counts_once_and_a_trip_is_told_once():
    monitor = begun()
    trip = BreakerTrip("salt", "m-v2", 14.0, 13.8, 80, 0, 20, 20)
    first = report(10, version("m-v1", 80), trip=trip)
    assert monitor.report(first, 12.0, compared) == (True, ["churn"])
    assert monitor.report(first, 12.0, compared) == (False, [])
    assert monitor.report(report(11, trip=trip), 13.0, compared) == (True, [])


@pytest.mark.parametrize(("salt", "app_name"), [("other", "m-v2"), ("salt", "m-v1")])
def test_a_trip_of_another_rollout_is_none(salt, app_name):
    monitor = begun()
    trip = BreakerTrip(salt, app_name, 14.0, 13.8, 80, 0, 20, 20)
    assert monitor.report(report(10, trip=trip), 12.0, compared) == (True, [])


def test_a_repeated_report_still_trips_but_adds_no_customers():
    monitor = begun()
    split = SplitReport("salt", 2_000, 0, ArmSample((1, 2)), ArmSample((3,)))
    monitor.report(report(10, version("m-v1", 80)), 12.0, compared)
    late = report(10, version("m-v1", 80), split=split, trip=BreakerTrip("salt", "m-v2", 14.0, 13.8, 1, 0, 1, 1))
    assert monitor.report(late, 12.0, compared) == (False, ["churn"])
    assert monitor.analysis("churn").evidence().stable_customers == 0
    monitor.report(report(11, split=split), 13.0, compared)
    evidence = monitor.analysis("churn").evidence()
    assert (evidence.stable_customers, evidence.canary_customers) == (2, 1)


def test_scores_go_to_the_arm_that_gave_them():
    monitor = begun()
    scores = {"scores": {3: 2_000}}, {"scores": {15: 2_000}}, {"scores": {9: 9_999}}
    versions = [version(name, 1, **each) for name, each in zip(("m-v1", "m-v2", "m-v0"), scores, strict=True)]
    monitor.report(report(10, *versions), 12.0, compared)
    assert monitor.analysis("churn").evidence().prediction_drift > 1.0
    alike = begun()
    alike.report(report(10, *[version(name, 1, scores={3: 2_000}) for name in ("m-v1", "m-v2")]), 12.0, compared)
    assert alike.analysis("churn").evidence().prediction_drift < 0.1


def test_salts_are_kept_by_gateway_until_the_rollout_ends():
    monitor = begun()
    first, newer, other = (SaltScores("base", (n,), (n,), ()) for n in (1, 2, 3))
    for gateway, scores in (("g", first), ("g", newer), ("h", other)):
        monitor.report(report(10, gateway=gateway, salts=scores), 12.0, compared)
    assert monitor.salts("churn", "base") == [newer, other]
    assert monitor.salts("churn", "another") == monitor.salts("other", "base") == []
    monitor.end("churn")
    assert (monitor.salts("churn", "base"), monitor.analysis("churn")) == ([], None)
    monitor.end("churn")


def test_an_endpoint_without_a_rollout_keeps_recent_counts_for_the_next():
    monitor = Monitor()
    feed(monitor, range(10, 15), version("m-v1", 80))
    monitor.begin("churn", ANALYSIS).enter_step(0, 0, salt="salt", weight_bp=2_000)
    feed(monitor, [15], version("m-v1", 80), version("m-v2", 20))
    assert sum(monitor.analysis("churn").snapshot().stable.values()) == 5 * 80


def test_versions_without_recent_requests_are_forgotten():
    monitor = Monitor()
    feed(monitor, [10], version("m-v1", 80), version("m-v0", 5))
    feed(monitor, range(11, 41), version("m-v1", 80))
    assert set(monitor._recent) == set(monitor._clustering) == {("churn", "m-v1"), ("churn", "m-v0")}
    feed(monitor, [41], version("m-v1", 80))
    assert set(monitor._recent) == set(monitor._clustering) == {("churn", "m-v1")}


def test_how_many_ticks_were_judged():
    monitor = begun()
    for tick in (10, 11):
        monitor.report(report(tick, version("m-v1", 1)), 13.0, compared)
    assert monitor.close_ticks(13.0, compared) == 2
    assert monitor.close_ticks(13.0, compared) == 0
    assert monitor.gateways(13.0) == {"g": 1}
