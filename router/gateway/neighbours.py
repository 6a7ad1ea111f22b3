"""The other gateways of this node: a scrape of the port that they share asks them all.

Each has an address of its own in its file, see `router.gateway.slot`. One that hangs must not make the scrape late, so
it is left out after `ANSWER_S`, and the metric ``divisions_gateway_answered`` says so.
"""

from __future__ import annotations

import asyncio
import fcntl
import logging
import os
import re
import ssl
from pathlib import Path

import msgspec

from divisions.certificates.pinned import pinned_context
from router.gateway.slot import FOLDER

log = logging.getLogger(__name__)

OWN_METRICS = "/metrics/own"
"""Where a gateway answers with its own metrics alone; only on its own port."""
ANSWER_S = 2.0
"""A gateway that hangs is ended after 5 s (`router.gateway.child`), and Prometheus gives a scrape up after 10 s."""
MAX_BYTES = 64 << 20
_NAME = re.compile(r"gateway-([0-9]{1,3})\.json")
_REQUEST = f"GET {OWN_METRICS} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode()


class _Target(msgspec.Struct):
    targets: list[str]


class Neighbours:
    """See the module.

    Args:
        home: the home folder, which the gateways of a node share.
        number: this gateway's own number.
        answer_s: how long one of them may take.
        is_encrypted: whether their ports have TLS.
    """

    def __init__(self, home: Path, number: int, answer_s: float = ANSWER_S, *, is_encrypted: bool = False) -> None:
        self._home = home
        self._folder = home / FOLDER
        self._is_encrypted = is_encrypted
        self._number = number
        self._answer_s = answer_s

    async def read(self) -> dict[int, bytes | None]:
        """The metrics of each other gateway by its number; None of one that did not answer."""
        addresses = await asyncio.to_thread(living, self._folder, self._number)
        context = None
        if self._is_encrypted and addresses:
            context = await asyncio.to_thread(pinned_context, self._home)  # anew: certificates are renewed
        documents = await asyncio.gather(*[self._ask(number, place, context) for number, place in addresses.items()])
        return dict(zip(addresses, documents, strict=True))

    async def _ask(self, number: int, place: str, context: ssl.SSLContext | None) -> bytes | None:
        try:
            async with asyncio.timeout(self._answer_s):
                document = await _fetch(place, context)
        except (OSError, TimeoutError, ValueError, asyncio.IncompleteReadError) as error:
            log.warning("gateway %d did not tell its metrics: %s", number, str(error) or type(error).__name__)
            return None
        if f'gateway="{number}"'.encode() not in document:
            log.warning("at %s is not gateway %d of this node", place, number)
            return None
        return document


def living(folder: Path, but: int) -> dict[int, str]:
    """The addresses of the gateways that live, by number, without the number ``but``. It blocks.

    A process that was killed leaves its address in the file, but not its lock. Whoever sees that empties the file.
    """
    found: dict[int, str] = {}
    try:
        names = os.listdir(folder)
    except OSError:
        return found
    for name in names:
        match = _NAME.fullmatch(name)
        if match is None or (number := int(match[1])) == but:
            continue
        try:
            place = _address(folder / name)
        except (OSError, msgspec.DecodeError) as error:
            log.warning("%s cannot be read: %s", folder / name, error)
            continue
        if place:
            found[number] = place
    return dict(sorted(found.items()))


def _address(path: Path) -> str:
    """Where the gateway of this file listens; empty if it has ended, or does not listen yet."""
    descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        data = os.read(descriptor, 4_096)
        (target,) = (msgspec.json.decode(data, type=list[_Target]) if data.strip() else []) or (_Target([""]),)
        place = target.targets[0] if target.targets else ""
        if not place:
            return ""
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return place
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, b"[]\n", 0)
        return ""
    finally:
        os.close(descriptor)


async def _fetch(place: str, context: ssl.SSLContext | None) -> bytes:
    host, _, port = place.rpartition(":")
    reader, writer = await asyncio.open_connection(host.strip("[]"), int(port), limit=MAX_BYTES, ssl=context)
    try:
        writer.write(_REQUEST)
        head = await reader.readuntil(b"\r\n\r\n")
        lines = head.lower().split(b"\r\n")
        if not lines[0].startswith(b"http/1.1 200"):
            raise ValueError(f"it answered {lines[0][:80]!r}")
        length = next((int(line[15:]) for line in lines if line.startswith(b"content-length:")), -1)
        if not 0 <= length <= MAX_BYTES:
            raise ValueError(f"its answer has {length} bytes")
        return await reader.readexactly(length)
    finally:
        writer.close()
