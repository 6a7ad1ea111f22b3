"""``python -m trainers --pipeline FILE``: runs a pipeline once. ``ray job submit`` calls this."""

from __future__ import annotations

import argparse
import contextlib
import datetime as dt
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec

from divisions.collector import collect_seldom
from divisions.errors import DivisionsError, UsageError
from divisions.progress import LineProgress
from divisions.schedule.claims import EndReport
from divisions.settings import PRIVATE_UMASK, load_settings
from trainers.start import StartOptions, start

EXIT_FAILED, EXIT_USAGE, EXIT_INTERRUPTED = 1, 2, 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns the exit status: 0, 1 for a `DivisionsError`, 2 for wrong usage, 130 when interrupted."""
    given = _parser().parse_args(arguments)
    options = StartOptions(
        pipeline_path=given.pipeline,
        input_uri=given.input,
        today=given.today,
        is_deployed=not given.no_deploy,
        uses_ray=not given.no_ray,
        ray_address=given.ray_address,
        gateway_url=given.gateway,
        trials=given.trials,
        budget=given.budget,
    )
    # A stopped job must still record the end of its run.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    # With --output json, standard output holds only the JSON. Ray would print there when a worker dies.
    shown = sys.stderr if given.output == "json" else sys.stdout
    settings = load_settings()
    report = EndReport(settings.home, given.scheduled)
    try:
        if not report.begins():
            print(f"{given.scheduled} runs or has run already, or is not scheduled any more", file=shown)
            return 0
        with contextlib.redirect_stdout(shown):
            outcome = start(options, settings, LineProgress(shown))
    except DivisionsError as error:
        print(f"error: {error}", file=sys.stderr)
        report.failed(str(error))
        return EXIT_USAGE if isinstance(error, UsageError) else EXIT_FAILED
    except KeyboardInterrupt:
        print("error: interrupted", file=sys.stderr)
        report.failed("interrupted")
        return EXIT_INTERRUPTED
    report.succeeded(f"{outcome.model} {outcome.version} {outcome.validation_status}", outcome.run_id)
    if given.output == "json":
        print(msgspec.json.encode(outcome).decode())
    else:
        print(f"{outcome.model} {outcome.version} {outcome.validation_status}; its bundle is {outcome.bundle_path}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m trainers", description="Run a pipeline, from raw events to the start of a rollout."
    )
    parser.add_argument("--pipeline", required=True, type=Path, metavar="FILE", help="the pipeline file")
    parser.add_argument("--input", default="", metavar="URI", help="raw events, in place of the file's input")
    parser.add_argument("--today", type=dt.date.fromisoformat, metavar="YYYY-MM-DD", help="the day of ${today} (UTC)")
    parser.add_argument("--no-deploy", action="store_true", help="register the version, but start no rollout")
    parser.add_argument("--no-ray", action="store_true", help="run every stage in this process")
    parser.add_argument("--ray-address", default="", metavar="HOST:PORT", help="the Ray cluster, if not this home's")
    parser.add_argument("--gateway", default="", metavar="URL", help="the gateway to deploy to, if not this home's")
    parser.add_argument("--trials", type=int, metavar="N", help="search hyperparameters: how many sets are tried")
    parser.add_argument("--budget", default="", metavar="TIME", help="how long the search may take, such as 30m")
    parser.add_argument("--scheduled", default="", metavar="ID", help="the run of the home's schedule that this is")
    parser.add_argument("--output", choices=["text", "json"], default="text", help="how to print the outcome")
    return parser


if __name__ == "__main__":
    os.umask(PRIVATE_UMASK)
    collect_seldom()
    sys.exit(main())
