"""Open-loop load on one endpoint: ``python -m benchmarks.load --url URL --rows ROWS.parquet --rps 300 --duration 30``.

With ``--stream`` it writes one JSON line each second, and the result as the last line. Other programs (the demo) run it
so, as a process of its own: then their work does not disturb its timing. SIGTERM, SIGINT or, with ``--stop-on-eof``,
the end of standard input stop it; the result is written in each case.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import os
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
import numpy as np
import uvloop

from benchmarks.load.arrivals import Arrivals, plan_arrivals
from benchmarks.load.open_loop import LoadPlan, OpenLoop
from benchmarks.load.report import LoadResult, Tick, render_result
from benchmarks.load.rows import encode_bodies, read_rows
from benchmarks.load.samples import Samples

EXIT_UNREACHABLE = 1
EXIT_USAGE = 2


def plan_load(
    url: str,
    bodies: Sequence[bytes],
    rate_rps: float,
    duration_s: float,
    kind: Arrivals = Arrivals.POISSON,
    seed: int = 0,
    deadline_s: float = 2.0,
    max_connections: int = 256,
    headers: Sequence[tuple[str, str]] = (),
) -> LoadPlan:
    """Plans a run: all arrivals and which row each one sends. The same seed gives the same plan.

    Raises:
        ValueError: the rate or duration is not above zero, or there is no body.
    """
    if not bodies:
        raise ValueError("there is nothing to send: no bodies")
    rng = np.random.default_rng(seed)
    arrivals_s = plan_arrivals(kind, rate_rps, duration_s, rng)
    choices = rng.integers(0, len(bodies), len(arrivals_s))
    return LoadPlan(
        url, bodies, arrivals_s, choices, kind, rate_rps, seed, deadline_s, max_connections, headers=headers
    )


def run_load(
    plan: LoadPlan, on_tick: Callable[[Tick], None] = lambda _tick: None, stop_on_eof: bool = False
) -> tuple[LoadResult, Samples]:
    """Runs a plan in this thread's own event loop until it is done or a signal stops it.

    Raises:
        OSError: the target does not listen.
    """

    async def run() -> tuple[LoadResult, Samples]:
        load = OpenLoop(plan, on_tick)
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, load.stop)
        if stop_on_eof:
            loop.add_reader(sys.stdin.fileno(), _stop_on_eof, loop, load)
        return await load.run()

    gc.freeze()  # the plan and the bodies live to the end: collecting them again and again would cost pauses
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(run())


def _stop_on_eof(loop: asyncio.AbstractEventLoop, load: OpenLoop) -> None:
    if not os.read(sys.stdin.fileno(), 4096):
        loop.remove_reader(sys.stdin.fileno())
        load.stop()


def main(arguments: Sequence[str] | None = None, prog: str = "python -m benchmarks.load") -> int:
    options = _parser(prog).parse_args(arguments)
    try:
        bodies = _bodies(options.rows)
        plan = plan_load(
            options.url,
            bodies,
            options.rps,
            options.duration,
            Arrivals(options.arrivals),
            options.seed,
            options.deadline_ms / 1e3,
            options.connections,
        )
    except (OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return EXIT_USAGE
    try:
        result, samples = run_load(plan, _ticker(options.stream), options.stop_on_eof)
    except OSError as error:
        print(f"error: {options.url} does not answer: {error}. Start it first (make run)", file=sys.stderr)
        return EXIT_UNREACHABLE
    if not options.stream and sys.stderr.isatty():
        print(file=sys.stderr)
    _write(options, result, samples)
    return 0


def _bodies(path: Path) -> list[bytes]:
    if path.suffix == ".jsonl":
        return path.read_bytes().splitlines()
    return encode_bodies(read_rows(path))


def _write(options: argparse.Namespace, result: LoadResult, samples: Samples) -> None:
    encoded = msgspec.json.encode(result)
    if options.samples:
        samples.save(options.samples)
    if options.plots:
        from benchmarks.load.charts import plot_latency_over_time, plot_percentiles

        options.plots.mkdir(parents=True, exist_ok=True)
        plot_latency_over_time(samples, [], options.plots / "latency-over-time.png")
        plot_percentiles(samples, options.plots / "latency-percentiles.png")
    if options.out:
        options.out.write_bytes(msgspec.json.format(encoded, indent=2) + b"\n")
    if options.stream or options.output == "json":
        sys.stdout.buffer.write(encoded + b"\n")
        sys.stdout.flush()
    else:
        print(render_result(result))


def _ticker(stream: bool) -> Callable[[Tick], None]:
    """Shows progress: JSON lines for programs, one rewritten line on a terminal, nothing in a log file."""
    if stream:

        def write_line(tick: Tick) -> None:
            sys.stdout.buffer.write(msgspec.json.encode(tick) + b"\n")
            sys.stdout.flush()

        return write_line

    def rewrite_line(tick: Tick) -> None:
        if sys.stderr.isatty():
            bad = tick.refused + tick.failed + tick.timed_out
            text = (
                f"{tick.elapsed_s:6.0f} s  {tick.requests:6,} req/s  p50 {tick.latency_p50_ms:8.2f} ms  "
                f"p99 {tick.latency_p99_ms:8.2f} ms  not ok {bad:,}  in flight {tick.in_flight:,}"
            )
            print(f"\r{text:<100}", end="", file=sys.stderr, flush=True)

    return rewrite_line


def _parser(prog: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=prog, description="Open-loop load on one endpoint.")
    add = parser.add_argument
    add("--url", required=True, help="e.g. http://127.0.0.1:8000/api/v2/predict/churn")
    add("--rows", required=True, type=Path, help="Parquet file whose rows are sent, or .jsonl of whole bodies")
    add("--rps", type=float, default=300.0, help="mean requests per second (default 300)")
    add("--duration", type=float, default=30.0, help="seconds (default 30)")
    add("--arrivals", choices=[kind.value for kind in Arrivals], default=Arrivals.POISSON.value)
    add("--seed", type=int, default=0, help="of arrivals and choice of rows (default 0)")
    add("--deadline-ms", type=float, default=2000.0, help="after this, from the scheduled time, a request timed out")
    add("--connections", type=int, default=256, help="most connections at a time (default 256)")
    add("-o", "--output", choices=["text", "json"], default="text")
    add("--out", type=Path, help="write the result as JSON to this file too")
    add("--samples", type=Path, help="write every request's time and outcome to this .npz file")
    add("--plots", type=Path, help="write latency-over-time.png and latency-percentiles.png into this folder")
    add("--stream", action="store_true", help="one JSON line each second, the result as the last line")
    add("--stop-on-eof", action="store_true", help="stop when standard input ends")
    return parser


if __name__ == "__main__":
    sys.exit(main())
