"""The ports of a gateway: who may name them in a Host header, with which certificate, and how they listen."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Sequence
from typing import cast

from divisions.clock import Clock
from divisions.errors import SettingsError
from divisions.settings import Settings
from router.gateway.port_certificate import PortCertificate
from router.http.connection import HttpServer
from router.http.hosts import canonical
from router.http.tls_port import TlsPort

SHARED_BACKLOG, OWN_BACKLOG = 2_048, 16


def certificate_of(settings: Settings, clock: Clock) -> PortCertificate | None:
    """What the ports serve; None without TLS.

    Raises:
        SettingsError: it cannot be used.
    """
    if not settings.tls_cert:
        return None
    return PortCertificate((settings.tls_cert, settings.tls_key), settings.home, clock.wall_s)


async def listen(
    http: HttpServer,
    hosts: tuple[str, ...],
    port: int,
    certificate: PortCertificate | None,
    clock: Clock,
    *,
    is_shared: bool,
) -> tuple[asyncio.Server | TlsPort, int]:
    """Listens; returns what to close, and the port.

    Raises:
        OSError: an address cannot be bound.
    """
    protocol = cast(Callable[[], asyncio.Protocol], http.protocol)
    backlog = SHARED_BACKLOG if is_shared else OWN_BACKLOG
    if certificate is not None:
        encrypted = TlsPort(protocol, certificate.context, clock)
        return encrypted, await encrypted.listen(hosts, port, is_shared=is_shared, backlog=backlog)
    server = await asyncio.get_running_loop().create_server(
        protocol, hosts, port, reuse_port=is_shared, backlog=backlog
    )
    return server, int(server.sockets[0].getsockname()[1])


def allowed_hosts(settings: Settings, certified: Sequence[str] = ()) -> frozenset[bytes]:
    """Host names that are answered; empty for any.

    The default: loopback names, the bound address, this host's name, and those that the port's certificate is for:
    their owner has vouched for them. One with a ``*`` is none of a host.
    """
    if "*" in settings.allowed_hosts:
        return frozenset()
    if settings.allowed_hosts:
        named = {text: canonical(text.encode()) for text in settings.allowed_hosts}
        for text, host in named.items():
            if not host:
                raise SettingsError(
                    f"DIVISIONS_ALLOWED_HOSTS: {text[:80]!r} is no host name or address",
                    remedy="write names or addresses, separated by commas, such as gateway.example,[fd00::1]",
                )
    else:
        usual = ("127.0.0.1", "localhost", "::1", *settings.hosts, socket.gethostname(), *certified)
        named = {text: canonical(text.encode()) for text in usual}
    return frozenset(host for host in named.values() if host)
