"""From single runs to a comparison: medians, ratios, the table. Pure."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

import msgspec

from benchmarks.harness.machine import Machine


class Run(msgspec.Struct, frozen=True):
    """One measured run of one system. ``rps`` are good answers per second."""

    round: int
    system: str
    connections: int
    rps: float
    p50_ms: float
    p99_ms: float
    errors: int


class Row(msgspec.Struct, frozen=True):
    """Medians over the rounds of one system at one number of connections; ``errors`` is the sum."""

    system: str
    connections: int
    rps: float
    p50_ms: float
    p99_ms: float
    errors: int


class Ratio(msgspec.Struct, frozen=True):
    """How ours compares with a peer: above 1 is better for us in ``rps``, below 1 in ``p50`` and ``p99``."""

    system: str
    connections: int
    rps: float
    p50: float
    p99: float


class Comparison(msgspec.Struct, frozen=True):
    """One whole comparison.

    ``failures`` says which system could not be measured, ``absent`` which could not be installed, and why. ``notes``
    has the settings of each.
    """

    machine: Machine
    driver: str
    seconds: float
    warm_up_s: float
    rounds: int
    seed: int
    body_bytes: int
    rows: list[Row]
    ratios: list[Ratio]
    runs: list[Run]
    failures: dict[str, str]
    absent: dict[str, str] = {}
    notes: dict[str, str] = {}


def summarise_runs(runs: Sequence[Run]) -> list[Row]:
    """Medians, in the order in which systems and connections first appear."""
    groups: dict[tuple[str, int], list[Run]] = {}
    for run in runs:
        groups.setdefault((run.system, run.connections), []).append(run)
    return [
        Row(
            system,
            connections,
            round(statistics.median(run.rps for run in group), 1),
            round(statistics.median(run.p50_ms for run in group), 3),
            round(statistics.median(run.p99_ms for run in group), 3),
            sum(run.errors for run in group),
        )
        for (system, connections), group in groups.items()
    ]


def compare_rows(rows: Sequence[Row], ours: str) -> list[Ratio]:
    """Ours against each other system at the same number of connections. A peer without good answers has no ratio."""
    own = {row.connections: row for row in rows if row.system == ours}
    return [
        Ratio(
            row.system,
            row.connections,
            round(own[row.connections].rps / row.rps, 2),
            round(own[row.connections].p50_ms / row.p50_ms, 3),
            round(own[row.connections].p99_ms / row.p99_ms, 3),
        )
        for row in rows
        if row.system != ours and row.connections in own and row.rps > 0 and row.p50_ms > 0 and row.p99_ms > 0
    ]


def render_comparison(found: Comparison) -> str:
    """The comparison as a table for people."""
    ratios = {(ratio.system, ratio.connections): ratio for ratio in found.ratios}
    lines = [f"{'system':<22}{'conn.':>6}{'req/s':>12}{'p50 ms':>10}{'p99 ms':>10}{'errors':>8}   ours is"]
    for row in sorted(found.rows, key=lambda row: row.connections):
        ratio = ratios.get((row.system, row.connections))
        note = f"{ratio.rps:.2f} x the req/s, {ratio.p50:.2f} x the p50" if ratio else ""
        lines.append(
            f"{row.system:<22}{row.connections:>6}{row.rps:>12,.0f}{row.p50_ms:>10.2f}{row.p99_ms:>10.2f}"
            f"{row.errors:>8,}   {note}"
        )
    lines += [f"not measured: {system}: {why}" for system, why in found.failures.items()]
    lines += [f"absent: {system}: {why}" for system, why in found.absent.items()]
    machine = found.machine
    lines.append(
        f"{found.driver}, medians of {found.rounds} interleaved rounds of {found.seconds:g} s; {machine.cpu}, "
        f"{machine.cores} cores, load {machine.load_average:g} before"
    )
    return "\n".join(lines)
