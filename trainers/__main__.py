"""``python -m trainers --pipeline FILE``: one run, as ``ray job submit`` starts it."""

from __future__ import annotations

import argparse
import datetime as dt
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec

from divisions.clock import SystemClock
from divisions.errors import DivisionsError, UsageError
from divisions.settings import Settings, load_settings
from trainers.progress import LineProgress, Progress
from trainers.run import PipelineRun, RunOutcome, RunRequest

EXIT_FAILED, EXIT_USAGE = 1, 2


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    # A stopped job must still write down that its run is over.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    # With JSON asked for, standard output belongs to it.
    progress = LineProgress(sys.stderr if options.output == "json" else sys.stdout)
    try:
        outcome = execute(options, load_settings(), progress)
    except DivisionsError as error:
        print(f"error: {error}", file=sys.stderr)
        return EXIT_USAGE if isinstance(error, UsageError) else EXIT_FAILED
    except KeyboardInterrupt:
        print("error: interrupted", file=sys.stderr)
        return 130
    if options.output == "json":
        print(msgspec.json.encode(outcome).decode())
    else:
        print(f"{outcome.model} {outcome.version} is {outcome.validation_status}: {outcome.bundle_path}")
    return 0


def execute(options: argparse.Namespace, settings: Settings, progress: Progress) -> RunOutcome:
    """Runs what the command line asks for.

    Raises:
        DivisionsError: see `PipelineRun.run`.
    """
    from divisions.pipeline_file import load_pipeline
    from divisions.registry import Registry
    from trainers.compute import Compute, InProcess
    from trainers.lineage import git_commit_of

    path = Path(options.pipeline)
    pipeline = load_pipeline(path)
    clock = SystemClock()
    compute: Compute
    if options.no_ray:
        compute = InProcess()
    else:
        from trainers.cluster_file import cluster_address, prepare_environment

        address = cluster_address(settings, options.ray_address)
        prepare_environment(settings)
        from trainers import ray_session
        from trainers.ray_compute import RayCompute

        ray_session.connect(address)
        compute = RayCompute(settings.home / "training", progress)
    gateway_url = "" if options.no_deploy else options.gateway or f"http://{settings.host}:{settings.port}"
    request = RunRequest(
        pipeline=pipeline,
        pipeline_text=path.read_text(encoding="utf-8"),
        today=options.today or dt.datetime.fromtimestamp(clock.wall_s(), dt.UTC).date(),
        input_uri=options.input,
        gateway_url=gateway_url,
        git_commit=git_commit_of(path.absolute().parent),
    )
    registry = Registry(settings.home, settings.tracking_uri, clock)
    return PipelineRun(settings, registry, compute, progress, clock).run(request)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m trainers", description="Run a pipeline: from raw events to a rollout."
    )
    parser.add_argument("--pipeline", required=True, metavar="FILE", help="the pipeline file")
    parser.add_argument("--input", default="", metavar="URI", help="raw events, in place of the file's input")
    parser.add_argument("--today", type=dt.date.fromisoformat, metavar="YYYY-MM-DD", help="the day of ${today} (UTC)")
    parser.add_argument("--no-deploy", action="store_true", help="register the version, but start no rollout")
    parser.add_argument("--no-ray", action="store_true", help="run every stage in this process")
    parser.add_argument("--ray-address", default="", metavar="HOST:PORT", help="the Ray cluster, if not this home's")
    parser.add_argument("--gateway", default="", metavar="URL", help="the gateway to deploy to, if not this home's")
    parser.add_argument("--output", choices=["text", "json"], default="text", help="how to print the outcome")
    return parser


if __name__ == "__main__":
    sys.exit(main())
