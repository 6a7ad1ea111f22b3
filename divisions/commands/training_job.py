"""``divisions run --target``: the run as a training job of SageMaker."""

from __future__ import annotations

import datetime as dt
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from divisions.commands.output import Format, print_json
from divisions.settings import load_settings

if TYPE_CHECKING:
    from deploy.training_job.launch import TrainingLaunch

EXIT_INTERRUPTED = 130


def run_at(
    pipeline: Path,
    target: str,
    targets: Path,
    input_uri: str,
    today: dt.date | None,
    *,
    is_dry: bool,
    output: Format,
) -> int:
    """Starts the job, or goes on with it; the exit status is 130 when a Ctrl-C has ended the command, not the job."""
    from deploy.training_job.launch import JobOptions, TrainingLaunch
    from divisions.commands.progress import shown_progress

    options = JobOptions(pipeline, target, targets, input_uri, today)
    is_json = output is Format.JSON
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with shown_progress(sys.stderr if is_json else sys.stdout) as progress:
        launch = TrainingLaunch(options, load_settings(), progress)
        if is_dry:
            lines = launch.plan()
        else:
            try:
                version = launch.run()
            except KeyboardInterrupt:
                interrupted = True
            else:
                interrupted = False
    if is_dry:
        if is_json:
            print_json({"target": target, "plan": lines})
        else:
            print("\n".join(lines))
        return 0
    if interrupted:
        _offer_to_stop(launch)
        return EXIT_INTERRUPTED
    if is_json:
        print_json(version)
        return 0
    print(f"{version.model} {version.version} {version.validation_status}, auc {version.metrics['auc']:.4f}")
    print(f"Deploy it with: divisions deploy --pipeline {pipeline} --target {target} --version {version.version}")
    return 0


def _offer_to_stop(launch: TrainingLaunch) -> None:
    """The job costs money until it ends, and a Ctrl-C may mean the command only: people decide."""
    if not launch.name:
        print("interrupted: no job was started", file=sys.stderr)
        return
    goes_on = f"training job {launch.name} goes on at SageMaker, and the same command follows it again"
    if not sys.stdin.isatty():
        print(
            f"{goes_on}; `aws sagemaker stop-training-job --training-job-name {launch.name}` stops it", file=sys.stderr
        )
        return
    if typer.confirm(f"Stop training job {launch.name}, too?", default=False, err=True):
        launch.stop()
        print(f"training job {launch.name} is being stopped", file=sys.stderr)
    else:
        print(f"{goes_on}", file=sys.stderr)
