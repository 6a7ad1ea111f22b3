"""``divisions deploy`` and ``divisions deployments``."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

from divisions.commands.default_pipeline import PIPELINE, require_pipeline
from divisions.commands.output import Format, Output, print_json, print_json_line, table
from divisions.commands.streams import tells_if_interrupted
from divisions.commands.targets import TARGETS
from divisions.settings import load_settings

if TYPE_CHECKING:
    from deploy.shipping.console import Console
    from deploy.shipping.release import Ending, Plan, Release
    from deploy.shipping.target import Target
    from divisions.deployments import Deployment

EXIT_ROLLED_BACK = 1


def deploy(
    pipeline: Annotated[Path, typer.Option(help="The pipeline file: what to serve, where, and how.")] = PIPELINE,
    target: Annotated[str, typer.Option(help="A target of the file of targets, or `local`.")] = "local",
    targets: Annotated[Path, typer.Option(help="The file of targets.")] = TARGETS,
    version: Annotated[
        str, typer.Option(help="A version, a registry number or an alias; the default is the newest that passed.")
    ] = "",
    rollback: Annotated[
        bool, typer.Option("--rollback", help="Go back to the version that the target had before, or to --version.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would be done, and do nothing.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Even if this very rollout was rolled back before.")] = False,
    force_conflicts: Annotated[
        bool, typer.Option("--force-conflicts", help="Take back what others have changed on the target.")
    ] = False,
    no_watch: Annotated[bool, typer.Option("--no-watch", help="Do not wait for the rollout's end.")] = False,
    output: Output = Format.TEXT,
) -> int:
    """Ship a registered version to a target, step by step; run it again to go on after a failure.

    The exit status is 1 when the version was rolled back.
    """
    from deploy.shipping.release import Ending

    wanted = Wanted(pipeline, target, targets, version, force, force_conflicts, rollback)
    if dry_run:
        with _opened(wanted) as (release, place):
            place.authenticate()
            _show_plan(release, target, place.plan(release, is_watched=not no_watch), output)
        return 0
    _, ending = ship(wanted, _console(output), is_watched=not no_watch)
    return EXIT_ROLLED_BACK if ending is Ending.ROLLED_BACK else 0


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a user wants to be deployed, and where; the options of ``divisions deploy``.

    An empty ``version`` is the newest that passed or, to go back, the one that the target had before.
    """

    pipeline: Path
    target: str
    targets: Path
    version: str
    is_forced: bool
    overrides_others: bool
    goes_back: bool = False


_RESUMABLE = (
    "steps that are done stay, and a rollout that has begun goes on; the same command goes on from there, "
    "`divisions deployments` lists it"
)


def ship(wanted: Wanted, console: Console, *, is_watched: bool) -> tuple[Release, Ending]:
    """Deploys a release; returns it, and how that ended.

    Raises:
        DivisionsError: see `deploy.shipping.run.deploy`.
    """
    from deploy.shipping.deployments import DeploymentJournal
    from deploy.shipping.opening import caller
    from deploy.shipping.run import deploy as run_deployment
    from divisions.clock import SystemClock

    clock = SystemClock()
    with tells_if_interrupted(_RESUMABLE), _opened(wanted) as (release, place):
        journal = DeploymentJournal(load_settings().home, clock)
        return release, run_deployment(place, release, journal, console, clock, who=caller(), is_watched=is_watched)


@contextmanager
def _opened(wanted: Wanted) -> Iterator[tuple[Release, Target]]:
    """The release that is wanted, and its target."""
    from deploy.shipping.deployments import DeploymentJournal
    from deploy.shipping.opening import opened_target, release_of, version_before
    from deploy.shipping.target import Opening
    from deploy.shipping.target_file import load_target
    from divisions.clock import SystemClock

    settings, spec, clock = load_settings(), load_target(wanted.targets, wanted.target), SystemClock()
    version = wanted.version or "staging"
    release, definition, registered = release_of(settings, require_pipeline(wanted.pipeline), version)
    opening = Opening(
        wanted.target,
        settings,
        definition,
        registered,
        clock,
        is_forced=wanted.is_forced,
        overrides_others=wanted.overrides_others,
        goes_back=wanted.goes_back,
        pipeline_text=wanted.pipeline.read_text(encoding="utf-8"),
    )
    if wanted.goes_back and not wanted.version:
        before = version_before(spec, opening, DeploymentJournal(settings.home, clock), release.endpoint)
        release, _, registered = release_of(settings, wanted.pipeline, before)
        opening = replace(opening, version=registered)
    with opened_target(spec, opening) as place:
        yield release, place


def deployments(
    limit: Annotated[int, typer.Option(min=1, max=1_000, help="How many.")] = 20, output: Output = Format.TEXT
) -> None:
    """List the latest deployments from this home, newest first."""
    from deploy.shipping.deployments import DeploymentJournal
    from divisions.clock import SystemClock

    found = DeploymentJournal(load_settings().home, SystemClock()).latest(limit)
    if output is Format.JSON:
        print_json({"deployments": [msgspec.to_builtins(each) for each in found]})
    elif found:
        print(table(("NUMBER", "TARGET", "MODEL", "VERSION", "BEGAN", "WHO", "ENDING"), [_row(each) for each in found]))
    else:
        print("No deployments: nothing was deployed from this home yet.")


def _console(output: Format) -> Console:
    from deploy.shipping.console import EventConsole, LineConsole
    from divisions.clock import SystemClock

    if output is Format.JSON:
        return EventConsole(SystemClock(), print_json_line)
    return LineConsole(SystemClock(), lambda line: print(line, flush=True))


def _show_plan(release: Release, target: str, plan: Plan, output: Format) -> None:
    if output is Format.JSON:
        steps = [{"name": step.name, "title": step.title} for step in plan.steps]
        print_json(
            {"target": target, "release": str(release), "steps": steps, "changes": plan.changes, "costs": plan.costs}
        )
        return
    if not plan.steps:
        print(f"{target} serves {release} already: nothing would be changed")
        return
    lines = [*plan.changes, *(f"costs {cost}" for cost in plan.costs), "", "steps:"]
    lines += [f"  {number}. {step.title}" for number, step in enumerate(plan.steps, 1)]
    sys.stdout.write("\n".join(lines) + "\n")


def _row(deployment: Deployment) -> tuple[str, ...]:
    from datetime import UTC, datetime

    began = datetime.fromtimestamp(deployment.began_s, UTC)
    last = deployment.last_step
    where = f"unfinished, in {last.name!r}" if last is not None else "unfinished"
    return (
        str(deployment.number),
        deployment.target,
        deployment.model,
        deployment.version,
        f"{began:%Y-%m-%d %H:%M}",
        deployment.who,
        deployment.ending or where,
    )
