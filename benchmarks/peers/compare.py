"""Divisions beside other servers: ``python -m benchmarks.compare --peers ray-serve,mosec,nginx-static --seconds 10``.

The same model and the same request for every system, one system up at a time, in interleaved rounds so that a busy
spell of the machine hits all of them alike. Only the ratios mean anything on another machine.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks.harness.bench_bundle import Workload, write_workload
from benchmarks.harness.command import parse_counts, say_on_stderr
from benchmarks.harness.interrupts import EXIT_INTERRUPTED, stop_on_sigterm
from benchmarks.harness.machine import describe_machine
from benchmarks.harness.peer import Peer
from benchmarks.harness.results import write_result
from benchmarks.load.wrk import require_wrk, run_wrk, write_script
from benchmarks.peers.bare_relay import BareRelay
from benchmarks.peers.comparison import Comparison, Run, compare_rows, render_comparison, summarise_runs
from benchmarks.peers.divisions_gateway import DIVISIONS, IN_PROCESS, NAME, RunningGateway
from benchmarks.peers.nginx_static import NginxStatic
from benchmarks.peers.python_servers import BENTOML, LITSERVE, MLSERVER, MOSEC
from benchmarks.peers.ray_serve import AS_SHIPPED, TUNED
from divisions.bundle import read_bundle
from divisions.errors import DivisionsError, UsageError

ROOT = Path(__file__).resolve().parents[2]
_ALL: tuple[Peer, ...] = (IN_PROCESS, AS_SHIPPED, TUNED, MOSEC, BENTOML, LITSERVE, MLSERVER, BareRelay(), NginxStatic())
PEERS: dict[str, Peer] = {peer.name: peer for peer in _ALL}
WARM_UP_S = 2.0


def choose_peers(names: str) -> list[Peer]:
    """Raises: UsageError: a name is unknown."""
    chosen = [name.strip() for name in names.split(",") if name.strip()]
    unknown = [name for name in chosen if name not in PEERS]
    if unknown:
        raise UsageError(f"unknown peer {unknown[0]!r}", remedy=f"the peers are {', '.join(PEERS)}")
    return [PEERS[name] for name in dict.fromkeys(chosen)]


def install_systems(
    systems: Sequence[Peer], build: Path, say: Callable[[str], None]
) -> tuple[list[Peer], dict[str, str]]:
    """Makes sure that the systems are installed; returns those that are, and why the others are absent."""
    present: list[Peer] = []
    absent: dict[str, str] = {}
    for system in systems:
        try:
            system.prepare(build, say)
        except DivisionsError as error:
            absent[system.name] = str(error)
            say(f"{system.name}: ABSENT: {error}")
        else:
            present.append(system)
    return present, absent


def measure_rounds(
    systems: Sequence[Peer],
    workload: Workload,
    work: Path,
    connections: Sequence[int],
    seconds: float,
    rounds: int,
    say: Callable[[str], None],
) -> tuple[list[Run], dict[str, str]]:
    """Measures all systems. One that fails is left out of later rounds; the others go on.

    Returns:
        The single runs, and why systems failed.
    """
    runs: list[Run] = []
    failures: dict[str, str] = {}
    for number in range(1, rounds + 1):
        for system in systems:
            if system.name in failures:
                continue
            say(f"round {number}/{rounds}: {system.name}: starting")
            folder = work / f"{system.name}-{number}"
            folder.mkdir(parents=True)
            try:
                with system.serving(workload, folder) as served:
                    script = folder / "request.lua"
                    write_script(script, served.body)
                    for count in connections:
                        run_wrk(script, served.url, count, WARM_UP_S)
                        found = run_wrk(script, served.url, count, seconds)
                        p50_ms, p99_ms = found.p50_us / 1e3, found.p99_us / 1e3
                        run = Run(number, system.name, count, found.rps, p50_ms, p99_ms, found.errors)
                        runs.append(run)
                        say(f"round {number}/{rounds}: {system.name}: c={count}: {run.rps:,.0f} req/s, {p50_ms:.2f} ms")
            except (DivisionsError, RuntimeError, OSError) as error:
                failures[system.name] = str(error)
                say(f"round {number}/{rounds}: {system.name}: FAILED: {error}")
    return runs, failures


def main(arguments: Sequence[str] | None = None, prog: str = "python -m benchmarks.compare") -> int:
    options = _parser(prog).parse_args(arguments)
    stop_on_sigterm()
    try:
        return _compare(options)
    except (DivisionsError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2 if isinstance(error, UsageError) else 1
    except KeyboardInterrupt:
        print("interrupted; everything that was started is stopped", file=sys.stderr)
        return EXIT_INTERRUPTED


def _compare(options: argparse.Namespace) -> int:
    connections = parse_counts("--connections", options.connections)
    peers = choose_peers(options.peers)
    build: Path = options.build.absolute()
    work = build / "compare"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    (build / "peers").mkdir(exist_ok=True)
    workload = _workload(options, work)
    require_wrk()
    machine = describe_machine()
    ours: Peer = RunningGateway(options.divisions_url) if options.divisions_url else DIVISIONS
    wanted = peers if options.without_divisions else [ours, *peers]
    systems, absent = install_systems(wanted, build, say_on_stderr)
    runs, failures = measure_rounds(
        systems, workload, work, connections, options.seconds, options.rounds, say_on_stderr
    )
    rows = summarise_runs(runs)
    found = Comparison(
        machine=machine,
        driver="wrk -t1, closed loop",
        seconds=options.seconds,
        warm_up_s=WARM_UP_S,
        rounds=options.rounds,
        seed=options.seed,
        body_bytes=len(workload.body),
        rows=rows,
        ratios=compare_rows(rows, NAME),
        runs=runs,
        failures=failures,
        absent=absent,
        notes={system.name: system.note for system in wanted},
    )
    write_result(found, options.out or build / "compare.json", options.output, render_comparison)
    return 1 if failures or absent else 0


def _workload(options: argparse.Namespace, work: Path) -> Workload:
    if (options.bundle is None) != (options.body is None):
        raise UsageError("--bundle and --body go together", remedy="give a bundle and a request that fits it")
    if options.divisions_url and options.bundle is None:
        raise UsageError("--divisions-url needs --bundle and --body", remedy="name the bundle that it serves")
    if options.bundle is None:
        return write_workload(work / "bundle", seed=options.seed)
    manifest = read_bundle(options.bundle)
    return Workload(options.bundle.absolute(), manifest.sha256, manifest.schema, options.body.read_bytes())


def _parser(prog: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=prog, description="Divisions beside other servers.")
    add = parser.add_argument
    add("--peers", default=",".join(PEERS), help=f"comma-separated, of {', '.join(PEERS)} (default: all)")
    add("--seconds", type=float, default=10.0, help="length of each measured run (default 10)")
    add("--connections", default="1,16,64", help="comma-separated (default 1,16,64)")
    add("--rounds", type=int, default=3, help="interleaved rounds (default 3)")
    add("--seed", type=int, default=0, help="of the model's weights and the request (default 0)")
    add("--divisions-url", default="", help="predict URL of a running gateway, in place of starting one")
    add("--without-divisions", action="store_true", help="measure the peers alone")
    add("--bundle", type=Path, help="bundle to serve, in place of the benchmark's own model")
    add("--body", type=Path, help="file with the request's JSON body that goes with --bundle")
    add("--build", type=Path, default=ROOT / "build", help="folder to write into")
    add("--out", type=Path, help="file to write the JSON to (default compare.json in the folder of --build)")
    add("-o", "--output", choices=["text", "json"], default="text")
    return parser


if __name__ == "__main__":
    sys.exit(main())
