"""The report of an endpoint: joins its log with its outcomes, and says how well each version did. Composition root."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from divisions.outcomes import OutcomesReport, Quality, VersionAlert, read_report, write_report
from divisions.pipeline.definition import Comparison, Gate, Pipeline
from divisions.prediction_log import LogPolicy, place_of
from divisions.settings import Settings
from trainers.outcomes.join import Joined, join, read_log
from trainers.outcomes.quality import quality
from trainers.outcomes.store import OutcomeStore

MAX_PERIODS = 100
NEWEST = 2
"""Periods that an alert looks at: the newest one is not over yet."""


def gate_of(gates: Sequence[Gate]) -> float:
    """What the AUC had to be above; 0 without such a gate.

    >>> gate_of([Gate("auc", Comparison.GREATER, 0.85), Gate("auc_lower_bound", Comparison.GREATER, 0.5)])
    0.85
    """
    above = (Comparison.GREATER, Comparison.GREATER_EQUAL)
    names = ("auc", "auc_lower_bound")
    return max((gate.threshold for gate in gates if gate.metric in names and gate.comparison in above), default=0.0)


def period_of(at_s: float, period: str) -> str:
    """The day, the week (by its Monday) or the month of a time, in UTC.

    >>> period_of(1_767_225_600.0, "week")
    '2025-12-29'
    """
    day = dt.datetime.fromtimestamp(at_s, dt.UTC).date()
    if period == "week":
        day -= dt.timedelta(days=day.weekday())
    return day.isoformat()[:7] if period == "month" else day.isoformat()


def assess(
    endpoint: str, joined: Joined, gate: float, period: str, now_s: float, before: OutcomesReport | None
) -> OutcomesReport:
    """The report. An alert that goes on keeps its beginning. Pure."""
    versions: list[Quality] = []
    periods: list[Quality] = []
    names_N = np.array([period_of(at_s, period) for at_s in joined.times_N.tolist()], dtype=str)
    for version in sorted(set(joined.versions_N.tolist())):
        of_version = joined.versions_N == version
        versions.append(_quality(version, "", joined, of_version))
        names = sorted(set(names_N[of_version].tolist()))[-MAX_PERIODS:]
        periods += [_quality(version, name, joined, of_version & (names_N == name)) for name in names]
    old = {alert.version: alert for alert in before.alerts} if before is not None else {}
    return OutcomesReport(
        endpoint,
        now_s,
        gate,
        joined.joined + joined.unknown + joined.early + joined.ambiguous,
        joined.joined,
        joined.unknown,
        joined.early,
        joined.ambiguous,
        tuple(versions),
        tuple(periods),
        tuple(
            _alert(found, gate, now_s, old.get(each.version))
            for each in versions
            if (found := _below(each, periods, gate)) is not None
        ),
    )


def _quality(version: str, period: str, joined: Joined, chosen_N: Any) -> Quality:
    return quality(version, period, joined.labels_N[chosen_N], joined.scores_N[chosen_N])


def _below(of_version: Quality, periods: Sequence[Quality], gate: float) -> Quality | None:
    """What shows that a version is below the gate: all of its time, or one of its newest periods. A version that was
    good for long would hide for long that it no longer is."""
    newest = [each for each in periods if each.version == of_version.version][-NEWEST:]
    below = [each for each in (of_version, *newest) if each.worst_case is not None and each.worst_case < gate]
    return min(below, key=lambda each: each.worst_case or 0.0, default=None)


def _alert(found: Quality, gate: float, now_s: float, old: VersionAlert | None) -> VersionAlert:
    worst_case = found.worst_case or 0.0
    if old is None:
        return VersionAlert(found.version, gate, worst_case, found.predictions, now_s)
    return msgspec.structs.replace(old, gate=gate, worst_case=worst_case, labels=found.predictions)


def report(settings: Settings, pipeline: Pipeline, period: str, now_s: float) -> OutcomesReport:
    """Makes the report of a pipeline's endpoint, and saves it.

    Raises:
        ArtifactStoreError: the log cannot be read.
        InputError: the outcomes cannot be read.
    """
    endpoint, home = pipeline.deployment.endpoint, Path(settings.home)
    place = place_of(pipeline.serving.log or LogPolicy(), home)
    joined = join(read_log(place, endpoint, settings.s3), OutcomeStore(home, endpoint).read())
    gate = gate_of(pipeline.validation.gates)
    found = assess(endpoint, joined, gate, period, now_s, read_report(home, endpoint))
    write_report(home, found)
    return found
