"""A gateway that does nothing, in front of the product's own replica: the fastest gateway that is possible here.

nginx answers by itself. When the model is in a process of its own, as here and in mosec, a request crosses to that
process and back, and both share the machine. `bare_relay.c` is the smallest program that does so.
"""

from __future__ import annotations

import contextlib
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.harness.bench_bundle import Workload
from benchmarks.harness.peer import Served
from benchmarks.harness.ports import free_ports
from benchmarks.lab.lab import lone_replica
from benchmarks.peers.nginx_static import BODY
from benchmarks.peers.server_process import server_process
from divisions.errors import InputError

_SOURCE = Path(__file__).with_name("bare_relay.c")
_REPLY = (
    "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nx-request-id: 0a1b2c3d-1a2b3c\r\nx-model-version: 1.1\r\n"
    f"server-timing: queue;dur=0.100, compute;dur=0.100\r\ncontent-length: {len(BODY)}\r\n\r\n{BODY}"
)


@dataclass(frozen=True, slots=True)
class BareRelay:
    """See the module. No Ray runs beside it."""

    name: str = "bare-relay"
    note: str = (
        "a C program of one read and one write per request before our replica, without Ray: real batches of a "
        "constant row, a constant reply; no parsing, decoding, deadlines or counting"
    )

    def prepare(self, build: Path, say: Callable[[str], None]) -> None:
        """Raises: InputError: there is no C compiler."""
        del build, say
        _compiler()

    @contextlib.contextmanager
    def serving(self, workload: Workload, work: Path) -> Iterator[Served]:
        program, reply = work / "bare_relay", work / "reply"
        reply.write_bytes(_REPLY.encode())
        command = [_compiler(), "-O2", "-D_GNU_SOURCE", "-o", str(program), str(_SOURCE)]
        done = subprocess.run(command, text=True, capture_output=True, check=False)
        if done.returncode:
            raise RuntimeError(f"{_SOURCE.name} could not be compiled: {done.stderr[-500:]}")
        (port,) = free_ports(1)
        served = Served(f"http://127.0.0.1:{port}/predict", workload.body)
        with lone_replica(workload, work) as replica:
            arguments = [str(port), replica.unix_path, str(workload.schema.num_columns), str(reply)]
            with server_process([str(program), *arguments], {}, served, work / "server.log"):
                yield served


def _compiler() -> str:
    found = shutil.which("cc")
    if found is None:
        raise InputError("there is no C compiler", remedy="apt-get install gcc")
    return found
