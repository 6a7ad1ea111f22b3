"""The lab over several hosts: on each a gateway and a replica, with TLS between the hosts."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from benchmarks.harness.bench_bundle import ENDPOINT, Workload
from benchmarks.harness.ports import free_ports
from benchmarks.lab.lab import (
    ELSEWHERE,
    Arrangement,
    Starter,
    Transport,
    channel_environment,
    start_replicas,
    starter,
    version_spec,
    write_authority,
)
from benchmarks.lab.namespaces import NetworkHost
from divisions.control import FULL_BP, EndpointRoute, ReplicaAddress, RoutingTable, VersionRoute


@dataclass(frozen=True, slots=True)
class HostLab:
    """A running lab: one URL and one gateway for each host."""

    urls: tuple[str, ...]
    gateway_pids: tuple[int, ...]
    replica_pids: tuple[int, ...]


@contextlib.contextmanager
def host_lab(workload: Workload, work: Path, hosts: Sequence[NetworkHost], prefers_own: bool) -> Iterator[HostLab]:
    """Starts the lab in ``work``, an empty folder, and stops it.

    Args:
        workload: the model and the request.
        work: a folder of its own.
        hosts: where.
        prefers_own: whether a gateway knows the replica of its own host; else every batch crosses the network.

    Raises:
        RuntimeError: a process did not start; its output is quoted.
    """
    authority = write_authority(work)
    spec = version_spec(workload, "1.1", Arrangement())
    ports = free_ports(len(hosts))
    with contextlib.ExitStack() as stack:
        starts: list[Starter] = []
        replicas: list[ReplicaAddress] = []
        for host, port in zip(hosts, ports, strict=True):
            folder = work / host.name
            folder.mkdir()
            variables = channel_environment(host.address, Transport.TLS) | {
                "DIVISIONS_HOST": host.address,
                "DIVISIONS_PORT": str(port),
            }
            start = stack.enter_context(starter(folder, host.prefix, **variables))
            starts.append(start)
            replicas += start_replicas(start, spec, folder, 1, host.name, authority)
        table = RoutingTable(
            1, (EndpointRoute(ENDPOINT, "salt", (VersionRoute(spec, FULL_BP, False, tuple(replicas)),)),)
        )
        (work / "table.json").write_bytes(msgspec.json.encode(table))
        gateways = []
        for host, start in zip(hosts, starts, strict=True):
            node = host.name if prefers_own else ELSEWHERE
            arguments = (str(work / "table.json"), f"node={node}", f"authority={authority}")
            gateways.append(start(f"gateway-{host.name}", "benchmarks.lab.gateway", *arguments))
        for gateway in gateways:
            gateway.first_line()
        yield HostLab(
            tuple(
                f"http://{host.address}:{port}/api/v2/predict/{ENDPOINT}"
                for host, port in zip(hosts, ports, strict=True)
            ),
            tuple(gateway.pid for gateway in gateways),
            tuple(replica.pid for replica in replicas),
        )
