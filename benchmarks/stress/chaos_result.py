"""What samples say about kills and a freeze. Pure."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np

from benchmarks.harness.machine import Machine
from benchmarks.load.http_client import Outcome
from benchmarks.load.report import percentile_ms
from benchmarks.load.samples import Samples
from benchmarks.stress.recovery import Spell

AFTER_KILL_S = 2.0
"""The requests of this long after a kill are those that it may have touched."""
_TOUCHED = 4.0
_LEAST_MS = 100.0


class Killed(msgspec.Struct, frozen=True):
    """``spell`` is from the first kill to the end. ``added_p99_ms`` is see `added_p99_ms`."""

    kills: int
    spell: Spell
    added_p99_ms: float


class Frozen(msgspec.Struct, frozen=True):
    """``touched`` and ``touched_s`` are see `touched_by`; ``unready_s`` when the status no longer called it ready."""

    spell: Spell
    touched: int
    touched_s: float
    unready_s: float | None


class ChaosResult(msgspec.Struct, frozen=True, tag="chaos"):
    """``before`` is the load alone. Client errors are the spells' refused, failed and timed-out requests."""

    machine: Machine
    seed: int
    replicas: int
    peak_rps: float
    load_rps: float
    before: Spell
    killed: Killed
    frozen: Frozen
    reasons: dict[str, int]
    generator_saturated: bool


def client_errors(spell: Spell) -> int:
    return spell.refused + spell.failed + spell.timed_out


def added_p99_ms(run: Samples, kills_s: Sequence[float], before_p99_ms: float) -> float:
    """p99 of the requests planned within `AFTER_KILL_S` of any kill, above that of the load alone."""
    planned_s = run.start_wall_s + run.scheduled_s
    near = np.zeros(len(planned_s), bool)
    for at_s in kills_s:
        near |= (planned_s >= at_s) & (planned_s < at_s + AFTER_KILL_S)
    return round(percentile_ms(run.latency_s[near], 99) - before_p99_ms, 2)


def touched_by(run: Samples, at_s: float, within_s: float, before_p99_ms: float) -> tuple[int, float]:
    """How many requests a freeze touched, and how long after it the last of them was planned (0: none after it).

    Touched is a request that failed, or took longer than four times the p99 of the load alone and than 100 ms. Those
    that were under way when it froze are among them.
    """
    planned_s = run.start_wall_s + run.scheduled_s - at_s
    limit_s = max(_TOUCHED * before_p99_ms, _LEAST_MS) / 1e3
    touched = (run.outcome != Outcome.OK) | (run.latency_s > limit_s)
    own = touched & (planned_s + run.latency_s >= 0) & (planned_s < within_s)
    last_s = float(planned_s[own].max(initial=0.0))
    return int(own.sum()), round(max(0.0, last_s), 3)


def render_chaos(found: ChaosResult) -> str:
    killed, frozen = found.killed, found.frozen
    gone = "never" if frozen.unready_s is None else f"after {frozen.unready_s:.1f} s"
    lines = [
        f"load {found.load_rps:,.0f} of {found.peak_rps:,.0f} req/s on {found.replicas} replicas: p50 "
        f"{found.before.p50_ms:.1f} ms, p99 {found.before.p99_ms:.1f} ms",
        f"{killed.kills} kills: {client_errors(killed.spell):,} client errors, p99 of the {AFTER_KILL_S:g} s after a "
        f"kill {killed.added_p99_ms:+.1f} ms",
        f"one frozen: {client_errors(frozen.spell):,} client errors, {frozen.touched:,} requests delayed, the "
        f"last one sent {frozen.touched_s:.2f} s after it, not ready by the status {gone}",
    ]
    lines += [f"  {count:,} x {reason}" for reason, count in sorted(found.reasons.items())]
    if found.generator_saturated:
        lines.append("WARNING: the generator could not keep up; latencies contain its delay")
    return "\n".join(lines)
