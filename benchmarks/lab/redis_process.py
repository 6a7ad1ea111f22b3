"""A Redis of the benchmark's own, on a port and in a folder of its own, without a disk to wait for."""

from __future__ import annotations

import secrets
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from divisions.errors import OnlineStoreError
from divisions.redis_store.connection import Connection
from divisions.store_url import RedisAddress, parse_store_url

START_S = 20.0


@contextmanager
def running_redis(folder: Path) -> Iterator[str]:
    """Gives its URL; empty where ``redis-server`` is not installed."""
    command = shutil.which("redis-server")
    if command is None:
        yield ""
        return
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    password = secrets.token_hex(8)
    (folder / "redis.conf").write_text(
        f'port {port}\nbind 127.0.0.1\nrequirepass {password}\ndir {folder}\nsave ""\nappendonly no\n'
    )
    server = subprocess.Popen([command, str(folder / "redis.conf")], stdout=subprocess.DEVNULL)
    url = f"redis://:{password}@127.0.0.1:{port}/0"
    try:
        _wait(parse_store_url(url), server)
        yield url
    finally:
        server.kill()
        server.wait()


def server_facts(url: str) -> dict[str, str]:
    """What the server tells of itself, by the names that it has for it."""
    connection = Connection(parse_store_url(url), "read")
    reply = connection.call(b"INFO", b"everything")
    connection.close()
    text = reply.decode() if isinstance(reply, bytes) else ""
    return dict(line.split(":", 1) for line in text.splitlines() if ":" in line)


def server_cpu_s(url: str) -> float:
    facts = server_facts(url)
    return float(facts["used_cpu_user"]) + float(facts["used_cpu_sys"])


def _wait(address: RedisAddress, server: subprocess.Popen[bytes]) -> None:
    end_s = time.perf_counter() + START_S
    while True:
        try:
            Connection(address, "read").call(b"PING")
            return
        except OnlineStoreError:
            if time.perf_counter() > end_s or server.poll() is not None:
                raise
            time.sleep(0.05)
