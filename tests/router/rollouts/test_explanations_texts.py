"""Every explanation in full: its words and its numbers."""

from __future__ import annotations

import msgspec

from divisions.reports import BreakerTrip
from divisions.status import Evidence
from router.evidence.histogram import OVERFLOW, edge_s, empty
from router.evidence.latency_evidence import Dominant
from router.evidence.tolerance import tolerance_of
from router.evidence.windows import VersionCounts
from router.rollouts import explanations

EVIDENCE = Evidence(
    latency_log_e=5.114,
    error_log_e=6.25,
    threshold=4.605,
    error_threshold=5.298,
    ticks=30,
    stable_requests=4_000,
    canary_requests=1_000,
    stable_errors=4,
    canary_errors=50,
    split_log_e=8.04,
    split_threshold=6.91,
    stable_customers=900,
    canary_customers=100,
    input_drift=0.2,
    input_drift_feature="minutes",
    prediction_drift=0.31,
    min_detectable=1.25,
)


def version(requests: int, **buckets: int) -> VersionCounts:
    made = VersionCounts(requests, 0, empty())
    for name, number in buckets.items():
        made.counts[int(name[1:])] = number
    return made


def latency(evidence=EVIDENCE, canary=None, reference=None):
    stable = version(1_000, b200=890, b300=110)
    return explanations.latency(
        evidence,
        Dominant(0.75, 1.6, 12),
        version(1_000, b200=800, b260=200).counts if reference is None else reference,
        tolerance_of(0.104, 0.0).once,
        stable,
        canary or version(200, b200=150, b206=20, b400=30),
        30.0,
    )


def test_latency_names_thresholds_shares_and_quantiles():
    told = latency()
    limit_s, at_s = edge_s(205), edge_s(200)
    assert told.text.startswith(
        f"latency: 25.0% of the canary's 200 requests took longer than {limit_s * 1e3:.3g} ms, "
        f"against 11.0% of stable's 1,000 over {at_s * 1e3:.3g} ms (p75 "
    )
    assert told.text.endswith("ln E 5.11 of 4.61")
    assert (told.guard, told.log_e, told.threshold) == ("latency", 5.114, 4.605)
    assert (told.quantile, told.ratio, told.window_s) == (0.75, 1.6, 30.0)
    assert (told.stable_requests, told.canary_requests) == (1_000, 200)
    assert (told.stable_exceeded, told.canary_exceeded) == (110, 50)
    assert told.threshold_ms == round(limit_s * 1e3, 3)
    assert told.stable_quantile_ms < told.canary_quantile_ms or told.stable_quantile_ms > 0


def test_frozen_evidence_is_of_stables_last_traffic_and_says_so():
    told = latency(msgspec.structs.replace(EVIDENCE, is_frozen=True))
    assert told.stable_requests == 1_000
    assert told.stable_exceeded == 200
    assert told.text.endswith("weaker evidence: compared with stable's last traffic, not with present one")


def test_failed_requests_have_no_number_of_milliseconds():
    told = latency(canary=version(200, **{f"b{OVERFLOW}": 200}))
    assert told.canary_quantile_ms is None
    assert "for ever (failed)" in told.text
    beyond = latency(reference=version(1_000, **{f"b{OVERFLOW}": 1_000}).counts)
    assert beyond.threshold_ms is None
    assert (beyond.stable_exceeded, beyond.canary_exceeded) == (0, 0)


def test_errors_are_told_with_both_shares():
    told = explanations.errors(EVIDENCE, 4.8)
    assert told.text == (
        "errors: 50 of the canary's 1,000 requests failed (5.0%), against 4 of stable's 4,000 (0.1%); ln E 6.25 of 5.30"
    )
    assert (told.guard, told.log_e, told.threshold, told.ratio) == ("errors", 6.25, 5.298, 4.8)
    assert (told.stable_requests, told.canary_requests, told.stable_exceeded, told.canary_exceeded) == (
        4_000, 1_000, 4, 50,
    )  # fmt: skip
    assert told.window_s == 30.0


def test_a_breaker_tells_what_one_gateway_saw():
    told = explanations.breaker(BreakerTrip("salt", "m-v2", 14.26, 13.82, 4_000, 3, 1_000, 12))
    assert told.text == (
        "breaker: in one gateway 12 of the canary's 1,000 requests failed, against 3 of stable's 4,000; "
        "it sends nothing more to the canary (ln E 14.3 of 13.8)"
    )
    assert (told.guard, told.log_e, told.threshold) == ("breaker", 14.26, 13.82)
    assert (told.stable_requests, told.canary_requests, told.stable_exceeded, told.canary_exceeded) == (
        4_000, 1_000, 3, 12,
    )  # fmt: skip


def test_a_split_is_told_with_customers_and_the_weight():
    told = explanations.split(EVIDENCE, 2_050)
    assert told.text == (
        "split: 10.0% of 1,000 distinct customers are on the canary, the weight is 20.5 %; "
        "gateways split wrongly, or cannot reach it (ln E 8.0 of 6.9)"
    )
    assert (told.stable_requests, told.canary_requests, told.log_e) == (900, 100, 8.04)


def test_drifts_name_their_thresholds():
    told = explanations.inputs(EVIDENCE)
    assert "'minutes' is distributed otherwise on the canary than on stable (drift 0.20, holds from 0.15)" in told.text
    assert (told.guard, told.log_e, told.threshold) == ("inputs", 0.2, 0.15)
    told = explanations.predictions(EVIDENCE)
    assert told.text.endswith("(drift 0.31, rolls back from 0.25)")
    assert (told.guard, told.log_e, told.threshold) == ("predictions", 0.31, 0.25)


def test_undecided_says_what_the_traffic_can_show():
    told = explanations.undecided(EVIDENCE, "undecided: after 600 s")
    assert told.text == "undecided: after 600 s; this traffic shows a median slower by 25 % or more"
    assert (told.guard, told.stable_requests, told.canary_requests) == ("undecided", 4_000, 1_000)
    nothing = msgspec.structs.replace(EVIDENCE, min_detectable=None)
    assert explanations.undecided(nothing, "why").text == "why; this traffic is too little to show anything"
    unreached = msgspec.structs.replace(EVIDENCE, canary_requests=0, stable_applied=3_000)
    assert "no request reached the canary, but 3,000 reached stable" in explanations.undecided(unreached, "why").text
    silent = msgspec.structs.replace(nothing, canary_requests=0, stable_requests=0)
    assert "too little" in explanations.undecided(silent, "why").text


def test_a_share_of_nothing_is_none():
    assert (explanations.share(1, 3), explanations.share(0, 0), explanations.share(0, 5)) == ("33.3%", "none", "0.0%")
