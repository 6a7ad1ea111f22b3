"""The sections of the documents on overload, faults, losses and hostile callers as Markdown. Pure."""

from __future__ import annotations

from benchmarks.harness.machine import Machine
from benchmarks.harness.markdown import markdown_table
from benchmarks.lab.prediction_log import PredictionLogResult, render_prediction_log
from benchmarks.reports.doc_tables import machine_line
from benchmarks.stress.chaos_result import AFTER_KILL_S, ChaosResult, client_errors
from benchmarks.stress.fuzz import FuzzResult
from benchmarks.stress.fuzz import render as render_fuzz
from benchmarks.stress.keys import KeysResult
from benchmarks.stress.keys import render as render_keys
from benchmarks.stress.loss_result import LossesResult, render_losses
from benchmarks.stress.overload import OverloadResult
from benchmarks.stress.slow import SlowResult
from benchmarks.stress.steady import SteadyResult, tail_ratio


def overload_section(found: OverloadResult) -> str:
    steady = found.steady
    intro = (
        f"{machine_line(found.machine)} {found.replicas} replicas, batches of up to {found.max_batch}, slowed down by "
        f"{found.batch_delay_ms:g} ms each; peak {found.peak_rps:,.0f} req/s (closed loop, {found.connections} "
        f"connections); each overload lasts {found.seconds:g} s; seed {found.seed}. The open loop of 70 % alone: p50 "
        f"{steady.p50_ms:.1f} ms, p99 {steady.p99_ms:.1f} ms."
    )
    rows = [
        [
            f"{one.factor:g} x peak",
            f"{one.goodput_share:.0%}",
            f"{one.during.refused:,}",
            f"{one.during.refused_p99_ms:.1f}",
            f"{one.during.failed + one.during.timed_out:,}",
            f"{one.memory_growth_mb:+.0f}",
            "never" if one.recovery_s is None else f"{one.recovery_s:.1f}",
            f"{one.health.failed} of {one.health.asked}",
            f"{one.sent_rps:,.0f}",
            f"{one.lag_p99_ms:.1f}{' (saturated)' if one.generator_saturated else ''}",
        ]
        for one in found.overloads
    ]
    head = (
        "load",
        "goodput",
        "refused",
        "refusal p99 ms",
        "failed",
        "memory MB",
        "back after s",
        "health failed",
        "sent req/s",
        "generator late p99 ms",
    )
    return f"{intro}\n\n{markdown_table(head, rows)}"


def steady_section(found: SteadyResult) -> str:
    layers = "-".join(map(str, found.widths))
    intro = (
        f"{machine_line(found.machine)} A model of {layers} units; peak by a closed loop of {found.connections} "
        f"connections before each open loop of {found.seconds:g} s; seed {found.seed}."
    )
    rows = [
        [
            f"{spell.planned_rps:,.0f} of {peak_rps:,.0f}",
            f"{spell.p50_ms:.2f}",
            f"{spell.p99_ms:.2f}",
            f"{tail_ratio(spell):.1f} x",
            f"{client_errors(spell):,}",
        ]
        for peak_rps, spell in zip(found.peak_rps, found.rounds, strict=True)
    ]
    return f"{intro}\n\n{markdown_table(('req/s', 'p50 ms', 'p99 ms', 'p99 to p50', 'not answered'), rows)}"


def losses_section(found: LossesResult) -> str:
    return (
        f"{machine_line(found.machine)} All {found.hosts} hosts shared these cores. The gateway of each got "
        f"{found.rate_rps:g} requests a second.\n\n{render_losses(found)}"
    )


def chaos_section(found: ChaosResult) -> str:
    killed, frozen = found.killed, found.frozen
    gone = "never" if frozen.unready_s is None else f"{frozen.unready_s:.1f} s"
    saturated = " The generator could not keep up; latencies contain its delay." if found.generator_saturated else ""
    rows = [
        [
            "load alone",
            f"{client_errors(found.before):,}",
            f"{found.before.p50_ms:.1f}",
            f"{found.before.p99_ms:.1f}",
            "",
        ],
        [
            f"{killed.kills} kills",
            f"{client_errors(killed.spell):,}",
            f"{killed.spell.p50_ms:.1f}",
            f"{killed.spell.p99_ms:.1f}",
            f"p99 of the {AFTER_KILL_S:g} s after a kill: {killed.added_p99_ms:+.1f} ms",
        ],
        [
            "one frozen",
            f"{client_errors(frozen.spell):,}",
            f"{frozen.spell.p50_ms:.1f}",
            f"{frozen.spell.p99_ms:.1f}",
            f"{frozen.touched:,} requests delayed, the last one sent {frozen.touched_s:.2f} s after it; "
            f"not ready by the status after {gone}",
        ],
    ]
    return "\n\n".join(
        [
            f"{machine_line(found.machine)} {found.load_rps:,.0f} req/s of a peak of {found.peak_rps:,.0f} on "
            f"{found.replicas} replicas, seed {found.seed}.{saturated}",
            markdown_table(("", "client errors", "p50 ms", "p99 ms", ""), rows),
        ]
    )


def keys_section(found: KeysResult) -> str:
    return _lines(found.machine, render_keys(found))


def fuzz_section(found: FuzzResult) -> str:
    return _lines(found.machine, render_fuzz(found))


def prediction_log_section(found: PredictionLogResult) -> str:
    return _lines(found.machine, render_prediction_log(found))


def _lines(machine: Machine, text: str) -> str:
    """What the benchmark prints, a point for each line."""
    points = "\n".join(f"- {line}" for line in text.splitlines())
    return f"{machine_line(machine)}\n\n{points}"


def slow_section(found: SlowResult) -> str:
    rows = [
        [
            f"{'TLS' if row.is_encrypted else 'plain'}, {row.way}",
            f"{row.success:.3%}",
            f"{row.requests:,}",
            f"{row.p50_ms:.2f}",
            f"{row.p99_ms:.2f}",
            f"{row.new_p99_ms:.2f}",
            f"{row.closed:,}",
        ]
        for row in found.rows
    ]
    head = ("slow callers", "answered", "of requests", "p50 ms", "p99 ms", "p99 ms, new connections", "closed")
    intro = (
        f"{machine_line(found.machine)} {found.connections:,} slow callers; the good client sends {found.rate_rps:g} "
        f"req/s for {found.seconds:g} s; seed {found.seed}."
    )
    return f"{intro}\n\n{markdown_table(head, rows)}"
