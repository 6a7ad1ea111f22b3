"""What all benchmarks' command lines share: options, a folder to work in, and how they end."""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks.harness.interrupts import EXIT_INTERRUPTED, stop_on_sigterm
from benchmarks.harness.results import Result, write_result
from divisions.errors import DivisionsError, UsageError

Say = Callable[[str], None]


def benchmark_parser(module: str, summary: str) -> argparse.ArgumentParser:
    """A parser with the options that every benchmark has."""
    parser = argparse.ArgumentParser(prog=f"python -m benchmarks.{module}", description=summary)
    parser.add_argument("--seed", type=int, default=0, help="of models, requests and arrivals (default 0)")
    parser.add_argument("--output", choices=["text", "json"], default="text")
    parser.add_argument("--out", type=Path, help="write the JSON to this file too")
    return parser


def run_benchmark(
    options: argparse.Namespace,
    measure: Callable[[Path, Say], Result],
    render: Callable[[Result], str],
) -> int:
    """Measures in a temporary folder of its own and writes the result; returns the exit status.

    Progress goes to standard error. Ctrl-C and SIGTERM stop everything that ``measure`` started.
    """
    stop_on_sigterm()
    try:
        # Short, because Ray and our own channel put Unix sockets below it.
        with tempfile.TemporaryDirectory(prefix="dvb-") as folder:
            found = measure(Path(folder), say_on_stderr)
    except (DivisionsError, RuntimeError, OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2 if isinstance(error, UsageError) else 1
    except KeyboardInterrupt:
        print("interrupted; everything that was started is stopped", file=sys.stderr)
        return EXIT_INTERRUPTED
    write_result(found, options.out, options.output, render)
    return 0


def say_on_stderr(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def parse_counts(option: str, text: str) -> tuple[int, ...]:
    """Comma-separated numbers above 0.

    Raises:
        UsageError: they are not.
    """
    try:
        counts: Sequence[int] = [int(part) for part in text.split(",")]
    except ValueError:
        counts = []
    if not counts or min(counts) < 1:
        raise UsageError(f"{option} must be numbers above 0, got {text!r}", remedy="write 1,16,64")
    return tuple(counts)
