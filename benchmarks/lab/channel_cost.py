"""What a connection between nodes costs a replica: the CPU of a handshake, the memory of an open connection."""

from __future__ import annotations

import asyncio
import contextlib

from benchmarks.harness.process_stats import cpu_s, rss_bytes
from benchmarks.lab.certificates import self_signed
from benchmarks.lab.lab import TOKEN, Lab
from divisions.certificates.contexts import client_context
from divisions.certificates.names import Role, host_name
from divisions.wire import encode_hello

CONNECTIONS = 200


async def _dial(running: Lab) -> tuple[float, float]:
    (replica,) = running.replicas
    host, _, port = replica.tcp.rpartition(":")
    context = client_context(self_signed(Role.GATEWAY, "dialler", running.authority))
    name = host_name(Role.REPLICA, replica.replica_id)
    before_s, before_bytes = cpu_s(replica.pid), rss_bytes(replica.pid)
    writers = []
    try:
        for _ in range(CONNECTIONS):
            reader, writer = await asyncio.open_connection(host, int(port), ssl=context, server_hostname=name)
            writer.write(encode_hello(TOKEN.encode()))
            await reader.read(1)
            writers.append(writer)
        return (
            (cpu_s(replica.pid) - before_s) / CONNECTIONS * 1e6,
            max(0.0, (rss_bytes(replica.pid) - before_bytes) / CONNECTIONS / 1024),
        )
    finally:
        for writer in writers:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()


def connection_cost(running: Lab) -> tuple[float, float]:
    """Microseconds of the replica's CPU for one connection, and its memory for one in KiB. The lab speaks TLS."""
    return asyncio.run(_dial(running))
