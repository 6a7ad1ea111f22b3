"""Requests drawn at random against a real gateway: ``python -m benchmarks.fuzz --output json``.

HTTP and the Open Inference Protocol, JSON and binary tensors, valid and nearly valid: `benchmarks.stress.fuzz_requests`
draws them, the same ones from the same seed. Every request must be answered. The store has the features of one
customer. A 5xx is the request's own doing only as 501 and 505, to another version or encoding of HTTP, and as 504 at a
deadline that it names; the report counts all others. Of those, 503 and 504 under overload are no faults of the gateway,
and the rest are. The gateway's memory must not grow.

With ``--keys`` they go to a whole cluster whose endpoint asks for keys and whose gateways believe an issuer: without a
token, with wrong ones, with those of roles that may change nothing, and with JWTs, right and forged. Then nothing may
have changed, and the audit log must verify. With ``--tls`` they go over TLS.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import sys
import time
from collections import Counter
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import msgspec

from benchmarks.harness.bench_bundle import ENDPOINT, Workload, write_workload
from benchmarks.harness.command import Say, benchmark_parser, run_benchmark
from benchmarks.harness.machine import Machine, describe_machine
from benchmarks.harness.process_stats import listeners, rss_bytes
from benchmarks.harness.product_cluster import ProductCluster, quiet_cluster
from benchmarks.lab.certificates import write_port_pair
from benchmarks.lab.lab import Arrangement, lab
from benchmarks.peers.divisions_gateway import start_version
from benchmarks.stress.fuzz_client import OWN_DEADLINE, fuzz
from benchmarks.stress.fuzz_requests import REFUSED_VERSIONS
from benchmarks.stress.local_issuer import LocalIssuer, serving
from divisions.access.audit_file import AuditFile
from divisions.access.limits import NO_LIMITS, Limits
from divisions.access.roles import Role
from divisions.online_store import OnlineRow, online_store_path
from divisions.online_writer import OnlineStoreWriter
from divisions.sdk.tokens import Tokens

PARTS = 10
"""The memory is read after each part."""
FEATURES = 4


class ServerErrors(msgspec.Struct, frozen=True):
    """Answers of 500 and more that are alike, but for those to another HTTP.

    ``cause`` is the code or the text of the reply.
    """

    status: int
    route: str
    cause: str
    count: int


class FuzzResult(msgspec.Struct, frozen=True, tag="fuzz"):
    """``statuses`` counts answers; ``rss_mb`` is the gateway's memory before, and after each tenth."""

    machine: Machine
    seed: int
    requests: int
    clients: int
    statuses: dict[str, int]
    unanswered: int
    wrong: int
    faults: list[str]
    rss_mb: list[float]
    has_keys: bool = False
    is_encrypted: bool = False
    changed: list[str] = []
    """With keys: what differs after it, among rollouts, tokens and the audit log."""
    server_errors: list[ServerErrors] = []
    """The most frequent first."""


def measure(work: Path, say: Say, requests: int, seed: int, clients: int) -> FuzzResult:
    workload = _workload(work, seed)
    with lab(workload, work, Arrangement()) as running:
        port = int(running.served.url.split(":")[2].partition("/")[0])
        (gateway,) = running.gateway_pids
        fill_store(online_store_path(work / "home"), workload)
        return _fuzzed(workload, port, gateway, say, requests, seed, clients)


def measure_with_keys(
    work: Path, say: Say, requests: int, seed: int, clients: int, *, is_encrypted: bool = False
) -> FuzzResult:
    """The same against a whole cluster whose endpoints ask for keys."""
    workload = _workload(work, seed)
    issuer = LocalIssuer(time.time())
    settings, context = tls_port(work, is_encrypted=is_encrypted)
    with contextlib.ExitStack() as stack:
        settings["DIVISIONS_OIDC_FILE"] = str(stack.enter_context(serving(issuer, work)))
        cluster = stack.enter_context(quiet_cluster(work, say, environment=settings))
        start_version(cluster, workload, needs_key=True)
        fill_store(online_store_path(cluster.home), workload)
        given = [*some_tokens(cluster), *issuer.right(), *issuer.wrong()]
        before = state_of(cluster)
        (gateway,) = listeners(cluster.port)
        found = _fuzzed(workload, cluster.port, gateway, say, requests, seed, clients, given, context)
        after = state_of(cluster)
        cluster.divisions("audit", "verify")
    changed = [name for name, value in before.items() if after[name] != value]
    return msgspec.structs.replace(found, has_keys=True, is_encrypted=is_encrypted, changed=changed)


def some_tokens(cluster: ProductCluster) -> list[str]:
    """Tokens of roles that may change nothing: some may predict, one may not here, one is slow, one was revoked."""
    made = (
        ("reader", Role.VIEWER, (), NO_LIMITS),
        ("app", Role.PREDICTOR, (ENDPOINT,), NO_LIMITS),
        ("job", Role.TRAINER, (), NO_LIMITS),
        ("elsewhere", Role.PREDICTOR, ("other",), NO_LIMITS),
        ("slow", Role.PREDICTOR, (), Limits(5, 1, 2, 500)),
        ("gone", Role.PREDICTOR, (), NO_LIMITS),
    )
    with cluster.client() as client:
        tokens = Tokens(client)
        given = [
            tokens.create(name, role, endpoints=endpoints, limits=limits).token
            for name, role, endpoints, limits in made
        ]
        tokens.revoke("gone")
    return given


def fill_store(path: Path, workload: Workload) -> None:
    """Writes the customer of the workload's request, whom the fuzz knows, too, into the store of stored features."""
    row = msgspec.json.decode(workload.body)
    OnlineStoreWriter(path, ENDPOINT).upsert([OnlineRow(row["customer_id"], time.time(), row["features"])])


