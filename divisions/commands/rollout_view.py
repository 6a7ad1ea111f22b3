"""Renders a rollout for a terminal, in the layout of Argo Rollouts. Pure."""

from __future__ import annotations

import math
from datetime import UTC, datetime

from divisions.commands.output import age, percent, table
from divisions.control import FULL_BP
from divisions.status import Evidence, Explanation, RolloutStatus

_MARKS = {
    "PENDING": "◌",
    "WARMING": "◌",
    "SHADOW": "◌",
    "STEP": "◐",
    "BAKE": "◕",
    "PROMOTED": "✔",
    "HOLD": "‖",
    "ROLLING_BACK": "✖",
    "DRAINING": "✖",
    "ROLLED_BACK": "✖",
}
HELD = "HOLD"
_BAR_CELLS = 24
_HISTORY_LINES = 8


def render_rollout(status: RolloutStatus, now_s: float) -> str:
    """All about a rollout: state, weights, both versions, evidence, reason of a rollback, and history."""
    lines = [
        _field("Name", f"{status.endpoint} ({status.model})"),
        _field("Status", f"{_MARKS.get(status.phase, '?')} {status.phase}, for {age(now_s - status.phase_since_s)}"),
        *([_field("Message", status.message)] if status.message else []),
        *([_field("Waits for", f"you: {ways_on(status)}")] if status.phase == HELD else []),
        *([_field("Not on disk", status.unwritten)] if status.unwritten else []),
        *_strategy(status),
        _field("  SetWeight", percent(status.set_weight_bp)),
        _field("  ActualWeight", percent(status.actual_weight_bp)),
        "",
        _field(
            "Stable",
            _version(status.stable_version, status.stable_replicas, status.wanted_stable_replicas),
        ),
        _field("Canary", _canary(status)),
        "",
        *_tree(status),
        "",
        *_evidence(status.evidence),
        *_gate(status, now_s),
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


def ways_on(status: RolloutStatus) -> str:
    """What an operator may do about a rollout that is held."""
    return (
        f"`divisions rollout resume {status.endpoint}` goes on, `… promote` gives {status.canary_version} all traffic, "
        "`… abort` takes it back"
    )


def _gate(status: RolloutStatus, now_s: float) -> list[str]:
    """Who has approved it, and what a policy still asks for."""
    gate = status.gate
    if gate is None:
        return []
    lines = ["", _field("Policy", "waits" if gate.is_waiting else "not met yet" if gate.reasons else "met")]
    lines += [_field("  Missing", str(reason)) for reason in gate.reasons]
    for each in gate.approvals:
        comment = f": {each.comment}" if each.comment else ""
        lines.append(_field("  Approved", f"by {each.name} ({each.role}), {age(now_s - each.at_s)} ago{comment}"))
    return lines


def _strategy(status: RolloutStatus) -> list[str]:
    if not status.is_compared:
        return [_field("Strategy", "All traffic at once, not compared")]
    steps = " → ".join(percent(step) for step in status.steps_bp)
    number = min(status.step_index + 1, len(status.steps_bp))
    return [_field("Strategy", f"Canary {steps}"), _field("  Step", f"{number}/{len(status.steps_bp)}")]


def _field(name: str, value: str) -> str:
    return f"{name + ':':<16}{value}"


def _version(version: str | None, ready: int, wanted: int) -> str:
    return "none" if version is None else f"{version}, {ready}/{wanted} replicas ready"


def _canary(status: RolloutStatus) -> str:
    if status.phase == "PROMOTED":
        return f"none: {status.canary_version} is stable now"
    version = _version(status.canary_version, status.canary_replicas, status.wanted_canary_replicas)
    return f"{version}, {status.canary_requests:,} requests in this step"


def _tree(status: RolloutStatus) -> list[str]:
    """The rollout and its versions, as Argo Rollouts shows a rollout and its replica sets."""
    is_over = status.phase in {"PROMOTED", "ROLLED_BACK"}
    canary_bp = status.actual_weight_bp
    rows = [(f"⟳ {status.endpoint}", "Rollout", f"{_MARKS.get(status.phase, '?')} {status.phase}", _revision(status))]
    versions = []
    if status.stable_version is not None:
        weight_bp = FULL_BP if is_over else FULL_BP - canary_bp
        ready = _ready(status.stable_replicas, status.wanted_stable_replicas)
        versions.append((status.stable_version, ready, f"stable, {percent(weight_bp)}"))
    if status.canary_version is not None and not is_over:
        ready = _ready(status.canary_replicas, status.wanted_canary_replicas)
        what = "shadow, copies only" if status.phase == "SHADOW" else f"canary, {percent(canary_bp)}"
        versions.append((status.canary_version, ready, what))
    for number, (version, ready, what) in enumerate(versions, 1):
        branch = "└──" if number == len(versions) else "├──"
        rows.append((f"{branch}⧉ {status.model}-v{version}", "Version", ready, what))
    return table(("NAME", "KIND", "STATUS", "INFO"), rows).splitlines()


def _revision(status: RolloutStatus) -> str:
    return f"generation {status.generation}, epoch {status.epoch}"


def _ready(ready: int, wanted: int) -> str:
    return f"{'✔' if ready >= wanted else '◌'} {ready}/{wanted} ready"


def _evidence(evidence: Evidence) -> list[str]:
    if not evidence.threshold:
        return [_field("Evidence", "none: nothing was compared")]
    lines = [
        _field("Evidence", f"{evidence.ticks:,} s of traffic; rolls back when a bar is full"),
        _field("  Latency", _bar(evidence.latency_log_e, evidence.threshold)),
        _field("  Errors", _bar(evidence.error_log_e, evidence.error_threshold)),
    ]
    if evidence.split_threshold:
        lines.append(_field("  Split", f"{_bar(evidence.split_log_e, evidence.split_threshold)} (holds)"))
    lines += [
        _field("  Stable", f"{evidence.stable_requests:,} requests, {evidence.stable_errors:,} failed"),
        _field("  Canary", f"{evidence.canary_requests:,} requests, {evidence.canary_errors:,} failed"),
        *_drift(evidence),
    ]
    if evidence.min_detectable is not None and math.isfinite(evidence.min_detectable):
        slower = 100 * (evidence.min_detectable - 1)
        lines.append(_field("  Detects", f"a median slower by {slower:.0f} % or more, at this traffic"))
    if evidence.is_frozen:
        lines.append(_field("  Weaker", "stable has no traffic left; compared with its last traffic"))
    return lines


def _drift(evidence: Evidence) -> list[str]:
    found = []
    if evidence.input_drift_feature:
        found.append(f"inputs {evidence.input_drift:.2f} ({evidence.input_drift_feature})")
    if evidence.prediction_drift:
        found.append(f"predictions {evidence.prediction_drift:.2f}")
    if evidence.training_drift_feature:
        found.append(f"since training {evidence.training_drift:.2f} ({evidence.training_drift_feature})")
    return [_field("  Drift", ", ".join(found))] if found else []


def _bar(log_e: float, threshold: float) -> str:
    """``[█████▏··] ln E 1.20 of 4.61``. Evidence below 0 is an empty bar."""
    share = min(max(log_e / threshold, 0.0), 1.0) if threshold > 0 and math.isfinite(log_e) else 0.0
    cells = round(share * _BAR_CELLS)
    return f"[{'█' * cells}{'·' * (_BAR_CELLS - cells)}] ln E {log_e:.2f} of {threshold:.2f}"


def _why(why: Explanation) -> list[str]:
    strength = f", ln E {why.log_e:.2f} of {why.threshold:.2f}" if why.threshold else ""
    if why.guard in {"inputs", "predictions"}:
        strength = f", drift {why.log_e:.2f} of {why.threshold:.2f}"
    window = f", over {why.window_s:.0f} s" if why.window_s else ""
    lines = [_field("Why", why.text), _field("  Guard", f"{why.guard}{strength}{window}")]
    if why.guard == "split":
        customers = f"{why.stable_requests:,} customers on stable, {why.canary_requests:,} on the canary"
        lines.append(_field("  Counts", customers))
    elif why.guard in {"latency", "errors", "breaker"}:
        what = {"errors": "failed", "breaker": "failed"}.get(why.guard, "slower than the threshold")
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
