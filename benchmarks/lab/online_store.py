"""What it costs to fill the online store: ``python -m benchmarks.online_store --output json``.

A file of customers with their newest features, as a run writes it, goes into an empty store, and then once more, which
replaces every row: in SQLite, and in a Redis of the benchmark's own if `redis-server` is installed. Each fill is a
process of its own. CPU time and peak memory are those of the whole process, imports included. Meanwhile this process
looks up 32 customers at a time, as a gateway does; afterwards it does the same without a fill. Then a gateway's own
look-ups are measured (`benchmarks.lab.online_store_look_ups`). The baseline is how SQLite was filled before: with
pandas, one Python object for each customer.
"""

from __future__ import annotations

import random
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
import numpy as np

from benchmarks.harness.command import Say, benchmark_parser, run_benchmark
from benchmarks.harness.machine import Machine, describe_machine
from benchmarks.harness.markdown import markdown_table
from benchmarks.lab.online_store_look_ups import LookUpCost, measure_look_ups
from benchmarks.lab.redis_process import running_redis, server_cpu_s, server_facts
from divisions.online_store import online_store_path
from divisions.online_stores import OnlineStore, open_store
from divisions.settings import Settings, environment_for_child

ENDPOINT = "churn"
KEYS = 32
"""Customers of one look-up, as `router.predict.stored_features` has them."""
METHODS = ("divisions", "pandas")
REDIS = "redis"


class Fill(msgspec.Struct, frozen=True):
    """One fill: its own costs, and what look-ups took meanwhile, in milliseconds.

    ``store_mib`` is the file's size, or the memory of Redis. ``server_cpu_s`` is the CPU time of Redis, with
    look-ups.
    """

    method: str
    is_first: bool
    cpu_s: float
    wall_s: float
    peak_mib: float
    store_mib: float
    lookups: int
    lookup_p50_ms: float
    lookup_p99_ms: float
    lookup_max_ms: float
    server_cpu_s: float = 0.0


class OnlineStoreResult(msgspec.Struct, frozen=True, tag="online-store"):
    """``idle_*`` are the look-ups without a fill."""

    machine: Machine
    seed: int
    customers: int
    features: int
    row_bytes: int
    fills: list[Fill]
    idle_lookups: int
    idle_p50_ms: float
    idle_p99_ms: float
    idle_max_ms: float
    redis_version: str = ""
    look_up_costs: list[LookUpCost] = []


class Spent(msgspec.Struct, frozen=True):
    """What a process that fills reports of itself."""

    cpu_s: float
    wall_s: float
    peak_mib: float


def write_customers(path: Path, customers: int, seed: int) -> int:
    """Writes a file of customers with ten numbers, six texts and four booleans; returns the number of features.

    One value in twenty is missing.
    """
    import duckdb

    def value(name: str, sql: str) -> str:
        return f"CASE WHEN hash(i, '{name}', {seed}) % 20 <> 0 THEN {sql} END AS {name}"

    def draw(name: str, most: int) -> str:
        return f"(hash('{name}', i, {seed}) % {most})"

    columns = [
        *(value(f"amount_{index}", f"{draw(f'amount_{index}', 1_000_000)} / 700") for index in range(10)),
        *(value(f"plan_{index}", f"'plan number ' || {draw(f'plan_{index}', 50)}") for index in range(6)),
        *(value(f"flag_{index}", f"{draw(f'flag_{index}', 2)} = 0") for index in range(4)),
    ]
    with duckdb.connect() as connection:
        connection.execute(
            f"COPY (SELECT 'c-' || i AS customer_id, TIMESTAMPTZ '2025-01-14 00:00:00Z' + to_seconds(i % 86400)"
            f" AS event_time, {', '.join(columns)} FROM range({customers}) AS t(i)) TO '{path}' (FORMAT parquet)"
        )
    return len(columns)


def fill_in_process(method: str, offline: Path, home: Path, url: str = "") -> Spent:
    """Fills in a process of its own: a store of ``home``, or the server that a URL names.

    Raises:
        RuntimeError: it failed.
    """
    command = [sys.executable, "-m", "benchmarks.lab.online_store_fill", method, str(offline), str(home)]
    environment = environment_for_child(Settings(home=home, online_store=url))
    ended = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment)
    try:
        output, errors = ended.communicate()
    finally:
        ended.kill()
    if ended.returncode:
        raise RuntimeError(f"the fill by {method} failed: {errors.decode(errors='replace')[-500:]}")
    return msgspec.json.decode(output, type=Spent)


class LookUps:
    """Looks up random customers, and times each look-up."""

    def __init__(self, store: OnlineStore, customers: int, seed: int) -> None:
        self._reader = store.reader(ENDPOINT)
        self._customers = customers
        self._random = random.Random(seed)  # a seeded benchmark
        self.taken_ms: list[float] = []

    def run(self, is_over: Callable[[], bool]) -> None:
        """Goes on until ``is_over``, with pauses as long as the look-ups, so that a core is left for others."""
        self.taken_ms = []
        while not is_over():
            keys = [f"c-{self._random.randrange(self._customers)}" for _ in range(KEYS)]
            began_s = time.perf_counter()
            found = self._reader.get_many(keys)
            took_s = time.perf_counter() - began_s
            if not found:
                raise RuntimeError("a look-up found nobody")
            self.taken_ms.append(took_s * 1e3)
            time.sleep(took_s)

    def quantiles(self) -> tuple[float, float, float]:
        """The median, the 99th percentile and the maximum."""
        median, high, most = np.quantile(self.taken_ms, [0.5, 0.99, 1.0])
        return round(float(median), 3), round(float(high), 3), round(float(most), 3)

    def close(self) -> None:
        self._reader.close()


