"""What the demo promises, and how its result is shown. Pure; `benchmarks.demo.demo` does the work."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from benchmarks.load.report import LoadResult

MIN_AUC = 0.88
MAX_ROLLBACK_S = 30.0
MAX_WALL_S = 480.0


class DemoReport(msgspec.Struct, frozen=True):
    """``build/demo.json``.

    ``failed_requests`` are all that did not get a 2xx answer: refused, failed and timed out. ``time_to_rollback_s``
    counts from the scheduled time of the first request that the slow version answered to the moment when its weight
    was zero, or to the last request that it answered, whichever was later.
    """

    auc: float
    promoted_version: str
    rolled_back_version: str
    rollback_reason: str
    time_to_rollback_s: float
    requests: int
    failed_requests: int
    wall_s: float
    decision_after_s: float
    slow_requests: int
    holdout_rows: int
    load: LoadResult


def broken_promises(report: DemoReport, promoted: str, rolled_back: str) -> list[str]:
    """What the demo promised and did not keep; empty when all is well."""
    broken = []
    if not report.auc >= MIN_AUC:
        broken.append(f"AUC on the hold-out is {report.auc:.3f}, promised was at least {MIN_AUC}")
    if report.failed_requests:
        reasons = ", ".join(f"{count} x {reason}" for reason, count in report.load.reasons.items())
        broken.append(f"{report.failed_requests:,} of {report.requests:,} requests failed ({reasons}), promised was 0")
    if report.promoted_version != promoted:
        broken.append(f"{promoted} should serve in the end, but {report.promoted_version or 'nothing'} does")
    if report.rolled_back_version != rolled_back:
        broken.append(f"{rolled_back} should have been rolled back")
    if not report.time_to_rollback_s <= MAX_ROLLBACK_S:
        broken.append(f"the rollback took {report.time_to_rollback_s:.1f} s, promised was {MAX_ROLLBACK_S:g} s at most")
    if report.wall_s > MAX_WALL_S:
        broken.append(f"the demo took {report.wall_s:.0f} s, promised was {MAX_WALL_S:g} s at most")
    return broken


def render_summary(report: DemoReport, outcomes: Sequence[tuple[str, str]]) -> str:
    """The table at the end. ``outcomes`` are (version, how it ended), in order."""
    lines = [f"{'version':<10}{'requests':>10}{'p50 ms':>9}{'p99 ms':>9}   how it ended"]
    for version, outcome in outcomes:
        found = report.load.versions.get(version)
        figures = (
            f"{found.answers:>10,}{found.latency.p50_ms:>9.2f}{found.latency.p99_ms:>9.2f}"
            if found
            else f"{'-':>10}{'-':>9}{'-':>9}"
        )
        lines.append(f"v{version:<9}{figures}   {outcome}")
    lines += [
        "",
        f"AUC over HTTP on {report.holdout_rows:,} customers no model has seen   {report.auc:.3f}",
        f"requests sent while all this happened               {report.requests:,}",
        f"of these failed                                     {report.failed_requests:,}",
        f"slowed requests before the rollback                 {report.slow_requests:,}",
        f"from the first slowed request to weight zero        {report.time_to_rollback_s:.1f} s",
        f"why                                                 {report.rollback_reason}",
        f"the whole demo                                      {report.wall_s:.0f} s",
    ]
    if report.load.generator_saturated:
        lines.append(
            f"note: this machine was busy; the load was sent up to {report.load.lag.p99_ms:.1f} ms late (p99), "
            "which the latencies above contain"
        )
    return "\n".join(lines)
