"""How a rollout looks on a terminal, in the layout of Argo Rollouts. Pure."""

from __future__ import annotations

import math
from datetime import UTC, datetime

from divisions.commands.output import age, percent
from divisions.control import Evidence, Explanation, RolloutStatus

_MARKS = {
    "PENDING": "◌",
    "WARMING": "◌",
    "STEP": "◐",
    "BAKE": "◕",
    "PROMOTED": "✔",
    "HOLD": "‖",
    "ROLLING_BACK": "✖",
    "DRAINING": "✖",
    "ROLLED_BACK": "✖",
}
_BAR_CELLS = 24
_HISTORY_LINES = 8


def render_rollout(status: RolloutStatus, now_s: float) -> str:
    """The whole picture: state, weights, both versions, evidence, why it was rolled back, and the story so far."""
    steps = " → ".join(percent(step) for step in status.steps_bp)
    lines = [
        _field("Name", f"{status.endpoint} ({status.model})"),
        _field("Status", f"{_MARKS.get(status.phase, '?')} {status.phase}, for {age(now_s - status.phase_since_s)}"),
        *([_field("Message", status.message)] if status.message else []),
        _field("Strategy", f"Canary {steps}"),
        _field("  Step", f"{min(status.step_index + 1, len(status.steps_bp))}/{len(status.steps_bp)}"),
        _field("  SetWeight", percent(status.set_weight_bp)),
        _field("  ActualWeight", percent(status.actual_weight_bp)),
        "",
        _field(
            "Stable",
            _version(status.stable_version, status.stable_replicas, status.wanted_stable_replicas),
        ),
        _field("Canary", _canary(status)),
        "",
        *_evidence(status.evidence),
    ]
    if status.explanation is not None:
        lines += ["", *_why(status.explanation)]
    elif status.rollback_reason:
        lines += ["", _field("Why", status.rollback_reason)]
    if status.history:
        lines += ["", "History"]
        lines += [
            f"  {_time(entry.at_s)}  {entry.phase:<12} {percent(entry.weight_bp):>5}  {entry.message}".rstrip()
            for entry in status.history[-_HISTORY_LINES:]
        ]
    return "\n".join(lines)


def _field(name: str, value: str) -> str:
    return f"{name + ':':<16}{value}"


def _version(version: str | None, ready: int, wanted: int) -> str:
    return "none" if version is None else f"{version}, {ready}/{wanted} replicas ready"


def _canary(status: RolloutStatus) -> str:
    if status.phase == "PROMOTED":
        return f"none: {status.canary_version} is stable now"
    version = _version(status.canary_version, status.canary_replicas, status.wanted_canary_replicas)
    return f"{version}, {status.canary_requests:,} requests in this step"


def _evidence(evidence: Evidence) -> list[str]:
    if not evidence.threshold:
        return [_field("Evidence", "none: nothing was compared")]
    lines = [
        _field("Evidence", f"{evidence.ticks:,} s of traffic; rolls back when a bar is full"),
        _field("  Latency", _bar(evidence.latency_log_e, evidence.threshold)),
        _field("  Errors", _bar(evidence.error_log_e, evidence.error_threshold)),
        _field("  Stable", f"{evidence.stable_requests:,} requests, {evidence.stable_errors:,} failed"),
        _field("  Canary", f"{evidence.canary_requests:,} requests, {evidence.canary_errors:,} failed"),
    ]
    if evidence.min_detectable is not None and math.isfinite(evidence.min_detectable):
        slower = 100 * (evidence.min_detectable - 1)
        lines.append(_field("  Detects", f"a median slower by {slower:.0f} % or more, at this traffic"))
    return lines


def _bar(log_e: float, threshold: float) -> str:
    """``[█████▏··] ln E 1.20 of 4.61``; evidence against nothing (below 0) is an empty bar."""
    share = min(max(log_e / threshold, 0.0), 1.0) if threshold > 0 and math.isfinite(log_e) else 0.0
    cells = round(share * _BAR_CELLS)
    return f"[{'█' * cells}{'·' * (_BAR_CELLS - cells)}] ln E {log_e:.2f} of {threshold:.2f}"


def _why(why: Explanation) -> list[str]:
    lines = [_field("Why", why.text), _field("  Guard", f"{why.guard}, ln E {why.log_e:.2f} of {why.threshold:.2f}")]
    if why.stable_requests or why.canary_requests:
        what = "failed" if why.guard == "errors" else "slower than the threshold"
        if why.threshold_ms is not None:
            what = f"slower than {why.threshold_ms:.1f} ms"
        lines += [
            _field("  Stable", f"{why.stable_exceeded:,} of {why.stable_requests:,} {what}"),
            _field("  Canary", f"{why.canary_exceeded:,} of {why.canary_requests:,} {what}"),
        ]
    if why.quantile:
        name = f"  p{100 * why.quantile:g}"
        lines.append(_field(name, f"stable {_ms(why.stable_quantile_ms)}, canary {_ms(why.canary_quantile_ms)}"))
    return lines


def _ms(value: float | None) -> str:
    return "infinite" if value is None else f"{value:.1f} ms"


def _time(at_s: float) -> str:
    return datetime.fromtimestamp(at_s, UTC).strftime("%H:%M:%S")