def state_of(cluster: ProductCluster) -> dict[str, object]:
    """What no request of a fuzz may change."""
    with cluster.client() as client:
        status = client.status()
        return {
            "rollouts": [(each.endpoint, each.phase, each.generation, each.history) for each in status.rollouts],
            "replicas": sorted((each.name, each.version, each.weight_bp, each.restarts) for each in status.replicas),
            "bundles and registry": sorted(
                (str(path.relative_to(cluster.home)), path.stat().st_size)
                for folder in ("bundles", "artifacts", "mlruns")
                for path in (cluster.home / folder).rglob("*")
                if path.is_file()
            ),
            "tokens": [msgspec.structs.replace(each, last_used_s=0.0) for each in Tokens(client).list()],
            "the audit log": [
                line.event for line in AuditFile(cluster.home).read().lines if line.event.outcome != "refused"
            ],
        }


def tls_port(work: Path, *, is_encrypted: bool) -> tuple[dict[str, str], ssl.SSLContext | None]:
    """Settings of a cluster whose port has TLS, and how its callers trust it; nothing of both without TLS."""
    if not is_encrypted:
        return {}, None
    certificate, key = write_port_pair(work)
    return {"DIVISIONS_TLS_CERT": certificate, "DIVISIONS_TLS_KEY": key}, ssl.create_default_context(cafile=certificate)


def _workload(work: Path, seed: int) -> Workload:
    return write_workload(work / "bundle", num_features=FEATURES, seed=seed, widths=(16,), takes_any=True)


def _fuzzed(
    workload: Workload,
    port: int,
    gateway: int,
    say: Say,
    requests: int,
    seed: int,
    clients: int,
    tokens: Sequence[str] = (),
    context: ssl.SSLContext | None = None,
) -> FuzzResult:
    """Sends everything, and reads the memory of the gateway's process."""
    names = workload.schema.names
    statuses: dict[int, int] = {}
    causes: Counter[tuple[int, str, str]] = Counter()
    unanswered = wrong = 0
    faults: list[str] = []
    rss_mb = [rss_bytes(gateway) / 1e6]
    for part in range(PARTS):
        count = requests // PARTS + (part < requests % PARTS)
        found = asyncio.run(fuzz(port, ENDPOINT, names, count, seed * PARTS + part, clients, tokens, context))
        for status, times in found.statuses.items():
            statuses[status] = statuses.get(status, 0) + times
        causes += found.causes
        unanswered += found.unanswered
        wrong += found.wrong
        faults += found.faults
        rss_mb.append(rss_bytes(gateway) / 1e6)
        say(f"{part + 1} of {PARTS}: {unanswered} unanswered, {wrong} wrong, {rss_mb[-1]:.1f} MB")
    return FuzzResult(
        machine=describe_machine(),
        seed=seed,
        requests=requests,
        clients=clients,
        statuses={str(status): count for status, count in sorted(statuses.items())},
        unanswered=unanswered,
        wrong=wrong,
        faults=faults[:20],
        rss_mb=[round(each, 1) for each in rss_mb],
        server_errors=[ServerErrors(*alike, count) for alike, count in causes.most_common()],
    )


def unexcused(found: FuzzResult) -> int:
    """Answers of 500 and more that are not the request's own doing."""
    every = sum(count for status, count in found.statuses.items() if int(status) >= 500)
    return every - unspoken(found) - own_deadlines(found)


def unspoken(found: FuzzResult) -> int:
    """Answers of 501 and 505."""
    return sum(found.statuses.get(str(status), 0) for status in REFUSED_VERSIONS)


def own_deadlines(found: FuzzResult) -> int:
    """Answers of 504 at a deadline that the request names."""
    return sum(each.count for each in found.server_errors if each.status == 504 and each.cause.endswith(OWN_DEADLINE))


def render(found: FuzzResult) -> str:
    counts = ", ".join(f"{status}: {count:,}" for status, count in found.statuses.items())
    lines = [
        f"{found.requests:,} requests of seed {found.seed} from {found.clients} clients",
        f"answers: {counts}",
        f"unanswered {found.unanswered}, wrong {found.wrong}",
        f"5xx: {unspoken(found):,} to versions and encodings of HTTP that it does not speak (501, 505), "
        f"{own_deadlines(found):,} at a deadline that the request names (504), {unexcused(found) or 'no'} others",
        f"memory {found.rss_mb[0]} MB before, then {', '.join(map(str, found.rss_mb[1:]))}",
    ]
    if found.has_keys:
        lines.append(f"changed: {', '.join(found.changed) or 'nothing'}; the audit log verifies")
    lines += [f"{each.count} x {each.status} to {each.route}: {each.cause}" for each in found.server_errors]
    return "\n".join([*lines, *found.faults])


def main(arguments: Sequence[str] | None = None) -> int:
    parser = benchmark_parser("fuzz", "Requests drawn at random, each of which must be answered.")
    parser.add_argument("--requests", type=int, default=100_000, help="how many (default 100000)")
    parser.add_argument("--clients", type=int, default=32, help="connections at a time (default 32)")
    parser.add_argument("--keys", action="store_true", help="a whole cluster whose endpoints ask for keys")
    parser.add_argument("--tls", action="store_true", help="with --keys: over TLS")
    options = parser.parse_args(arguments)
    results: list[FuzzResult] = []

    def run(work: Path, say: Say) -> FuzzResult:
        act = partial(measure_with_keys, is_encrypted=options.tls) if options.keys else measure
        results.append(act(work, say, options.requests, options.seed, options.clients))
        return results[0]

    status = run_benchmark(options, run, render)
    return status or int(any(found.unanswered or found.wrong or found.changed for found in results))


if __name__ == "__main__":
    sys.exit(main())
