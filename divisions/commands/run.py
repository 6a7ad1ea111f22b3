"""``divisions run``."""

from __future__ import annotations

import sys
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from divisions.commands.default_pipeline import start_command
from divisions.commands.output import Format, Output, print_json
from divisions.commands.streams import tells_if_interrupted
from divisions.commands.targets import TARGETS
from divisions.errors import UsageError
from divisions.settings import load_settings

if TYPE_CHECKING:
    from trainers.run import RunOutcome


def run(
    pipeline: Annotated[Path, typer.Argument(help="The pipeline file.")],
    input_uri: Annotated[
        str, typer.Option("--input", metavar="URI", help="Raw events, in place of the file's input.")
    ] = "",
    today: Annotated[
        datetime | None, typer.Option(formats=["%Y-%m-%d"], help="The day of ${today}; the default is today, UTC.")
    ] = None,
    no_deploy: Annotated[bool, typer.Option("--no-deploy", help="Register the version, but roll nothing out.")] = False,
    no_ray: Annotated[bool, typer.Option("--no-ray", help="Run every stage in this process.")] = False,
    trials: Annotated[
        int | None, typer.Option(metavar="N", help="Search hyperparameters: how many sets are tried.")
    ] = None,
    budget: Annotated[
        str, typer.Option(metavar="TIME", help="How long the search may take, such as 30m, which is the default.")
    ] = "",
    watch: Annotated[bool, typer.Option("--watch", help="Stay and show the rollout to its end.")] = False,
    target: Annotated[
        str, typer.Option(help="Train as a job of this target, of kind sagemaker, and register its model here.")
    ] = "",
    targets: Annotated[Path, typer.Option(help="The file of targets.")] = TARGETS,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="With --target: show the job and what it costs, and do nothing.")
    ] = False,
    output: Output = Format.TEXT,
) -> int:
    """Run a pipeline: ingest, train, validate, register, roll out."""
    import signal

    day = today.date() if today else None
    if target:
        from divisions.commands.training_job import run_at

        if watch or no_ray:
            raise UsageError(
                "--target takes neither --watch nor --no-ray", remedy="leave them out: the job runs at SageMaker"
            )
        if trials is not None or budget:
            raise UsageError(
                "--target takes neither --trials nor --budget",
                remedy="write trials and budget below stages.training of the pipeline file",
            )
        return run_at(pipeline, target, targets, input_uri, day, is_dry=dry_run, output=output)
    if dry_run:
        raise UsageError("--dry-run shows a job at SageMaker", remedy="name its target with --target")
    from divisions.commands.progress import shown_progress
    from trainers.start import StartOptions, start

    options = StartOptions(
        pipeline_path=pipeline,
        input_uri=input_uri,
        today=day,
        is_deployed=not no_deploy,
        uses_ray=not no_ray,
        trials=trials,
        budget=budget,
    )
    # If SIGTERM stops the run, its end must still be recorded in the registry.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    is_json = output is Format.JSON
    ended = "the run has ended; `divisions runs list` shows it as killed, if it had begun"
    with tells_if_interrupted(ended), shown_progress(sys.stderr if is_json else sys.stdout) as progress:
        outcome = start(options, load_settings(), progress)
    if is_json:
        print_json(outcome)
    else:
        print(f"{outcome.model} {outcome.version} {outcome.validation_status}, auc {outcome.metrics['auc']:.4f}")
        if (next_step := _next_step(outcome, pipeline)) and not watch:
            print(next_step)
    if watch and outcome.rollout:
        from divisions.commands.rollout import watch_to_end

        return watch_to_end(outcome.model, output)
    return 0


def _next_step(outcome: RunOutcome, pipeline: Path) -> str:
    """What to do with the version; empty if it serves already."""
    from divisions.sdk.calls import FINAL_PHASES

    if not outcome.rollout:
        return f"Roll it out with: {start_command(outcome.model, outcome.version, pipeline)}"
    if outcome.rollout in FINAL_PHASES:
        return ""
    return f"Watch its rollout with: divisions rollout watch {outcome.model}"
