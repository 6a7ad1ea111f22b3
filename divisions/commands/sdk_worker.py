"""``python -m divisions.commands.sdk_worker``: does one job of the Python SDK, see `divisions.sdk.jobs`.

The job comes by standard input. Standard output carries the outcome and nothing else: what libraries print goes to
standard error.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from divisions.environment import account_environment, set_default_environment
from divisions.errors import DivisionsError, PipelineError, TrainingError
from divisions.sdk import jobs
from divisions.sdk.jobs import Deploy, Deployed, Done, Failed, Find, Job, Models, Register, Runs, Train
from divisions.settings import load_settings

if TYPE_CHECKING:
    from divisions.registry import Registry


def main() -> int:
    """Returns the exit status: 0 if the job is done, 1 if not, 130 after a signal."""
    # If SIGTERM stops a run, its end must still be recorded in the registry.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with os.fdopen(os.dup(1), "wb") as output:
        os.dup2(2, 1)
        outcome = answer(jobs.decode(sys.stdin.buffer.read(), Job))  # type: ignore[arg-type]  # a union as a value
        output.write(jobs.encode(outcome))
    return 1 if isinstance(outcome, Failed) else 0


def answer(job: Job) -> Done | Failed:
    """Does a job."""
    try:
        set_default_environment(account_environment())
        return Done(msgspec.Raw(jobs.encode(_do(job))))
    except DivisionsError as error:
        if isinstance(error, PipelineError):  # Its text has the place of each error.
            return Failed(PipelineError.__name__, str(error))
        return Failed(type(error).__name__, error.message, error.remedy)
    except Exception as error:
        import logging

        logging.getLogger(__name__).exception("the job failed")
        text = " ".join(f"{type(error).__name__}: {error}".split())[:300]
        return Failed(TrainingError.__name__, f"unexpected {text}", "the traceback is on standard error")


def _do(job: Job) -> object:
    match job:
        case Train():
            return _train(job)
        case Find():
            return _registry().get_version(job.model, job.number)
        case Models():
            return _registry().list_versions(job.model)
        case Runs():
            return _registry().list_runs(job.pipeline, job.limit)
        case Register():
            return _register(job)
        case Deploy():
            return _deploy(job)


def _train(job: Train) -> object:
    from divisions.commands.progress import shown_progress
    from trainers.start import StartOptions, start

    options = StartOptions(
        Path(job.pipeline), job.input_uri, job.today, is_deployed=job.is_deployed, uses_ray=job.uses_ray
    )
    with shown_progress(sys.stderr) as progress:
        return start(options, load_settings(), progress)


def _registry() -> Registry:
    from divisions.registry import Registry

    settings = load_settings()
    return Registry(settings.home, settings.tracking_uri, artifacts=settings.artifacts)


def _register(job: Register) -> object:
    from deploy.registration import register_again

    return register_again(load_settings(), _registry(), job.model, job.version)


def _deploy(job: Deploy) -> object:
    from deploy.shipping.console import LineConsole
    from divisions.clock import SystemClock
    from divisions.commands.deploy import Wanted, ship

    wanted = Wanted(Path(job.pipeline), job.target, Path(job.targets), job.version, job.is_forced, job.overrides_others)
    console = LineConsole(SystemClock(), lambda line: print(line, file=sys.stderr, flush=True))
    release, ending = ship(wanted, console, is_watched=job.is_watched)
    return Deployed(release.model, release.version, job.target, ending.value)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
