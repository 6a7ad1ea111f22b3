"""Runs of the registry: the newest, one by the beginning of its id, and its curves."""

from __future__ import annotations

import contextlib
import tempfile
from pathlib import Path

import msgspec

from divisions.errors import RegistryError
from divisions.registry import Registry
from divisions.registry_records import best_epoch
from divisions.run_log import ARTIFACT, log_path
from divisions.trials import ARTIFACT as TRIALS
from divisions.trials import TAG, Trial, from_table
from divisions.versions import RegisteredVersion, RunRecord

MOST_RUNS = 1_000
_LEAST_CHARACTERS = 4


class RunReport(msgspec.Struct, frozen=True):
    """A run, the versions that it has registered, the values of each metric by epoch, and the trials of its search.

    ``epochs`` were trained; of trees not each has a value. ``best_epoch`` has the lowest validation loss.
    """

    run: RunRecord
    versions: tuple[RegisteredVersion, ...]
    curves: dict[str, list[float]]
    trials: tuple[Trial, ...] = ()
    epochs: int = 0
    best_epoch: int | None = None


def find_run(registry: Registry, text: str) -> RunRecord:
    """The run whose id begins with ``text``; ``latest`` is the newest one.

    Raises:
        RegistryError: there is none, or more than one.
    """
    if text == "latest":
        newest = registry.list_runs(None, 1)
        if not newest:
            raise RegistryError("the registry has no runs", remedy="start one with `divisions run`")
        return newest[0]
    if len(text) == 32:
        return registry.get_run(text)
    found = [run for run in registry.list_runs(None, MOST_RUNS) if run.run_id.startswith(text)]
    if len(text) < _LEAST_CHARACTERS or not found:
        raise RegistryError(
            f"the registry has no run {text!r}",
            remedy=f"write at least {_LEAST_CHARACTERS} characters of an id of `divisions runs list`, or `latest`",
        )
    if len(found) > 1:
        raise RegistryError(f"{len(found)} runs begin with {text}", remedy="write more of the id")
    return found[0]


def report_of(registry: Registry, run: RunRecord) -> RunReport:
    """The run with its versions and curves. A metric that was written once is no curve."""
    versions = tuple(version for version in registry.list_versions() if version.run_id == run.run_id)
    histories = {name: registry.metric_history(run.run_id, name) for name in sorted(run.metrics)}
    curves = {name: [value for _, value in sorted(history)] for name, history in histories.items() if len(history) > 1}
    losses = histories.get("valid_loss", [])
    epochs = max((step for step, _ in losses), default=0)
    return RunReport(run, versions, curves, _trials_of(registry, run), epochs, best_epoch(losses))


def _trials_of(registry: Registry, run: RunRecord) -> tuple[Trial, ...]:
    """None of a run that has not searched, nor where its table cannot be read: the run's tags have the sum of it."""
    if TAG not in run.tags:
        return ()
    with contextlib.suppress(RegistryError, OSError, ValueError), tempfile.TemporaryDirectory() as folder:
        registry.download_artifact(run.run_id, TRIALS, Path(folder))
        return from_table((Path(folder) / TRIALS).read_text())
    return ()


def log_of(registry: Registry, home: Path, run: RunRecord) -> str:
    """What the run has printed: from this home, else from its artifacts.

    Raises:
        RegistryError: neither has it.
    """
    try:
        return log_path(home, run.run_id).read_text(errors="replace")
    except OSError:
        pass
    try:
        if ARTIFACT not in registry.artifact_sizes(run.run_id, ""):
            raise RegistryError("it is not there")
        with tempfile.TemporaryDirectory() as folder:
            registry.download_artifact(run.run_id, ARTIFACT, Path(folder))
            return (Path(folder) / ARTIFACT).read_text(errors="replace")
    except (RegistryError, OSError) as error:
        raise RegistryError(
            f"the log of run {run.run_id} is neither in {log_path(home, run.run_id)} nor among its artifacts: {error}",
            remedy="a run that was killed leaves it only in the home of its machine; the newest 200 are kept there",
        ) from None
