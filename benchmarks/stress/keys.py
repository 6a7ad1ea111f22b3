"""What keys and limits cost, and what they are worth: ``python -m benchmarks.keys --output json``.

Cost: three labs side by side, one replica each. One asks for keys, and the caller's has a rate, a concurrency and a
deadline; one is asked with a JWT, whose issuer's rule has the same limits; one asks for nothing. The same requests come
at the same rate, in short runs that take turns. The gateway's CPU time for a request is compared, so a busy machine
affects all alike: throughput on one core is its inverse. A JWT is checked before, as for any but its first request.

Neighbours: one key at its share, alone and beside another key that asks for ten times its limit. The two have a process
each, and alone and beside take turns.
"""

from __future__ import annotations

import contextlib
import statistics
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec

from benchmarks.harness.bench_bundle import Workload, write_workload
from benchmarks.harness.command import Say, benchmark_parser, run_benchmark
from benchmarks.harness.machine import Machine, describe_machine
from benchmarks.harness.process_stats import cpu_s
from benchmarks.lab.lab import Arrangement, Lab, lab
from benchmarks.load.report import LoadResult
from benchmarks.stress.keyed_load import KeyedLoad, send, send_together
from benchmarks.stress.local_issuer import LocalIssuer, serving
from divisions.access import tokens
from divisions.access.limits import MAX_CONCURRENCY, MAX_RATE, Limits
from divisions.access.roles import Role
from divisions.access.tokens import AccessList

TIMES_LIMIT = 10
_FOREVER_S = 4e9
_WARM_S = 1.0


class Cost(msgspec.Struct, frozen=True):
    """A gateway's CPU time for a request, in µs, one of each round: with a key, with a JWT, with neither asked for.

    ``cost`` is the median of ``on / off - 1``, ``jwt_cost`` that of ``jwt / off - 1``.
    """

    rate_rps: float
    seconds: float
    on_us: list[float]
    jwt_us: list[float]
    off_us: list[float]
    cost: float
    jwt_cost: float
    not_ok: int


class Neighbours(msgspec.Struct, frozen=True):
    """The modest caller's latencies, one of each round; ``ratio`` is the median of ``beside / alone``.

    ``modest_not_ok`` are all of its requests that were not answered with 2xx. The noisy one's limit is ``noisy_limit``.
    """

    modest_rps: float
    noisy_limit: int
    noisy_rps: float
    seconds: float
    alone_p50_ms: list[float]
    beside_p50_ms: list[float]
    alone_p99_ms: list[float]
    beside_p99_ms: list[float]
    ratio_p50: float
    ratio_p99: float
    modest_requests: int
    modest_not_ok: int
    noisy_ok: int
    noisy_refused: int
    noisy_failed: int


class KeysResult(msgspec.Struct, frozen=True, tag="keys"):
    machine: Machine
    seed: int
    rounds: int
    cost: Cost
    neighbours: Neighbours


def keys_for(*limits: tuple[str, Limits]) -> tuple[AccessList, list[str]]:
    """A list with a predictor's token for each name, and the tokens. They are as random as the benchmark needs."""
    known, given = AccessList("lab"), []
    for number, (name, limit) in enumerate(limits):
        some = bytes([number + 1]) * tokens.random_bytes_needed()
        known, token = tokens.create(
            known, name, Role.PREDICTOR, (), 1.0, by="lab", now_s=_FOREVER_S, randomness=some, limits=limit
        )
        given.append(token)
    return known, given


def cost_of(on: Sequence[float], off: Sequence[float]) -> float:
    """The median of the rounds' ratios, less 1. Noise may make it negative."""
    return round(statistics.median(one / other for one, other in zip(on, off, strict=True)) - 1.0, 4)


def measure_cost(workload: Workload, work: Path, say: Say, rate_rps: float, seconds: float, rounds: int) -> Cost:
    known, (token,) = keys_for(("app", Limits(MAX_RATE, 1, MAX_CONCURRENCY, 1_000)))
    folders = {name: work / name for name in ("on", "jwt", "off")}
    for folder in folders.values():
        folder.mkdir()
    us: dict[str, list[float]] = {name: [] for name in folders}
    not_ok = 0
    issuer = LocalIssuer(time.time())
    with contextlib.ExitStack() as stack:
        limits = f"rate: {MAX_RATE}/s, concurrency: {MAX_CONCURRENCY}, deadline: 1s"
        oidc_file = str(stack.enter_context(serving(issuer, work, limits)))
        asked = {
            "on": (Arrangement(needs_key=True, access=known), token),
            "jwt": (Arrangement(needs_key=True, oidc_file=oidc_file), issuer.right()[0]),
            "off": (Arrangement(), ""),
        }
        labs = {
            name: (stack.enter_context(lab(workload, folders[name], arrangement)), own)
            for name, (arrangement, own) in asked.items()
        }

        def run(name: str, seconds: float, seed: int) -> tuple[float, LoadResult]:
            running, own = labs[name]
            return _cpu_of(running, KeyedLoad(running.served.url, running.served.body, own, rate_rps, seconds, seed))

        for name in labs:
            run(name, _WARM_S, 0)
        for number in range(rounds):
            for name in list(labs)[:: 1 if number % 2 else -1]:
                took_us, found = run(name, seconds, number)
                us[name].append(round(took_us, 2))
                not_ok += found.requests - found.ok
            took = " µs, ".join(f"{name} {each[-1]:.1f}" for name, each in us.items())
            say(f"round {number + 1}/{rounds}: {took} µs")
    cost, jwt_cost = (cost_of(us[name], us["off"]) for name in ("on", "jwt"))
    return Cost(rate_rps, seconds, us["on"], us["jwt"], us["off"], cost, jwt_cost, not_ok)


