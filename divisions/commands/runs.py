"""``divisions runs …``: training runs of the registry, as an experiment's page shows them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from divisions.commands.output import Format, Output, print_json, table
from divisions.commands.runs_view import HEADER, compare, render, row

if TYPE_CHECKING:
    from divisions.registry import Registry
    from divisions.versions import RegisteredVersion, RunRecord

app = typer.Typer(help="Look at training runs.", no_args_is_help=True, rich_markup_mode=None)

Run = Annotated[str, typer.Argument(metavar="RUN", help="The beginning of a run's id, or `latest`.")]


@app.command("list")
def list_runs(
    pipeline: Annotated[str | None, typer.Argument(help="Only runs of this pipeline.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1_000, help="How many at most.")] = 20,
    output: Output = Format.TEXT,
) -> None:
    """List runs, newest first."""
    registry, _ = _opened()
    runs = registry.list_runs(pipeline, limit)
    versions = _versions_by_run(registry)
    if output is Format.JSON:
        print_json({"runs": [_document(run, versions.get(run.run_id, ())) for run in runs]})
        return
    nothing = f"No runs of {pipeline}." if pipeline else "No runs yet. `divisions run PIPELINE` starts one."
    print(table(HEADER, [row(run, versions.get(run.run_id, ())) for run in runs]) if runs else nothing)


@app.command("show")
def show(run: Run, output: Output = Format.TEXT) -> None:
    """Show one run: how it trained, its gates, its curves, and what became of its version."""
    import msgspec

    from divisions.registry_runs import find_run, report_of

    registry, _ = _opened()
    report = report_of(registry, find_run(registry, run))
    if output is Format.JSON:
        trials = msgspec.to_builtins(report.trials)
        epochs = {"epochs": report.epochs, "best_epoch": report.best_epoch}
        print_json({**_document(report.run, report.versions), **epochs, "curves": report.curves, "trials": trials})
    else:
        print("\n".join(render(report)))


@app.command("compare")
def compare_runs(
    runs: Annotated[list[str], typer.Argument(metavar="RUN...", help="Two to five runs.")],
    output: Output = Format.TEXT,
) -> None:
    """Show in which parameters and data runs differ, and all of their metrics."""
    from divisions.errors import UsageError
    from divisions.registry_runs import find_run

    if not 2 <= len(runs) <= 5:
        raise UsageError(f"{len(runs)} runs cannot be compared", remedy="name two to five")
    registry, _ = _opened()
    found = [find_run(registry, each) for each in runs]
    if output is Format.JSON:
        versions = _versions_by_run(registry)
        print_json({"runs": [_document(run, versions.get(run.run_id, ())) for run in found]})
    else:
        print("\n".join(compare(found)))


@app.command("logs")
def logs(run: Run, output: Output = Format.TEXT) -> None:
    """Show what a run has printed."""
    from divisions.registry_runs import find_run, log_of

    registry, home = _opened()
    found = find_run(registry, run)
    text = log_of(registry, home, found)
    if output is Format.JSON:
        print_json({"run_id": found.run_id, "lines": text.splitlines()})
    else:
        print(text, end="")


@app.command("mirror")
def mirror(
    run: Run,
    project: Annotated[str, typer.Option(help="Instead of that of DIVISIONS_WANDB_PROJECT.")] = "",
    output: Output = Format.TEXT,
) -> None:
    """Send a run to Weights & Biases: its parameters, metrics and curves. Each run does so itself if a project is
    set."""
    from divisions.errors import UsageError
    from divisions.registry_runs import find_run
    from divisions.run_mirror import read, send
    from divisions.settings import load_settings

    project = project or load_settings().wandb_project
    if not project:
        raise UsageError("no project is set", remedy="set DIVISIONS_WANDB_PROJECT, or give --project")
    registry, home = _opened()
    found = find_run(registry, run)
    send(read(registry, found), project, home)
    if output is Format.JSON:
        print_json({"run_id": found.run_id, "project": project})
    else:
        print(f"run {found.run_id} is in the project {project} of Weights & Biases")


def _opened() -> tuple[Registry, Any]:
    from divisions.registry import Registry
    from divisions.settings import load_settings

    settings = load_settings()
    return Registry(settings.home, settings.tracking_uri, artifacts=settings.artifacts), settings.home


def _versions_by_run(registry: Registry) -> dict[str, tuple[RegisteredVersion, ...]]:
    found: dict[str, tuple[RegisteredVersion, ...]] = {}
    for version in registry.list_versions():
        found[version.run_id] = (*found.get(version.run_id, ()), version)
    return found


def _document(run: RunRecord, versions: tuple[RegisteredVersion, ...]) -> dict[str, Any]:
    import msgspec

    shown = [
        {"model": each.model, "version": each.version, "validation_status": each.validation_status,
         "aliases": each.aliases, "is_archived": each.is_archived}
        for each in versions
    ]  # fmt: skip
    return {**msgspec.to_builtins(run), "versions": shown}
