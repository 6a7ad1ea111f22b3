"""Finds the Ray nodes that run on this machine. A driver of a cluster must run beside one of its nodes."""

from __future__ import annotations

import contextlib
import ipaddress
import os
import re
import socket
from dataclasses import dataclass
from pathlib import Path

import psutil

_GCS = re.compile(r"--gcs-address=(\S+)")
_ADDRESS = re.compile(r"--node[-_]ip[-_]address=(\S+)")


@dataclass(frozen=True, slots=True)
class LocalRaylet:
    """A node of the cluster whose head is at ``gcs_address``; ``address`` is its own."""

    pid: int
    gcs_address: str
    address: str


def find_local_raylets() -> list[LocalRaylet]:
    """The nodes of this machine: of this network namespace, because another one's are not reached."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if process.name() == "raylet" and _namespace(process.pid) == _namespace(os.getpid()):
                raylet = read_raylet(process.pid, process.cmdline())
                found += [raylet] if raylet else []
    return found


def read_raylet(pid: int, arguments: list[str]) -> LocalRaylet | None:
    """A node by its command line.

    >>> read_raylet(7, ["raylet", "--node_ip_address=10.0.0.7", "--gcs-address=10.0.0.1:6379"])
    LocalRaylet(pid=7, gcs_address='10.0.0.1:6379', address='10.0.0.7')
    """
    text = " ".join(arguments)
    gcs, address = _GCS.search(text), _ADDRESS.search(text)
    return LocalRaylet(pid, gcs[1], address[1]) if gcs and address else None


def is_same_address(one: str, other: str) -> bool:
    """Whether two ``host:port`` name the same place; names are looked up.

    >>> is_same_address("localhost:6379", "127.0.0.1:6379"), is_same_address("127.0.0.1:1", "127.0.0.1:2")
    (True, False)
    """
    if one == other:
        return True
    (host, _, port), (other_host, _, other_port) = one.rpartition(":"), other.rpartition(":")
    return port == other_port and bool(_addresses(host) & _addresses(other_host))


def _addresses(host: str) -> set[str]:
    host = host.strip("[]")
    with contextlib.suppress(ValueError):
        return {str(ipaddress.ip_address(host))}
    with contextlib.suppress(OSError, UnicodeError):
        return {str(found[4][0]) for found in socket.getaddrinfo(host, None)}
    return {host}


def _namespace(pid: int) -> str:
    return os.readlink(Path(f"/proc/{pid}/ns/net"))