def measure_fill(
    method: str, offline: Path, home: Path, customers: int, seed: int, say: Say, url: str = ""
) -> list[Fill]:
    """Fills an empty store, and fills it again."""
    from concurrent.futures import ThreadPoolExecutor

    store = open_store(Settings(home=home, online_store=url))
    store.writer(ENDPOINT).fill([[(f"c-{number}", b"{}", 0.0) for number in range(KEYS)]])
    fills = []
    look_ups = LookUps(store, KEYS, seed)
    with ThreadPoolExecutor(1) as pool:
        for is_first in (True, False):
            before_s = server_cpu_s(url) if url else 0.0
            filling = pool.submit(fill_in_process, method, offline, home, url)
            look_ups.run(filling.done)
            spent = filling.result()
            server_s = server_cpu_s(url) - before_s if url else 0.0
            fills.append(
                Fill(
                    method, is_first, round(spent.cpu_s, 2), round(spent.wall_s, 2), round(spent.peak_mib, 1),
                    round(_size_mib(home, url), 1), len(look_ups.taken_ms), *look_ups.quantiles(),
                    round(server_s, 2),
                )
            )  # fmt: skip
            say(f"{method}: {spent.cpu_s:.1f} s of CPU, {spent.peak_mib:,.0f} MiB")
            look_ups.close()
            look_ups = LookUps(store, customers, seed)
    look_ups.close()
    return fills


def _size_mib(home: Path, url: str) -> float:
    """The size of the store, once Redis has freed what was dropped."""
    if not url:
        return online_store_path(home).stat().st_size / 2**20
    while int(server_facts(url)["lazyfree_pending_objects"]):
        time.sleep(0.05)
    return int(server_facts(url)["used_memory_dataset"]) / 2**20


def render_online_store(found: OnlineStoreResult) -> str:
    rows = [
        [
            f"{each.method}, {'empty store' if each.is_first else 'every row replaced'}",
            f"{each.cpu_s:.1f}",
            f"{each.server_cpu_s:.1f}" if each.server_cpu_s else "",
            f"{each.wall_s:.1f}",
            f"{each.peak_mib:,.0f}",
            f"{each.store_mib * 2**20 / found.customers:,.0f}",
            f"{each.lookup_p50_ms:.2f}",
            f"{each.lookup_p99_ms:.2f}",
            f"{each.lookup_max_ms:.1f}",
        ]
        for each in found.fills
    ]
    idle = [
        "no fill",
        "",
        "",
        "",
        "",
        "",
        f"{found.idle_p50_ms:.2f}",
        f"{found.idle_p99_ms:.2f}",
        f"{found.idle_max_ms:.1f}",
    ]
    header = ["fill", "CPU s", "server's CPU s", "wall s", "peak MiB", "bytes/customer", "look-up p50 ms", "p99 ms"]
    filled = markdown_table([*header, "longest ms"], [*rows, idle])
    if not found.look_up_costs:
        return filled
    costs = [
        [each.store, str(each.requests), str(each.customers), f"{each.cpu_us:.1f}"] for each in found.look_up_costs
    ]
    asked = markdown_table(["store", "requests at a time", "customers of each", "gateway's CPU us per customer"], costs)
    redis = f"Redis {found.redis_version}. " if found.redis_version else ""
    return f"{filled}\n\n{redis}What a look-up costs a gateway, without the decoding of the row:\n\n{asked}"


def main(arguments: Sequence[str] | None = None) -> int:
    parser = benchmark_parser("online_store", "What it costs to fill the online store.")
    parser.add_argument("--customers", type=int, default=1_000_000)
    parser.add_argument("--idle-s", type=float, default=5.0, help="seconds of look-ups without a fill (default 5)")
    options = parser.parse_args(arguments)
    customers, seed = options.customers, options.seed

    def measure(work: Path, say: Say) -> OnlineStoreResult:
        machine = describe_machine()
        offline = work / "newest.parquet"
        features = write_customers(offline, customers, seed)
        fills = [
            each for method in METHODS for each in measure_fill(method, offline, work / method, customers, seed, say)
        ]
        store = open_store(Settings(home=work / METHODS[0]))
        idle = LookUps(store, customers, seed)
        end_s = time.perf_counter() + options.idle_s
        idle.run(lambda: time.perf_counter() > end_s)
        reader = store.reader(ENDPOINT)
        row_bytes = len(reader.get("c-0") or b"")
        reader.close()
        idle.close()
        with running_redis(work) as url:
            version = ""
            if url:
                fills += measure_fill(REDIS, offline, work / REDIS, customers, seed, say, url)
                version = server_facts(url)["redis_version"].strip()
            else:
                say("redis-server is not installed: its part is left out")
            costs = measure_look_ups(work / METHODS[0], url, ENDPOINT, customers, seed)
        return OnlineStoreResult(
            machine, seed, customers, features, row_bytes, fills, len(idle.taken_ms), *idle.quantiles(), version, costs
        )

    return run_benchmark(options, measure, render_online_store)


if __name__ == "__main__":
    sys.exit(main())