def _cpu_of(running: Lab, load: KeyedLoad) -> tuple[float, LoadResult]:
    """CPU time of the lab's gateway for a request, in µs."""
    before_s = sum(map(cpu_s, running.gateway_pids))
    found = send(load)
    used_s = sum(map(cpu_s, running.gateway_pids)) - before_s
    return used_s / max(1, found.requests) * 1e6, found


def measure_neighbours(
    workload: Workload, work: Path, say: Say, modest_rps: float, noisy_limit: int, seconds: float, rounds: int
) -> Neighbours:
    known, (modest, noisy) = keys_for(
        ("modest", Limits(rate=round(modest_rps * 2))), ("noisy", Limits(rate=noisy_limit))
    )
    noisy_rps = float(noisy_limit * TIMES_LIMIT)
    alone: list[LoadResult] = []
    beside: list[LoadResult] = []
    of_noisy: list[LoadResult] = []
    folder = work / "neighbours"
    folder.mkdir()
    with lab(workload, folder, Arrangement(needs_key=True, access=known)) as running:
        url, body = running.served.url, running.served.body
        send(KeyedLoad(url, body, modest, modest_rps, _WARM_S, 0))
        for number in range(rounds):
            steady = KeyedLoad(url, body, modest, modest_rps, seconds, number)
            loud = KeyedLoad(url, body, noisy, noisy_rps, seconds, number)
            for is_beside in (True, False) if number % 2 else (False, True):
                if is_beside:
                    found, other = send_together([steady, loud])
                    beside.append(found)
                    of_noisy.append(other)
                else:
                    alone += send_together([steady])
            say(
                f"round {number + 1}/{rounds}: p99 {alone[-1].latency.p99_ms:.2f} ms alone, "
                f"{beside[-1].latency.p99_ms:.2f} ms beside; the noisy key passed {of_noisy[-1].ok:,} times"
            )
    alone_p50, beside_p50 = ([each.latency.p50_ms for each in found] for found in (alone, beside))
    alone_p99, beside_p99 = ([each.latency.p99_ms for each in found] for found in (alone, beside))
    return Neighbours(
        modest_rps,
        noisy_limit,
        noisy_rps,
        seconds,
        alone_p50,
        beside_p50,
        alone_p99,
        beside_p99,
        round(1 + cost_of(beside_p50, alone_p50), 3),
        round(1 + cost_of(beside_p99, alone_p99), 3),
        sum(each.requests for each in beside),
        sum(each.requests - each.ok for each in beside),
        sum(each.ok for each in of_noisy),
        sum(each.refused for each in of_noisy),
        sum(each.failed + each.timed_out for each in of_noisy),
    )


def render(found: KeysResult) -> str:
    cost, beside = found.cost, found.neighbours
    return "\n".join(
        (
            f"a request takes the gateway {statistics.median(cost.on_us):.1f} µs with keys and limits, "
            f"{statistics.median(cost.jwt_us):.1f} µs with JWTs and limits, {statistics.median(cost.off_us):.1f} µs "
            f"without: {cost.cost:+.1%} and {cost.jwt_cost:+.1%} (medians of {found.rounds} rounds of "
            f"{cost.seconds:g} s at {cost.rate_rps:,.0f} req/s, {cost.not_ok} not answered with 2xx)",
            f"beside a key at {TIMES_LIMIT} times its limit ({beside.noisy_rps:,.0f} req/s, limit "
            f"{beside.noisy_limit:,}), another at {beside.modest_rps:,.0f} req/s has {beside.ratio_p99:.2f} times its "
            f"p99 of alone ({beside.ratio_p50:.2f} times its p50), and {beside.modest_not_ok:,} of "
            f"{beside.modest_requests:,} requests not answered with 2xx; of the noisy key's, {beside.noisy_ok:,} "
            f"passed, {beside.noisy_refused:,} were refused, {beside.noisy_failed:,} failed",
        )
    )


def main(arguments: Sequence[str] | None = None) -> int:
    parser = benchmark_parser("keys", "What keys and limits of predictions cost, and what a noisy neighbour does.")
    parser.add_argument("--rate", type=float, default=2_000.0, help="requests per second of the cost (default 2000)")
    parser.add_argument("--modest", type=float, default=200.0, help="of the modest key (default 200)")
    parser.add_argument("--noisy-limit", type=int, default=200, help="the noisy key's limit per second (default 200)")
    parser.add_argument("--seconds", type=float, default=4.0, help="length of each run (default 4)")
    parser.add_argument("--rounds", type=int, default=9, help="pairs of runs (default 9)")
    options = parser.parse_args(arguments)
    seconds, rounds = options.seconds, options.rounds

    def measure(work: Path, say: Say) -> KeysResult:
        workload = write_workload(work / "bundle", seed=options.seed)
        cost = measure_cost(workload, work, say, options.rate, seconds, rounds)
        beside = measure_neighbours(workload, work, say, options.modest, options.noisy_limit, seconds, rounds)
        return KeysResult(describe_machine(), options.seed, rounds, cost, beside)

    return run_benchmark(options, measure, render)


if __name__ == "__main__":
    sys.exit(main())
