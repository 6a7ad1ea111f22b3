"""The lab: gateways and replicas as plain processes, without Ray. They start in a second, and every setting can be
chosen.

The code is the product's, and so is the arrangement: HTTP to a gateway process, a Unix socket, TCP or TLS to a replica
process. The routing table is fixed. What Ray adds (restarts, heartbeats every two seconds) is not on a request's way.
"""

from __future__ import annotations

import contextlib
import enum
import os
import selectors
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

import divisions
from benchmarks.harness.bench_bundle import ENDPOINT, MODEL, Workload
from benchmarks.harness.peer import Served
from benchmarks.harness.ports import free_ports
from benchmarks.lab.gateway import NO_BOOKKEEPING
from divisions.access.tokens import AccessList
from divisions.certificates.authority import new_authority
from divisions.control import (
    FULL_BP,
    EndpointRoute,
    EngineChoice,
    Placement,
    ReplicaAddress,
    RoutingTable,
    VersionRoute,
    VersionSpec,
)
from divisions.prediction_log import LogPolicy
from divisions.settings import runtime_dir

HERE, ELSEWHERE = "here", "elsewhere"
"""The replicas' node, and another one for a gateway that shall reach them over the network."""
TOKEN = "lab"
_ROOT = str(Path(divisions.__file__).parents[1])
_START_S = 60.0
_STOP_S = 10.0


class Transport(enum.StrEnum):
    """How a gateway reaches its replicas."""

    UNIX = "unix"
    TCP = "tcp"
    TLS = "tls"


@dataclass(frozen=True, slots=True)
class Arrangement:
    """What runs. With a ``canary_bp`` there are two versions of the same model, with ``replicas`` processes each."""

    gateways: int = 1
    replicas: int = 1
    max_batch: int = 256
    canary_bp: int = 0
    has_bookkeeping: bool = True
    """Whether the gateways count and observe requests for the rollout."""
    placement: Placement = Placement.REPLICAS
    transport: Transport = Transport.UNIX
    request_timeout_ms: int = 1_000
    needs_key: bool = False
    """Whether predictions need a key."""
    access: AccessList | None = None
    """Who has a token."""
    oidc_file: str = ""
    """The issuers whose JWTs are keys, too."""
    log: LogPolicy | None = None
    """What the gateways log of the answers."""
    engine: EngineChoice = EngineChoice.AUTO
    num_gpus: float = 0.0
    """A replica's share of a GPU."""
    port_pair: tuple[str, str] | None = None
    """Paths of the certificate and the key of the gateways' port; None for plain HTTP."""


@dataclass(frozen=True, slots=True)
class Lab:
    """A running arrangement."""

    served: Served
    gateway_pids: tuple[int, ...]
    replica_pids: tuple[int, ...]
    replicas: tuple[ReplicaAddress, ...] = ()
    authority: Path = Path()
    """Of the certificates, where the transport is TLS."""


@contextlib.contextmanager
def lab(workload: Workload, work: Path, arrangement: Arrangement) -> Iterator[Lab]:
    """Starts an arrangement in ``work``, an empty folder, and stops it.

    Raises:
        RuntimeError: a process did not start; its output is quoted.
    """
    (port,) = free_ports(1)
    over_tcp = arrangement.transport is not Transport.UNIX
    network = channel_environment("127.0.0.1", arrangement.transport) if over_tcp else {}
    authority = write_authority(work)
    network["DIVISIONS_REQUIRE_KEY"] = str(int(arrangement.needs_key))
    network["DIVISIONS_OIDC_FILE"] = arrangement.oidc_file
    network["DIVISIONS_REQUEST_TIMEOUT_MS"] = str(arrangement.request_timeout_ms)
    if arrangement.port_pair is not None:
        network["DIVISIONS_TLS_CERT"], network["DIVISIONS_TLS_KEY"] = arrangement.port_pair
    with starter(work, DIVISIONS_PORT=str(port), **network) as start:
        routes = []
        replicas: list[ReplicaAddress] = []
        labels = ("1.1", "1.2") if arrangement.canary_bp else ("1.1",)
        for label in labels:
            spec = version_spec(workload, label, arrangement)
            addresses = (
                start_replicas(start, spec, work, arrangement.replicas, HERE, authority)
                if _has_processes(arrangement)
                else ()
            )
            replicas += addresses
            weight_bp = arrangement.canary_bp if label == "1.2" else FULL_BP - arrangement.canary_bp
            routes.append(VersionRoute(spec, weight_bp, label == "1.2", tuple(addresses)))
        hosted = () if _has_processes(arrangement) else tuple(route.version for route in routes)
        table = RoutingTable(
            1, (EndpointRoute(ENDPOINT, "salt", tuple(routes)),), hosted, arrangement.access or AccessList()
        )
        (work / "table.json").write_bytes(msgspec.json.encode(table))
        switches = [f"node={ELSEWHERE if over_tcp else HERE}", f"authority={authority}"]
        switches += [] if arrangement.has_bookkeeping else [NO_BOOKKEEPING]
        gateways = [
            start(f"gateway-{number}", "benchmarks.lab.gateway", str(work / "table.json"), *switches)
            for number in range(arrangement.gateways)
        ]
        for gateway in gateways:
            gateway.first_line()
        scheme = "http" if arrangement.port_pair is None else "https"
        served = Served(f"{scheme}://127.0.0.1:{port}/api/v2/predict/{ENDPOINT}", workload.body)
        pids = tuple(gateway.pid for gateway in gateways), tuple(replica.pid for replica in replicas)
        yield Lab(served, *pids, tuple(replicas), authority)


