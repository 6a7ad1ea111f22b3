"""Ports: whether one is free, who has it otherwise, and picking free ones."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Mapping
from pathlib import Path

from divisions.errors import PortInUseError, SettingsError

_LISTENING = "0A"  # the state's code in /proc/net/tcp


def require_free(host: str, port: int, purpose: str, remedy: str) -> None:
    """Checks that we could listen on a port.

    Gateways share their port with SO_REUSEPORT, so two clusters would silently share it too. This bind does without,
    so it fails if anybody listens. It does have SO_REUSEADDR, or else connections of the last cluster that are in
    TIME_WAIT would count as somebody.

    Raises:
        PortInUseError: somebody listens there, or the address is not ours.
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
                f"cannot listen on {host}:{port} for {purpose}: {error.strerror}{by}", remedy=remedy
            ) from None


def require_distinct(ports: Mapping[str, int]) -> None:
    """Checks that nobody is to listen where another of ours does; ``ports`` by what they are for.

    Raises:
        SettingsError: two are the same.
    """
    seen: dict[int, str] = {}
    for purpose, port in ports.items():
        if port in seen:
            raise SettingsError(
                f"{seen[port]} and {purpose} cannot both have port {port}", remedy="choose another for one of them"
            )
        seen[port] = purpose


def choose_free(count: int, host: str = "127.0.0.1") -> list[int]:
    """Picks ports that are free now; they are all different because they are held at the same time."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind((host, 0))
        return [int(one.getsockname()[1]) for one in sockets]


def describe_listener(port: int, proc: Path = Path("/proc")) -> str:
    """``pid 123 (python app.py)``, or nothing where the system does not tell."""
    inodes = {f"socket:[{inode}]" for inode in _listening_inodes(port, proc)}
    if not inodes:
        return ""
    for folder in proc.glob("[0-9]*"):
        with contextlib.suppress(OSError):
            for link in (folder / "fd").iterdir():
                if str(link.readlink()) in inodes:
                    command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
                    return f"pid {folder.name} ({command[:80]})"
    return ""


def _listening_inodes(port: int, proc: Path) -> list[str]:
    inodes = []
    for table in ("tcp", "tcp6"):
        with contextlib.suppress(OSError):
            for line in (proc / "net" / table).read_text().splitlines()[1:]:
                columns = line.split()
                if columns[3] == _LISTENING and int(columns[1].rpartition(":")[2], 16) == port:
                    inodes.append(columns[9])
    return inodes
