"""What watching costs callers: ``python -m benchmarks.watching --out FILE``.

Two labs run side by side, one replica each. One is watched: a real controller with its drift and its house, a
prediction log of 5 %, a scrape of ``/metrics`` every five seconds, and 20 pages whose streams are open while it is its
turn. In the other all of it is off: its gateway counts nothing, samples no rows, logs nothing, and has no controller.
Short runs take turns and the order changes each round.
"""

from __future__ import annotations

import contextlib
import statistics
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from benchmarks.harness.bench_bundle import ENDPOINT, Workload, write_workload
from benchmarks.harness.command import Say, benchmark_parser, run_benchmark
from benchmarks.harness.machine import Machine, describe_machine
from benchmarks.harness.ports import free_ports
from benchmarks.lab.bookkeeping import CUSTOMERS, bodies_of, cost_of
from benchmarks.lab.lab import HERE, Arrangement, lab, start_replicas, starter, version_spec, write_authority
from benchmarks.lab.pages import Seen
from benchmarks.lab.prediction_log import rows_in
from benchmarks.load.wrk import require_wrk, run_wrk, write_script
from divisions.prediction_log import FOLDER, LogPolicy

SCRAPE_S = 5.0
SAMPLE = LogPolicy(500)
TOKEN = "lab"
WARM_UP_S = 2.0


class WatchingResult(msgspec.Struct, frozen=True, tag="watching"):
    """Requests per second and 99th percentiles with all of it and without any of it, one pair for each round.

    ``kept`` is the share of the throughput that is left: the median over the rounds of on / off. ``seen`` is what the
    pages and Prometheus got during the watched runs, ``logged`` the rows in the prediction log's files.
    """

    machine: Machine
    seed: int
    connections: int
    seconds: float
    rounds: int
    pages: int
    scrape_s: float
    sample_bp: int
    on_rps: list[float]
    off_rps: list[float]
    on_p99_us: list[int]
    off_p99_us: list[int]
    kept: float
    seen: Seen
    logged: int
    errors: int


@dataclass(frozen=True, slots=True)
class Watched:
    """A lab with a real controller, and who looks at it."""

    url: str
    token_file: Path
    environment: dict[str, str]

    @contextlib.contextmanager
    def pages(self, number: int, seen: list[Seen]) -> Iterator[None]:
        """Opens pages, and adds what they have seen when they are closed.

        Raises:
            RuntimeError: they could not be opened, or a stream broke.
        """
        address = self.url.partition("//")[2].partition("/")[0]
        arguments = (address, str(self.token_file), str(number), str(SCRAPE_S))
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "benchmarks.lab.pages", *arguments],
            env=self.environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        assert process.stdout is not None
        try:
            if process.stdout.readline() != b"ready\n":
                _, fault = process.communicate()
                raise RuntimeError(f"the pages could not be opened: {fault.decode(errors='replace')[-500:].strip()}")
            yield
            told, fault = process.communicate()
            if process.returncode:
                raise RuntimeError(f"a page lost its stream: {fault.decode(errors='replace')[-500:].strip()}")
            seen.append(msgspec.json.decode(told, type=Seen))
        finally:
            process.kill()
            process.wait()


@contextlib.contextmanager
def watched_lab(workload: Workload, work: Path) -> Iterator[Watched]:
    """Starts a replica, a controller and its gateway in ``work``, an empty folder, and stops them.

    Raises:
        RuntimeError: a process did not start; its output is quoted.
    """
    (port,) = free_ports(1)
    with starter(work, DIVISIONS_PORT=str(port), DIVISIONS_SCHEDULE="0") as start:
        token_file = work / "home" / "token"
        token_file.write_text(TOKEN)
        version = msgspec.structs.replace(version_spec(workload, "1.1", Arrangement(log=SAMPLE)), replicas=1)
        (replica,) = start_replicas(start, version, work, 1, HERE, write_authority(work))
        paths = work / "version.json", work / "replica.json"
        for path, value in zip(paths, (version, replica), strict=True):
            path.write_bytes(msgspec.json.encode(value))
        start("watched", "benchmarks.lab.watched", *map(str, paths)).first_line()
        yield Watched(f"http://127.0.0.1:{port}/api/v2/predict/{ENDPOINT}", token_file, start.environment)


