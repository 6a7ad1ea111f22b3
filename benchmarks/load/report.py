"""From samples to figures: exact percentiles, one result per run, one line per second, and text for terminals."""

from __future__ import annotations

import msgspec
import numpy as np
from numpy.typing import NDArray

from benchmarks.harness.machine import Machine
from benchmarks.load.http_client import Outcome
from benchmarks.load.samples import Samples

SATURATED_LAG_MS = 10.0
"""Send lag at p99 above which the run says that the generator, not the server, was the bottleneck."""

UNANSWERED = ""
"""The version of requests that no version answered."""


class Latency(msgspec.Struct, frozen=True):
    """Exact percentiles, in ms, of ``count`` requests that were answered or timed out.

    A timed-out request counts with the time that was waited for it. Refused and failed requests are left out, because a
    fast failure must not make a server look fast. `LoadResult` counts them.
    """

    count: int
    mean_ms: float
    p50_ms: float
    p90_ms: float
    p95_ms: float
    p99_ms: float
    p999_ms: float
    max_ms: float


class VersionResult(msgspec.Struct, frozen=True):
    """What one model version answered, with wall-clock times; a request begins when it was scheduled."""

    answers: int
    latency: Latency
    first_request_at_s: float
    last_request_at_s: float
    first_answer_at_s: float
    last_answer_at_s: float


class Lag(msgspec.Struct, frozen=True):
    """How late the generator itself sent, in ms."""

    p50_ms: float
    p99_ms: float
    max_ms: float


class LoadResult(msgspec.Struct, frozen=True):
    """One run. ``requests = ok + refused + failed + timed_out``; nothing is ever retried."""

    url: str
    arrivals: str
    rate_rps: float
    seed: int
    deadline_ms: float
    started_at_s: float
    duration_s: float
    requests: int
    ok: int
    refused: int
    failed: int
    timed_out: int
    achieved_rps: float
    latency: Latency
    versions: dict[str, VersionResult]
    reasons: dict[str, int]
    lag: Lag
    generator_saturated: bool
    generator_cpu_share: float
    connections: int
    connects: int
    machine: Machine
    type: str = "result"


class VersionTick(msgspec.Struct, frozen=True):
    answers: int
    p50_ms: float
    p99_ms: float


class Tick(msgspec.Struct, frozen=True):
    """What ended in one second of a run."""

    at_s: float
    elapsed_s: float
    requests: int
    ok: int
    refused: int
    failed: int
    timed_out: int
    in_flight: int
    latency_p50_ms: float
    latency_p99_ms: float
    lag_p99_ms: float
    versions: dict[str, VersionTick]
    type: str = "tick"


def percentile_ms(values_s: NDArray[np.float64], percent: float) -> float:
    """The smallest measured value that at least ``percent`` of the values do not exceed, in ms; 0.0 of nothing."""
    if not len(values_s):
        return 0.0
    return round(float(np.percentile(values_s, percent, method="inverted_cdf")) * 1e3, 3)


def summarise_latency(samples: Samples) -> Latency:
    """Percentiles over answered and timed-out requests (see `Latency`)."""
    return _latency(samples.latency_s[_counts(samples)])


def summarise_versions(samples: Samples) -> dict[str, VersionResult]:
    """Figures of each version that answered, by name."""
    results = {}
    answered = samples.outcome == Outcome.OK
    began_s = samples.start_wall_s + samples.scheduled_s
    ended_s = began_s + samples.latency_s
    for index, name in enumerate(samples.versions):
        own = answered & (samples.version == index)
        if name != UNANSWERED and own.any():
            results[name] = VersionResult(
                answers=int(own.sum()),
                latency=_latency(samples.latency_s[own]),
                first_request_at_s=round(float(began_s[own].min()), 6),
                last_request_at_s=round(float(began_s[own].max()), 6),
                first_answer_at_s=round(float(ended_s[own].min()), 6),
                last_answer_at_s=round(float(ended_s[own].max()), 6),
            )
    return dict(sorted(results.items()))


def summarise_lag(lag_s: NDArray[np.float64]) -> Lag:
    return Lag(percentile_ms(lag_s, 50), percentile_ms(lag_s, 99), percentile_ms(lag_s, 100))


def summarise_tick(samples: Samples, at_s: float, elapsed_s: float, in_flight: int) -> Tick:
    counts = np.bincount(samples.outcome, minlength=len(Outcome))
    counted = samples.latency_s[_counts(samples)]
    versions = {}
    for index, name in enumerate(samples.versions):
        own = samples.latency_s[(samples.outcome == Outcome.OK) & (samples.version == index)]
        if len(own) and name != UNANSWERED:
            versions[name] = VersionTick(len(own), percentile_ms(own, 50), percentile_ms(own, 99))
    return Tick(
        at_s=round(at_s, 3),
        elapsed_s=round(elapsed_s, 3),
        requests=len(samples.outcome),
        ok=int(counts[Outcome.OK]),
        refused=int(counts[Outcome.REFUSED]),
        failed=int(counts[Outcome.FAILED]),
        timed_out=int(counts[Outcome.TIMED_OUT]),
        in_flight=in_flight,
        latency_p50_ms=percentile_ms(counted, 50),
        latency_p99_ms=percentile_ms(counted, 99),
        lag_p99_ms=percentile_ms(samples.lag_s, 99),
        versions=dict(sorted(versions.items())),
    )


def render_result(result: LoadResult) -> str:
    """The result as a few lines for people."""
    rows = [("all", result.requests, result.latency)]
    rows += [(f"version {name}", found.answers, found.latency) for name, found in result.versions.items()]
    lines = [f"{'':<14}{'requests':>10}{'p50 ms':>10}{'p90 ms':>10}{'p99 ms':>10}{'p99.9 ms':>10}{'max ms':>10}"]
    for name, requests, lat in rows:
        figures = (lat.p50_ms, lat.p90_ms, lat.p99_ms, lat.p999_ms, lat.max_ms)
        lines.append(f"{name:<14}{requests:>10,}" + "".join(f"{figure:>10.2f}" for figure in figures))
    lines.append(
        f"ok {result.ok:,}, refused {result.refused:,}, failed {result.failed:,}, timed out {result.timed_out:,}; "
        f"{result.achieved_rps:,.1f} of {result.rate_rps:,.1f} requests/s for {result.duration_s:.1f} s"
    )
    lines += [f"  {count:,} x {reason}" for reason, count in sorted(result.reasons.items())]
    lines.append(
        f"generator: sent late by {result.lag.p50_ms:.2f} ms (p50), {result.lag.p99_ms:.2f} ms (p99); "
        f"{result.generator_cpu_share:.0%} of a core"
    )
    if result.generator_saturated:
        lines.append(
            "WARNING: the generator could not keep up with its own plan, so these latencies contain its delay. "
            "Lower --rps or give it a core of its own."
        )
    return "\n".join(lines)


def _counts(samples: Samples) -> NDArray[np.bool_]:
    return np.isin(samples.outcome, (Outcome.OK, Outcome.TIMED_OUT))


def _latency(values_s: NDArray[np.float64]) -> Latency:
    return Latency(
        len(values_s),
        round(float(values_s.mean()) * 1e3, 3) if len(values_s) else 0.0,
        *(percentile_ms(values_s, percent) for percent in (50, 90, 95, 99, 99.9, 100)),
    )
