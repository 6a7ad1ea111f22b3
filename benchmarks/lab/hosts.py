"""Over several hosts: ``python -m benchmarks.scale --hosts 3 --output json``.

Measured in one run, in interleaved rounds: one gateway that reaches one replica over a Unix socket, TCP and TLS, with
one connection (batches of one row) and many; requests through the gateways of 1 to N hosts; a connection's own cost;
and the controller's calls on a real Ray. From these, `benchmarks.lab.capacity` computes where clusters of up to a
thousand nodes are at a limit first.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path

import msgspec

from benchmarks.harness.bench_bundle import Workload, write_workload
from benchmarks.harness.command import Say
from benchmarks.harness.machine import Machine, describe_machine
from benchmarks.harness.process_stats import cpu_s
from benchmarks.lab.capacity import Calls, Limit, NodeShape, limits, render_limits
from benchmarks.lab.channel_cost import connection_cost
from benchmarks.lab.host_lab import HostLab, host_lab
from benchmarks.lab.lab import Arrangement, Lab, Transport, lab
from benchmarks.lab.namespaces import NetworkHost, has_namespaces, network_hosts
from benchmarks.lab.scaling import Measured, ScaleRow, render_scale, summarise_scale
from benchmarks.load.wrk import WrkResult, require_wrk, run_wrk, write_script

WARM_UP_S = 1.0
SHAPES = {
    "1 gateway, 2 replicas on each node": NodeShape(gateways=1, replicas=2),
    "4 gateways, 4 replicas on each node": NodeShape(gateways=4, replicas=4),
}


class HostsResult(msgspec.Struct, frozen=True, tag="hosts"):
    """``rows`` and the costs are measured; ``limits`` are computed from them."""

    machine: Machine
    seed: int
    seconds: float
    rounds: int
    connections: int
    has_namespaces: bool
    rows: list[ScaleRow]
    handshake_us: float
    connection_kb: float
    calls: Calls
    limits: dict[str, list[Limit]]


def measure_hosts(
    work: Path, num_hosts: int, seed: int, connections: int, seconds: float, rounds: int, calls: Calls, say: Say
) -> HostsResult:
    """All of it; ``calls`` are what the controller's calls cost."""
    require_wrk()
    machine = describe_machine()
    workload = write_workload(work / "bundle", seed=seed)
    script = work / "request.lua"
    write_script(script, workload.body)
    runs: dict[tuple[str, str], list[Measured]] = {}
    costs: list[tuple[float, float]] = []
    with network_hosts(num_hosts) as hosts:
        for number in range(1, rounds + 1):
            for transport in Transport:
                folder = work / f"{number}-{transport}"
                folder.mkdir()
                with lab(workload, folder, Arrangement(transport=transport)) as running:
                    for count in (1, connections):
                        found = _measure([running.served.url], running, script, count, seconds)
                        runs.setdefault((f"{count} connections", transport.value), []).append(found)
                        say(f"round {number}/{rounds}: {transport}, {count} connections: {found.rps:,.0f} req/s")
                    if transport is Transport.TLS:
                        costs.append(connection_cost(running))
            _measure_gateways(work / f"{number}-hosts", workload, script, hosts, connections, seconds, runs, say)
    handshake_us, connection_kb = (sorted(each)[len(costs) // 2] for each in zip(*costs, strict=True))
    return HostsResult(
        machine,
        seed,
        seconds,
        rounds,
        connections,
        has_namespaces(),
        summarise_scale(runs),
        round(handshake_us, 1),
        round(connection_kb, 1),
        calls,
        {name: limits(shape, calls, connection_kb) for name, shape in SHAPES.items()},
    )


def _measure_gateways(
    work: Path,
    workload: Workload,
    script: Path,
    hosts: Sequence[NetworkHost],
    connections: int,
    seconds: float,
    runs: dict[tuple[str, str], list[Measured]],
    say: Say,
) -> None:
    for prefers_own in (True, False):
        axis = "own node first" if prefers_own else "all batches over TLS"
        folder = work.with_name(f"{work.name}-{'own' if prefers_own else 'all'}")
        folder.mkdir()
        with host_lab(workload, folder, hosts, prefers_own) as running:
            for count in range(1, len(hosts) + 1):
                found = _measure(running.urls[:count], running, script, connections, seconds)
                runs.setdefault((f"gateways of {count} hosts", axis), []).append(found)
                say(f"{axis}: {count} hosts: {found.rps:,.0f} req/s")


def _measure(urls: Sequence[str], running: Lab | HostLab, script: Path, connections: int, seconds: float) -> Measured:
    """Drives all URLs at once, each with its share of the connections."""
    share = max(1, connections // len(urls))
    _drive(urls, script, share, WARM_UP_S)
    pids = (running.gateway_pids, running.replica_pids)
    before_s = [sum(map(cpu_s, each)) for each in pids]
    results = _drive(urls, script, share, seconds)
    spent_s = [sum(map(cpu_s, each)) - before for each, before in zip(pids, before_s, strict=True)]
    requests = max(1, sum(result.requests for result in results))
    return Measured(
        round(sum(result.rps for result in results), 1),
        max(result.p50_us for result in results) / 1e3,
        max(result.p99_us for result in results) / 1e3,
        sum(result.errors for result in results),
        round(spent_s[0] / requests * 1e6, 2),
        round(spent_s[1] / requests * 1e6, 2),
    )


def _drive(urls: Sequence[str], script: Path, connections: int, seconds: float) -> list[WrkResult]:
    results: list[WrkResult] = []
    failures: list[Exception] = []

    def drive(url: str) -> None:
        try:
            results.append(run_wrk(script, url, connections, seconds))
        except Exception as error:  # noqa: BLE001  # Carried over to the caller's thread.
            failures.append(error)

    drivers = [threading.Thread(target=drive, args=(url,)) for url in urls]
    for driver in drivers:
        driver.start()
    for driver in drivers:
        driver.join()
    if failures:
        raise failures[0]
    return results


def render_hosts(found: HostsResult) -> str:
    """All of it as tables for people."""
    calls = found.calls
    lines = [
        render_scale(found.rows, {}),
        f"\na connection: {found.handshake_us:,.0f} us of the replica's CPU, {found.connection_kb:,.0f} KiB",
        f"the controller: {calls.report_s * 1e6:,.0f} us for a report, {calls.heartbeat_s * 1e6:,.0f} us for a "
        f"heartbeat, {calls.poll_s * 1e6:,.0f} us for a poll",
    ]
    return "\n".join(lines + [render_limits(name, limits) for name, limits in found.limits.items()])
