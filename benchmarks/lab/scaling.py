"""From single runs to the rows and tables of the scale benchmark. Pure."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence

import msgspec

from benchmarks.lab.saturation import Saturation


class Measured(msgspec.Struct, frozen=True):
    """One run. The CPU figures are of all gateway or replica processes together, for one request, in microseconds."""

    rps: float
    p50_ms: float
    p99_ms: float
    errors: int
    gateway_us: float
    replica_us: float


class ScaleRow(msgspec.Struct, frozen=True):
    """Medians over the rounds of one point of one axis; ``errors`` is the sum."""

    axis: str
    value: str
    rps: float
    p50_ms: float
    p99_ms: float
    errors: int
    gateway_us: float
    replica_us: float


def summarise_scale(runs: Mapping[tuple[str, str], Sequence[Measured]]) -> list[ScaleRow]:
    """Medians, in the order of the runs."""

    def median(values: Sequence[float]) -> float:
        return round(statistics.median(values), 3)

    return [
        ScaleRow(
            axis,
            value,
            median([run.rps for run in group]),
            median([run.p50_ms for run in group]),
            median([run.p99_ms for run in group]),
            sum(run.errors for run in group),
            median([run.gateway_us for run in group]),
            median([run.replica_us for run in group]),
        )
        for (axis, value), group in runs.items()
    ]


def render_scale(rows: Sequence[ScaleRow], simulated: Mapping[str, Sequence[Saturation]]) -> str:
    """Both halves as tables for people."""
    head = f"{'measured':<38}{'req/s':>10}{'p50 ms':>9}{'p99 ms':>9}{'errors':>8}{'gateway us':>12}{'replica us':>12}"
    lines = [head] if rows else []
    lines += [
        f"{row.axis + ' ' + row.value:<38}{row.rps:>10,.0f}{row.p50_ms:>9.2f}{row.p99_ms:>9.2f}{row.errors:>8,}"
        f"{row.gateway_us:>12.1f}{row.replica_us:>12.1f}"
        for row in rows
    ]
    for name, series in simulated.items():
        lines.append(f"\nsimulated: {name}")
        lines.append(
            f"{'nodes':>6}{'req/s':>13}{'per node':>11}{'p99 ms':>9}{'batch':>8}{'remote':>8}  first at its limit"
        )
        lines += [
            f"{one.cluster.nodes:>6}{one.outcome.offered_rps:>13,.0f}{one.rps_per_node:>11,.0f}{one.outcome.p99_ms:>9.2f}"
            f"{one.outcome.mean_batch:>8.1f}{one.outcome.remote_share:>8.0%}  {one.bottleneck}"
            for one in series
        ]
    return "\n".join(lines)
