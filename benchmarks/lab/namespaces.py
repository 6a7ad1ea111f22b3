"""Hosts with a network of their own, for benchmarks: network namespaces at one bridge. Files and processors are shared.

Without root, or without ``ip``, the "hosts" share the loopback interface. Then only the number of processes is like
that of several hosts.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class NetworkHost:
    """``prefix`` is the command that runs another one on the host."""

    name: str
    address: str
    prefix: tuple[str, ...] = ()


def has_namespaces() -> bool:
    return os.getuid() == 0 and shutil.which("ip") is not None


@contextlib.contextmanager
def network_hosts(count: int) -> Iterator[list[NetworkHost]]:
    """Makes the hosts; afterwards they are gone. This machine reaches them."""
    if not has_namespaces():
        yield [NetworkHost(f"host{number}", "127.0.0.1") for number in range(1, count + 1)]
        return
    # Names and addresses of this process alone, so that two runs do not meet.
    pid = os.getpid()
    bridge, subnet = f"dvb{pid}", f"10.{64 + pid % 60}.{1 + pid // 60 % 250}"
    hosts = []
    with contextlib.ExitStack() as stack:
        stack.callback(_ip, "link", "delete", bridge, check=False)
        _ip("link", "add", bridge, "type", "bridge")
        _ip("address", "add", f"{subnet}.254/24", "dev", bridge)
        _ip("link", "set", bridge, "up")
        for number in range(1, count + 1):
            name, near = f"dvb{pid}-{number}", f"dvb{pid}p{number}"
            address = f"{subnet}.{number}"
            stack.callback(_ip, "netns", "delete", name, check=False)
            _ip("netns", "add", name)
            _ip("link", "add", near, "type", "veth", "peer", "name", "eth0", "netns", name)
            _ip("link", "set", near, "master", bridge, "up")
            _ip("-n", name, "address", "add", f"{address}/24", "dev", "eth0")
            _ip("-n", name, "link", "set", "eth0", "up")
            _ip("-n", name, "link", "set", "lo", "up")
            hosts.append(NetworkHost(f"host{number}", address, ("ip", "netns", "exec", name)))
        yield hosts


def _ip(*arguments: str, check: bool = True) -> None:
    done = subprocess.run(["ip", *arguments], capture_output=True, text=True, check=False)
    if check and done.returncode:
        raise RuntimeError(f"`ip {' '.join(arguments)}` failed: {done.stderr.strip()}")