@contextlib.contextmanager
def lone_replica(workload: Workload, work: Path) -> Iterator[ReplicaAddress]:
    """Starts one replica in ``work`` without any gateway, and stops it.

    Raises:
        RuntimeError: it did not start; its output is quoted.
    """
    spec = version_spec(workload, "1.1", Arrangement())
    with starter(work) as start:
        (address,) = start_replicas(start, spec, work, 1, HERE, write_authority(work))
        yield address


@contextlib.contextmanager
def starter(work: Path, prefix: Sequence[str] = (), **further: str) -> Iterator[Starter]:
    """Starts processes with a home of their own in ``work`` and these variables; in the end stops them all.

    Args:
        work: an empty folder.
        prefix: the command that runs another one where it shall run, such as in a network of its own.
        further: variables.
    """
    home = work / "home"
    home.mkdir()
    (home / "channel_token").write_text(TOKEN)
    kept = {name: value for name, value in os.environ.items() if not name.startswith("DIVISIONS_")}
    environment = kept | {"PYTHONPATH": _ROOT, "DIVISIONS_HOME": str(home)} | further
    with contextlib.ExitStack() as stack:
        stack.callback(shutil.rmtree, runtime_dir(home), ignore_errors=True)
        yield Starter(stack, work, environment, prefix)


def channel_environment(host: str, transport: Transport) -> dict[str, str]:
    """Variables that make a replica listen on an address as well."""
    return {"DIVISIONS_CHANNEL_HOST": host, "DIVISIONS_CHANNEL_TLS": str(int(transport is Transport.TLS))}


def write_authority(work: Path) -> Path:
    """A new authority, in a file for the processes of one lab."""
    path = work / "authority.pem"
    path.touch(0o600)
    path.write_bytes(new_authority(time.time()).pem)
    return path


def _has_processes(arrangement: Arrangement) -> bool:
    return arrangement.placement is Placement.REPLICAS


def version_spec(workload: Workload, label: str, arrangement: Arrangement) -> VersionSpec:
    return VersionSpec(
        model=MODEL,
        version=label,
        bundle_path=str(workload.bundle),
        bundle_sha256=workload.bundle_sha256,
        schema=workload.schema,
        max_batch=arrangement.max_batch,
        engine=arrangement.engine,
        num_gpus=arrangement.num_gpus,
        placement=arrangement.placement,
        log=arrangement.log,
    )


def start_replicas(
    start: Starter, spec: VersionSpec, work: Path, count: int, node: str, authority: Path
) -> Sequence[ReplicaAddress]:
    """Starts replicas of a version on a node; returns when they are warm."""
    path = work / f"spec-{spec.version}.json"
    path.write_bytes(msgspec.json.encode(spec))
    names = [f"{spec.version}-{node}{number}" for number in range(count)]
    further = (node, str(authority))
    processes = [start(f"replica-{name}", "benchmarks.lab.replica", str(path), name, *further) for name in names]
    return [msgspec.json.decode(process.first_line(), type=ReplicaAddress) for process in processes]


class _Process:
    """A process that prints one line when it is ready. It ends when its standard input ends, also when this process
    dies.
    """

    def __init__(self, name: str, process: subprocess.Popen[bytes], log: Path) -> None:
        self._name = name
        self._process = process
        self._log = log
        self.pid = process.pid

    def first_line(self) -> bytes:
        """Raises: RuntimeError: it ended, or said nothing in time."""
        assert self._process.stdout is not None
        ends_s = time.monotonic() + _START_S
        with selectors.DefaultSelector() as waiting:  # `select` takes no file descriptor above 1,023
            waiting.register(self._process.stdout, selectors.EVENT_READ)
            readable = waiting.select(ends_s - time.monotonic())
        line = self._process.stdout.readline() if readable else b""
        if not line:
            raise RuntimeError(f"{self._name} did not start: {self._log.read_text(errors='replace')[-500:].strip()}")
        return line

    def stop(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        try:
            self._process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            pass
        finally:
            self._process.kill()
            self._process.wait()
            self._process.stdout.close()


class Starter:
    """Starts modules as processes; the stack stops them."""

    def __init__(
        self, stack: contextlib.ExitStack, work: Path, environment: dict[str, str], prefix: Sequence[str] = ()
    ) -> None:
        self._stack = stack
        self._prefix = prefix
        self._work = work
        self.environment = environment

    def __call__(self, name: str, module: str, *arguments: str) -> _Process:
        log = self._work / f"{name}.log"
        with log.open("wb") as errors:
            process = subprocess.Popen(
                [*self._prefix, sys.executable, "-P", "-m", module, *arguments],
                env=self.environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                start_new_session=True,  # a Ctrl-C reaches us alone; we then stop it in order
            )
        started = _Process(name, process, log)
        self._stack.callback(started.stop)
        return started