class Turns(msgspec.Struct):
    """What the runs of both labs have measured."""

    on_rps: list[float] = []
    off_rps: list[float] = []
    on_p99_us: list[int] = []
    off_p99_us: list[int] = []
    errors: int = 0


def take_turns(script: Path, watched: Watched, plain_url: str, options: Options, seen: list[Seen], say: Say) -> Turns:
    """Runs both labs in turns; the pages are open only while it is the watched one's turn."""
    turns = Turns([], [], [], [])
    for url in (watched.url, plain_url):
        run_wrk(script, url, options.connections, WARM_UP_S)
    for number in range(options.rounds):
        for is_on in (True, False) if number % 2 else (False, True):
            opened = watched.pages(options.pages, seen) if is_on else contextlib.nullcontext()
            with opened:
                result = run_wrk(script, watched.url if is_on else plain_url, options.connections, options.seconds)
            (turns.on_rps if is_on else turns.off_rps).append(round(result.rps, 1))
            (turns.on_p99_us if is_on else turns.off_p99_us).append(result.p99_us)
            turns.errors += result.errors
        say(f"round {number + 1}/{options.rounds}: on {turns.on_rps[-1]:,.0f}, off {turns.off_rps[-1]:,.0f} req/s")
    return turns


class Options(msgspec.Struct, frozen=True):
    """Of the command line."""

    seed: int
    connections: int
    seconds: float
    rounds: int
    pages: int


def measure(options: Options, work: Path, say: Say) -> WatchingResult:
    """Starts both labs, takes turns, and sums up."""
    machine = describe_machine()
    workload = write_workload(work / "bundle", seed=options.seed, has_reference=True)
    script = work / "request.lua"
    write_script(script, bodies_of(workload, CUSTOMERS))
    folders = work / "on", work / "off"
    for folder in folders:
        folder.mkdir()
    seen: list[Seen] = []
    with lab(workload, folders[1], Arrangement(has_bookkeeping=False)) as plain:
        with watched_lab(workload, folders[0]) as watched:
            turns = take_turns(script, watched, plain.served.url, options, seen, say)
        logged = rows_in(folders[0] / "home" / FOLDER)
    return WatchingResult(
        machine,
        options.seed,
        options.connections,
        options.seconds,
        options.rounds,
        options.pages,
        SCRAPE_S,
        SAMPLE.sample_bp,
        turns.on_rps,
        turns.off_rps,
        turns.on_p99_us,
        turns.off_p99_us,
        round(1.0 - cost_of(turns.on_rps, turns.off_rps), 4),
        Seen(*(sum(getattr(each, name) for each in seen) for name in Seen.__struct_fields__)),
        logged,
        turns.errors,
    )


def render_watching(found: WatchingResult) -> str:
    return (
        f"watched {statistics.median(found.on_rps):,.0f} req/s, all off {statistics.median(found.off_rps):,.0f}: "
        f"{found.kept:.1%} of the throughput is kept; p99 {statistics.median(found.on_p99_us):,.0f} us and "
        f"{statistics.median(found.off_p99_us):,.0f} us (medians of {found.rounds} rounds of {found.seconds:g} s, "
        f"{found.connections} connections); {found.pages} pages got {found.seen.houses:,} events of the house and "
        f"{found.seen.bytes / 1e6:.1f} MB, {found.seen.scrapes:,} scrapes {found.seen.scraped_bytes / 1e6:.1f} MB; "
        f"{found.logged:,} rows logged, {found.errors} errors"
    )


def main(arguments: Sequence[str] | None = None) -> int:
    parser = benchmark_parser("watching", "What metrics, drift, the prediction log and open pages cost callers.")
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=6.0, help="length of each run (default 6)")
    parser.add_argument("--rounds", type=int, default=11, help="pairs of runs (default 11)")
    parser.add_argument("--pages", type=int, default=20, help="open pages (default 20)")
    given = parser.parse_args(arguments)

    def take(work: Path, say: Say) -> WatchingResult:
        require_wrk()
        return measure(Options(given.seed, given.connections, given.seconds, given.rounds, given.pages), work, say)

    return run_benchmark(given, take, render_watching)


if __name__ == "__main__":
    sys.exit(main())
