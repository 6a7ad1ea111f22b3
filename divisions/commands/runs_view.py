"""Runs as text: a row of a list, one run with its gates and curves, several side by side. Pure."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from itertools import zip_longest
from typing import TYPE_CHECKING

from divisions.commands.output import age, metric, table
from divisions.trials import TAG, TAG_BEST, TAG_ENDS, TrialEnd

if TYPE_CHECKING:
    from divisions.registry_runs import RunReport
    from divisions.versions import RegisteredVersion, RunRecord

HEADER = ("RUN", "PIPELINE", "STATUS", "STARTED", "TOOK", "AUC", "DRIFT", "VERSION")
SHOWN_CHARACTERS = 8
_BARS = "▁▂▃▄▅▆▇█"
_CURVE_WIDTH = 50
_MOST_TRIALS = 20
_MOST_CHARACTERS = 44
"""Of a value beside others."""
_NAMES = {"auc": "Validation AUC", "drift_score": "Drift score", "auc_lower_bound": "AUC, lower bound"}
_OPERATORS = {">": lambda a, b: a > b, ">=": lambda a, b: a >= b, "<": lambda a, b: a < b, "<=": lambda a, b: a <= b}
_DATA = (
    "input_uri",
    "partition",
    "data_sha256",
    "code",
    "git_commit",
    "python",
    "training_device",
    "training_precision",
)
"""Facts of the lineage in which runs are compared."""


def row(run: RunRecord, versions: Sequence[RegisteredVersion]) -> tuple[str, ...]:
    return (
        run.run_id[:SHOWN_CHARACTERS],
        run.pipeline or "-",
        run.status,
        _time(run.started_at_s),
        _took(run),
        _number(run.metrics.get("auc")),
        _number(run.metrics.get("drift_score")),
        ", ".join(f"{each.model} {each.version}" for each in versions) or "-",
    )


def render(report: RunReport) -> list[str]:
    """One run, line by line."""
    run, params = report.run, report.run.params
    state = f"{run.status} after {_took(run)}" if run.ended_at_s else run.status
    lines = [f"Run {run.run_id[:SHOWN_CHARACTERS]}   {run.pipeline}   {_time(run.started_at_s)} UTC   {state}", ""]
    facts = [
        ("Id", run.run_id),
        ("Kind", params.get("kind", "")),
        ("Optimizer", params.get("optimizer", "")),
        ("LR schedule", params.get("schedule", "")),
        ("Epochs", _epochs(report)),
        ("Decision", _decision(run)),
        ("Dataset", _dataset(run)),
        ("GPU", _gpu(run)),
        ("Trials", _trials_told(run)),
    ]
    width = max(len(name) for name, _ in facts) + 2
    lines += [f"{name + ':':<{width}}{value}" for name, value in facts if value]
    gates = [_gate_line(gate, run.metrics) for gate in params.get("gates", "").split("; ") if gate]
    lines += ["", *gates] if gates else []
    lines += ["", *(_promotion(version) for version in report.versions)] if report.versions else []
    lines += ["", *_trials(report)] if report.trials else []
    curves = [(name, values) for name, values in report.curves.items() if name != "learning_rate"]
    if curves:
        width = max(len(name) for name, _ in curves) + 2
        lines += ["", *(f"{name:<{width}}{curve(values)}  {_ends(values)}" for name, values in curves)]
    return lines


def compare(runs: Sequence[RunRecord]) -> list[str]:
    """What differs in parameters and data, and all metrics; the best value of no metric is marked."""
    header = ("", *(run.run_id[:SHOWN_CHARACTERS] for run in runs))
    settings = [{**run.params, **{name: run.tags[name] for name in _DATA if name in run.tags}} for run in runs]
    names = sorted({name for each in settings for name in each})
    rows = [(name, [each.get(name, "-") for each in settings]) for name in names]
    differing = [(name, *_parted(values)) for name, values in rows if len(set(values)) > 1]
    metrics = sorted({name for run in runs for name in run.metrics})
    numbers = [(name, *(_number(run.metrics.get(name)) for run in runs)) for name in metrics]
    state = [
        ("status", *(run.status for run in runs)),
        ("started", *(_time(run.started_at_s) for run in runs)),
        ("took", *(_took(run) for run in runs)),
    ]
    lines = [table(header, state), ""]
    lines.append(table(("DIFFERENT", *header[1:]), differing) if differing else "No parameter and no data differ.")
    return [*lines, "", table(("METRIC", *header[1:]), numbers)] if numbers else lines


def curve(values: Sequence[float], width: int = _CURVE_WIDTH) -> str:
    """A curve as bars, from the lowest value to the highest.

    >>> curve([0.0, 0.5, 1.0]), curve([2.0, 2.0]), curve([1.0, float("nan")])
    ('▁▅█', '▁▁', '▁?')
    """
    count = min(width, len(values))
    chosen = [values[(index * (len(values) - 1)) // max(1, count - 1)] for index in range(count)]
    finite = [value for value in chosen if math.isfinite(value)]
    low, high = (min(finite), max(finite)) if finite else (0.0, 0.0)
    span = high - low or 1.0

    def bar(value: float) -> str:
        return _BARS[round((value - low) / span * (len(_BARS) - 1))] if math.isfinite(value) else "?"

    return "".join(map(bar, chosen))


def _ends(values: Sequence[float]) -> str:
    return f"{_number(values[0])} to {_number(values[-1])}"


def _gate_line(gate: str, metrics: Mapping[str, float]) -> str:
    """``✓ Validation AUC: 0.912 (threshold: > 0.85)``; a question mark if it was not measured."""
    measured, operator, threshold = gate.split(" ", 2)
    value = metrics.get(measured)
    name = _NAMES.get(measured, measured)
    if value is None:
        return f"? {name}: not measured (threshold: {operator} {threshold})"
    mark = "✓" if _OPERATORS[operator](value, float(threshold)) else "✗"
    return f"{mark} {name}: {_number(value)} (threshold: {operator} {threshold})"


def _promotion(version: RegisteredVersion) -> str:
    name = f"{version.model} {version.version}"
    if version.validation_status.value != "passed":
        return f"✗ Registered as {version.validation_status.value}: {name}, {version.message or 'no reason'}"
    stages = [alias.capitalize() for alias in version.aliases] + (["Archived"] if version.is_archived else [])
    return f"→ Promoted to registry → {', '.join(stages) or 'no stage any more'}: {name}"


def _trials_told(run: RunRecord) -> str:
    if TAG not in run.tags:
        return ""
    best = f"; the best is trial {run.tags[TAG_BEST]}" if TAG_BEST in run.tags else ""
    return f"{run.tags[TAG]}: {run.tags.get(TAG_ENDS, '?')}{best}"


def _trials(report: RunReport) -> list[str]:
    """The best trials, each with what it has tried, and then those that failed, with the reason."""
    failed = [trial for trial in report.trials if trial.end is TrialEnd.FAILED]
    others = [trial for trial in report.trials if trial.end is not TrialEnd.FAILED]
    ranked = sorted(others, key=lambda trial: (trial.valid_loss is None, trial.valid_loss or 0.0, trial.number))
    shown = [*ranked[:_MOST_TRIALS], *failed[:_MOST_TRIALS]]
    names = list(dict.fromkeys(name for trial in shown for name in trial.params))
    rows = [
        (
            f"{trial.number}{'*' * (str(trial.number) == report.run.tags.get(TAG_BEST))}",
            _number(trial.valid_loss),
            _number(trial.valid_auc),
            str(trial.epochs),
            f"{trial.end}{f': {_short(trial.reason)}' if trial.reason else ''}",
            *(_short(json.dumps(trial.params.get(name, "-"))) for name in names),
        )
        for trial in shown
    ]
    lines = table(("TRIAL", "VALID_LOSS", "VALID_AUC", "EPOCHS", "END", *names), rows).splitlines()
    left = len(report.trials) - len(shown)
    return [*lines, f"{left} more trials: `--output json` has all of them"] if left else lines


def _epochs(report: RunReport) -> str:
    wanted = report.run.params.get("epochs", "")
    if not report.epochs:
        return wanted
    return f"{report.epochs:,} of {wanted or '?'}{'' if report.best_epoch is None else f', best {report.best_epoch:,}'}"


def _decision(run: RunRecord) -> str:
    """``max_f1, yes from 0.354 on``; empty for runs without a threshold."""
    rule, threshold = run.params.get("decision", ""), run.metrics.get("decision_threshold")
    return ", ".join(filter(None, [rule, "" if threshold is None else f"yes from {threshold:.3g} on"]))


def _dataset(run: RunRecord) -> str:
    uri = run.tags.get("input_uri") or run.tags.get("divisions.input_uri", "")
    counts = [
        f"{int(run.metrics['customers']):,} customers" if "customers" in run.metrics else "",
        f"sha256 {run.tags['data_sha256'][:12]}" if "data_sha256" in run.tags else "",
    ]
    return ", ".join([uri, *filter(None, counts)])


def _gpu(run: RunRecord) -> str:
    """``Tesla T4, 94 % used, 3.2 of 15.0 GB at most, trained in float32``; empty for runs that did not note it."""
    device, precision = run.tags.get("training_device", ""), run.tags.get("training_precision", "")
    trained = f"trained in {precision}" if precision else ""
    if device in {"", "CPU"}:
        return ", ".join(filter(None, ["none", trained])) if device else ""
    used, memory, total = (
        run.metrics.get(f"gpu_{name}") for name in ("utilization_percent", "memory_gb", "memory_total_gb")
    )
    parts = [
        device,
        "use not known" if used is None else f"{used:.0f} % used",
        "" if memory is None else f"{memory:.1f}{'' if total is None else f' of {total:.1f}'} GB at most",
        trained,
    ]
    return ", ".join(filter(None, parts))


def _took(run: RunRecord) -> str:
    return age(run.ended_at_s - run.started_at_s) if run.ended_at_s else "-"


def _time(at_s: float) -> str:
    return datetime.fromtimestamp(at_s, UTC).strftime("%Y-%m-%d %H:%M") if at_s else "-"


def _number(value: float | None) -> str:
    return "-" if value is None else metric(value)


def _parted(values: Sequence[str]) -> list[str]:
    """Values that differ, short, and so that one sees where: a long beginning that all have is left out.

    >>> _parted(["s3://raw-events-of-all-our-customers/partition=2025-01-13", "s3://raw-events-of-all-our-customers/none"])
    ['…-of-all-our-customers/partition=2025-01-13', '…-of-all-our-customers/none']
    """
    if max(map(len, values)) <= _MOST_CHARACTERS:
        return list(values)
    differs_at = next(i for i, at in enumerate(zip_longest(*values)) if len(set(at)) > 1)
    shared = max(0, differs_at - _MOST_CHARACTERS // 2)
    return [_short(f"…{each[shared:]}" if shared else each) for each in values]


def _short(text: str) -> str:
    return text if len(text) <= _MOST_CHARACTERS else text[: _MOST_CHARACTERS - 1] + "…"
