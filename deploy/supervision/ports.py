"""Ports: checks that one is free, names the process that uses it, and picks free ones."""

from __future__ import annotations

import contextlib
import errno
import socket
from collections.abc import Mapping

import psutil

from divisions.errors import PortInUseError, SettingsError


def require_free(host: str, port: int, purpose: str, remedy: str) -> None:
    """Checks that we could listen on a port.

    Gateways share their port with SO_REUSEPORT, so two clusters would silently share it too. This socket does not set
    SO_REUSEPORT, so binding fails if any process listens. It sets SO_REUSEADDR: otherwise connections of the previous
    cluster in TIME_WAIT would make binding fail.

    Raises:
        PortInUseError: a process listens there, or the address does not belong to this machine.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
            probe.listen(1)
        except OSError as error:
            owner = describe_listener(port)
            by = f" (used by {owner})" if owner else ""
            raise PortInUseError(
                f"cannot listen on {host}:{port} for {purpose}: {error.strerror}{by}",
                remedy=_remedy(error, remedy),
            ) from None


def _remedy(error: OSError, other_port: str) -> str:
    """What helps against a failed bind: another port, or another address."""
    if isinstance(error, socket.gaierror) or error.errno in {errno.EADDRNOTAVAIL, errno.EINVAL}:
        return "set DIVISIONS_HOST to an address of this machine, or to 0.0.0.0"
    if error.errno == errno.EACCES:
        return f"ports below 1024 are for root only; {other_port}"
    return other_port


def require_distinct(ports: Mapping[str, int]) -> None:
    """Checks that no two of our own purposes have the same port.

    Raises:
        SettingsError: two have.
    """
    seen: dict[int, str] = {}
    for purpose, port in ports.items():
        if port in seen:
            raise SettingsError(
                f"{seen[port]} and {purpose} cannot both have port {port}", remedy="choose another for one of them"
            )
        seen[port] = purpose


def choose_free(count: int, host: str = "127.0.0.1") -> list[int]:
    """Picks ports that are free now. They differ, because all are bound at the same time."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind((host, 0))
        return [int(one.getsockname()[1]) for one in sockets]


def describe_listener(port: int) -> str:
    """``pid 123 (python app.py)``, or nothing where the system does not tell."""
    with contextlib.suppress(psutil.Error, OSError):
        for connection in psutil.net_connections("tcp"):
            is_listening = connection.status == psutil.CONN_LISTEN and connection.pid is not None
            if is_listening and connection.laddr and connection.laddr.port == port:
                command = " ".join(psutil.Process(connection.pid).cmdline())
                return f"pid {connection.pid} ({command[:80]})"
    return ""
