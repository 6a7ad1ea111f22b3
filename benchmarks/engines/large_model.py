"""A model of the product page's size on a CPU, used as its callers would: ``python -m benchmarks.large_model``.

The page shows 142 MB and 24 ms. So 35.5 million weights are trained for two epochs on the demo's customers, exported by
the product's pipeline, and rolled out on a cluster of its own with one replica. One caller sends one request at a time
over HTTP, each for another customer: a closed loop. The bar is a median of 24 ms.
"""

from __future__ import annotations

import http.client
import itertools
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit

import msgspec
import numpy as np

from benchmarks.engines.models import LARGE_HIDDEN, TrainedModel, open_model, train_model
from benchmarks.harness.bench_bundle import Workload
from benchmarks.harness.command import Say, benchmark_parser, run_benchmark
from benchmarks.harness.machine import Machine, describe_machine
from benchmarks.harness.product_cluster import quiet_cluster
from benchmarks.load.rows import encode_bodies, read_rows
from benchmarks.peers.divisions_gateway import start_version
from divisions.bundle import read_bundle
from trainers.demo_data import write_demo_data

PAGE_MS = 24.0
WARM_REQUESTS = 50


class LargeModelResult(msgspec.Struct, frozen=True):
    """Latencies as the caller sees them, in milliseconds, of ``requests`` after a warm-up; none of them retried."""

    machine: Machine
    seed: int
    model_bytes: int
    bundle_sha256: str
    engine: str
    requests: int
    failed: int
    p50_ms: float
    p90_ms: float
    p99_ms: float
    least_ms: float
    page_ms: float = PAGE_MS


def ask(url: str, bodies: Sequence[bytes], requests: int) -> tuple[list[float], int]:
    """One caller on one connection: milliseconds of each request, and how many had no 2xx answer."""
    address = urlsplit(url)
    connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=30)
    taken_ms: list[float] = []
    failed = 0
    for index, body in enumerate(itertools.islice(itertools.cycle(bodies), WARM_REQUESTS + requests)):
        begin_s = time.perf_counter()
        connection.request("POST", address.path, body, {"content-type": "application/json"})
        answer = connection.getresponse()
        answer.read()
        if index >= WARM_REQUESTS:
            taken_ms.append((time.perf_counter() - begin_s) * 1e3)
            failed += not 200 <= answer.status < 300
    connection.close()
    return taken_ms, failed


def measure(work: Path, bundle: Path | None, requests: int, seed: int, say: Say) -> LargeModelResult:
    """Trains unless a bundle is given, serves, asks.

    Raises:
        DivisionsError: the cluster does not come up, or the version does not serve.
        RuntimeError: training failed.
    """
    machine = describe_machine()
    if bundle is None:
        say("training 35.5 million weights for two epochs, and comparing the export row by row")
    model: TrainedModel = (
        open_model("large", bundle) if bundle else train_model("large", work, LARGE_HIDDEN, epochs=2, seed=seed)
    )
    bodies = encode_bodies(read_rows(write_demo_data(work / "data").holdout))
    workload = Workload(model.bundle, model.sha256, read_bundle(model.bundle).schema, bodies[0])
    with quiet_cluster(work, say) as cluster:
        served = start_version(cluster, workload)
        say(f"asking {requests} times")
        taken_ms, failed = ask(served.url, bodies, requests)
        with cluster.client() as client:
            engine = client.status().replicas[0].engine
    p50_ms, p90_ms, p99_ms = (round(float(np.percentile(taken_ms, share)), 2) for share in (50, 90, 99))
    return LargeModelResult(
        machine,
        seed,
        model.model_bytes,
        model.sha256,
        engine,
        requests,
        failed,
        p50_ms,
        p90_ms,
        p99_ms,
        round(min(taken_ms), 2),
    )


def render(found: LargeModelResult) -> str:
    machine = found.machine
    verdict = "within" if found.p50_ms <= found.page_ms else "beyond"
    return (
        f"{machine.cpu}, {machine.cores} cores, load {machine.load_average:g} before\n"
        f"{found.model_bytes / 1e6:.1f} MB on {found.engine}, one HTTP request at a time, {found.requests} of them, "
        f"{found.failed} failed:\n"
        f"p50 {found.p50_ms:.2f} ms, p90 {found.p90_ms:.2f}, p99 {found.p99_ms:.2f}, least {found.least_ms:.2f}; "
        f"{verdict} the page's {found.page_ms:g} ms"
    )


def main(arguments: Sequence[str] | None = None) -> int:
    parser = benchmark_parser("large_model", "A model of 142 MB behind HTTP on a CPU.")
    parser.add_argument("--bundle", type=Path, help="a bundle trained on the demo's customers; trained when not given")
    parser.add_argument("--requests", type=int, default=500, help="how many are measured (default 500)")
    options = parser.parse_args(arguments)
    return run_benchmark(
        options, lambda work, say: measure(work, options.bundle, options.requests, options.seed, say), render
    )


if __name__ == "__main__":
    sys.exit(main())
