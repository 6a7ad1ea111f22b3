"""What the page shows beside the cluster itself, read from disk and from the registry, in the keeper's threads.

`router.control.inventory_keeper` calls these. Each keeps what cannot change any more, so that it is not read again.
"""

from __future__ import annotations

import contextlib
import math
import os
from pathlib import Path
from typing import Any, Final

from divisions.deployments import NAME as DEPLOYMENTS
from divisions.deployments import Deployment, is_worked_on, latest_of
from divisions.house_rows import DeploymentRow, StepRow
from divisions.registry import Registry
from divisions.run_log import log_path
from divisions.versions import REGISTERED_FROM, RunRecord
from router.house.redaction import redacted
from router.house.run_steps import steps_of
from router.house.tables import MOST_CHARACTERS, MOST_CURVES, MOST_RUNS, Curves

MOST_CURVE_METRICS: Final = 12
LOG_TAIL_BYTES: Final = 65_536
MOST_DEPLOYMENTS: Final = 10
MOST_STEPS: Final = 40

Facts = dict[str, Any]


class RunReader:
    """The newest runs, their curves, and the steps of the newest one that trained."""

    def __init__(self, registry: Registry, home: Path) -> None:
        self._registry = registry
        self._home = home
        self._curves: dict[str, Curves] = {}
        self._ended: set[str] = set()

    def __call__(self) -> Facts:
        runs = self._registry.list_runs(None, MOST_RUNS)
        self._curves = {run.run_id: self._curves_of(run) for run in runs[:MOST_CURVES]}
        self._ended = {run.run_id for run in runs if run.ended_at_s}
        trained = [run for run in runs if REGISTERED_FROM not in run.tags]
        steps = steps_of(_tail(log_path(self._home, trained[0].run_id))) if trained else ()
        return {"latest_runs": tuple(runs), "curves": self._curves, "run_steps": steps}

    def _curves_of(self, run: RunRecord) -> Curves:
        known = self._curves.get(run.run_id)
        if known is not None and run.run_id in self._ended:
            return known
        found = {}
        for name in sorted(run.metrics, key=_rank)[:MOST_CURVE_METRICS]:
            by_step = dict(self._registry.metric_history(run.run_id, name))  # of a step that came twice, the last
            if len(by_step) > 1:
                found[name] = [point for point in sorted(by_step.items()) if math.isfinite(point[1])]
        return found


def _rank(name: str) -> tuple[bool, str]:
    return not any(word in name for word in ("auc", "loss")), name


def _tail(path: Path) -> str:
    """The end of a log; empty without one, as for a run of another machine."""
    with contextlib.suppress(OSError), path.open("rb") as file:
        file.seek(max(0, os.fstat(file.fileno()).st_size - LOG_TAIL_BYTES))
        return file.read(LOG_TAIL_BYTES).decode("utf-8", "replace")
    return ""


class DeploymentReader:
    """The latest deployments from this home; read again when they change, or while one is unfinished."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self._mark: tuple[int, ...] = ()
        self._known: list[Deployment] = []

    def __call__(self) -> Facts:
        mark = _mark_of(self._home / DEPLOYMENTS)
        if mark != self._mark:
            self._known = latest_of(self._home, MOST_DEPLOYMENTS)
            self._mark = mark
        return {"deployments": self._rows()}

    def _rows(self) -> tuple[DeploymentRow, ...]:
        newest: set[str] = set()
        rows = []
        for each in self._known:
            # One at a time goes to a target, so of several that are unfinished only the newest can be under way.
            is_newest = each.target not in newest
            newest.add(each.target)
            is_open = not each.ending and is_newest
            rows.append(_deployment_row(each, is_worked_on(self._home, each.target) if is_open else False))
        return tuple(rows)


def _deployment_row(deployment: Deployment, is_under_way: bool | None) -> DeploymentRow:
    steps = deployment.steps[-MOST_STEPS:]
    return DeploymentRow(
        deployment.number,
        deployment.target,
        deployment.model,
        deployment.version,
        deployment.endpoint,
        deployment.who,
        deployment.began_s,
        deployment.ended_s,
        deployment.ending,
        is_under_way,
        tuple(
            StepRow(
                each.name,
                each.title[:MOST_CHARACTERS],
                each.began_s,
                each.ended_s,
                redacted(each.detail)[:MOST_CHARACTERS],
                redacted(each.error)[:MOST_CHARACTERS],
            )
            for each in steps
        ),
    )


def _mark_of(path: Path) -> tuple[int, ...]:
    try:
        status = path.stat()
    except FileNotFoundError:
        return ()
    return status.st_mtime_ns, status.st_size, status.st_ino
