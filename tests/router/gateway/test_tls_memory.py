"""The buffers of connections with TLS lie apart from the heap, so that they cannot fragment it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import divisions
from router.gateway.child import TLS_MEMORY
from tests.port_certificates import write_pair

# It counts blocks that glibc has mapped apart: before a connection with TLS, during it, and after many.
PROGRAM = """
import asyncio, ctypes, ssl, sys, uvloop
from divisions.certificates.port_pair import examine, read_pair

FIELDS = "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keepcost".split()

class Memory(ctypes.Structure):
    _fields_ = [(name, ctypes.c_size_t) for name in FIELDS]

libc = ctypes.CDLL(None)
libc.mallinfo2.restype = Memory
count = lambda: libc.mallinfo2().hblkhd // 262_144

async def main():
    context = examine(read_pair(*sys.argv[1:])).context
    loop = asyncio.get_running_loop()
    server = await loop.create_server(asyncio.Protocol, "127.0.0.1", 0, ssl=context)
    port = server.sockets[0].getsockname()[1]
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname, client.verify_mode = False, ssl.CERT_NONE
    for _ in range(3):  # what was freed once moves the threshold, where it is not set
        transport, _ = await loop.create_connection(asyncio.Protocol, "127.0.0.1", port, ssl=client)
        transport.abort()
        await asyncio.sleep(0.05)
    before = count()
    held = [await loop.create_connection(asyncio.Protocol, "127.0.0.1", port, ssl=client) for _ in range(8)]
    print(count() - before)

uvloop.run(main())
"""


def mapped_apart(folder, environment: dict[str, str]) -> int:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *write_pair(folder)],
        env=kept | environment | {"PYTHONPATH": str(Path(divisions.__file__).parents[1])},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


@pytest.mark.skipif("glibc" not in os.confstr("CS_GNU_LIBC_VERSION"), reason="a setting of glibc")
def test_both_ends_of_each_connection_have_their_buffers_apart(tmp_path):
    # Of 8 new ones. The buffers of earlier ones may go back meanwhile.
    assert mapped_apart(tmp_path, TLS_MEMORY) >= 16 - 6
