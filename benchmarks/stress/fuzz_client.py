"""Sends drawn requests, and says what became of each: on kept connections, some pipelined, some in pieces."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import ssl
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from benchmarks.stress.fuzz_requests import REFUSED_VERSIONS, Fuzzer, Sent

WHOLE_S = 10.0
"""A whole request is answered within this time, on a busy machine too."""
BROKEN_S = 15.0
"""More than the gateway waits for the rest of a request."""
OWN_DEADLINE = ", at a deadline of its own"
"""The end of a cause, where the request names a deadline."""
_OVERLOAD = {503, 504}
_KEPT = 20


@dataclass(slots=True)
class Found:
    """What became of the requests. ``faults`` quotes the first requests that got a wrong answer, or none. ``causes``
    counts answers of 500 and more by status, route and cause, but for those to
    another HTTP."""

    statuses: Counter[int] = field(default_factory=Counter)
    causes: Counter[tuple[int, str, str]] = field(default_factory=Counter)
    unanswered: int = 0
    wrong: int = 0
    faults: list[str] = field(default_factory=list)

    def fault(self, what: str, sent: Sent) -> None:
        if len(self.faults) < _KEPT:
            self.faults.append(f"{what}: {sent.data[:700]!r}")


class FuzzClient:
    """One caller with connections of its own, one at a time.

    Args:
        port: of the gateway, on the loopback interface.
        fuzzer: draws the requests.
        context: of TLS; None for a port without it.
        seed: of how they are sent.
        found: takes the outcomes.
    """

    def __init__(
        self, port: int, fuzzer: Fuzzer, seed: int, found: Found, context: ssl.SSLContext | None = None
    ) -> None:
        self._context = context
        self._port = port
        self._fuzzer = fuzzer
        self._random = random.Random(seed)
        self._found = found
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def run(self, requests: int) -> None:
        while requests > 0:
            count = min(requests, self._random.choice((1, 1, 1, 2, 8)))
            batch = [self._fuzzer.draw() for _ in range(count)]
            broken = next((index for index, sent in enumerate(batch) if not sent.is_whole), None)
            batch = batch if broken is None else batch[: broken + 1]  # what follows it may belong to it
            requests -= await self._exchange(batch)
        self._close()

    async def _exchange(self, batch: Sequence[Sent]) -> int:
        """Sends requests in one go; returns how many were answered, or rightly not, at least 1."""
        if self._streams is None:
            self._streams = await asyncio.open_connection("127.0.0.1", self._port, limit=1 << 22, ssl=self._context)
        reader, writer = self._streams
        with contextlib.suppress(ConnectionError):  # refused half-way; the reply says why
            await self._send(writer, b"".join(sent.data for sent in batch))
        for done, sent in enumerate(batch):
            try:
                async with asyncio.timeout(WHOLE_S if sent.is_whole else BROKEN_S):
                    reply = await read_whole(reader, sent.is_head)
            except TimeoutError:
                reply = None
                self._unanswered("no answer in time", sent)
            except (ConnectionError, asyncio.IncompleteReadError):
                reply = None
                self._unanswered("the connection ended without an answer", sent)
            if reply is None:
                self._close()
                return done + 1
            status, is_last, body = reply
            self._answered(status, sent, body)
            if is_last or not sent.is_whole:
                self._close()
                return done + 1
        return len(batch)

    async def _send(self, writer: asyncio.StreamWriter, data: bytes) -> None:
        cuts = sorted(self._random.randrange(len(data)) for _ in range(self._random.choice((0, 0, 0, 1, 3))))
        for start, end in zip([0, *cuts], [*cuts, len(data)], strict=True):
            writer.write(data[start:end])
            await writer.drain()
            if cuts:
                await asyncio.sleep(0)

    def _answered(self, status: int, sent: Sent, body: bytes) -> None:
        self._found.statuses[status] += 1
        if status >= 500 and status not in REFUSED_VERSIONS:
            self._found.causes[status, route_of(sent.data), cause_of(sent.data, body)] += 1
        is_right = status < 500 or status in _OVERLOAD or (status in REFUSED_VERSIONS and sent.may_be_unspoken)
        if not is_right:
            self._found.wrong += 1
            self._found.fault(f"status {status}", sent)

    def _unanswered(self, what: str, sent: Sent) -> None:
        self._found.unanswered += 1
        self._found.fault(what, sent)

    def _close(self) -> None:
        if self._streams is not None:
            self._streams[1].transport.abort()
        self._streams = None


def route_of(request: bytes) -> str:
    """The method and the path of a request, without its query; what is no request line is ``(none)``.

    >>> route_of(b"POST /v2/models/churn/infer?x=1 HTTP/1.1")
    'POST /v2/models/churn/infer'
    """
    parts = request.partition(b"\r\n")[0].decode("latin-1").split(" ")
    return f"{parts[0][:20]} {parts[1].partition('?')[0][:80]}" if len(parts) == 3 else "(none)"


def cause_of(request: bytes, reply: bytes) -> str:
    """What a reply names as its cause, and whether the request has named a deadline of its own.

    >>> cause_of(b"X-Request-Timeout-Ms: 1", b'{"code": "DeadlineExceededError"}')
    'DeadlineExceededError, at a deadline of its own'
    """
    try:
        document = json.loads(reply)
    except (ValueError, RecursionError):
        document = None
    document = document if isinstance(document, dict) else {}
    named = str(document.get("code") or document.get("detail") or document.get("error") or "(it names none)")[:120]
    head = request.partition(b"\r\n\r\n")[0].lower()
    has_own = b"x-request-timeout-ms" in head or b'"timeout"' in request
    return named + OWN_DEADLINE if has_own else named


async def read_reply(reader: asyncio.StreamReader, is_head: bool) -> tuple[int, bool]:
    """The next reply's status, and whether the connection ends after it; interim replies are passed over."""
    status, is_last, _ = await read_whole(reader, is_head)
    return status, is_last


async def read_whole(reader: asyncio.StreamReader, is_head: bool) -> tuple[int, bool, bytes]:
    """The same, with the reply's body; that of a stream of events is empty."""
    while True:
        head = await reader.readuntil(b"\r\n\r\n")
        status = int(head[9:12])
        if status >= 200:
            break
    lines = head.decode("latin-1").lower().split("\r\n")
    headers = dict(line.partition(": ")[::2] for line in lines[1:] if line)
    is_last = headers.get("connection") == "close"
    if is_head or status in {204, 304}:
        return status, is_last, b""
    if headers.get("transfer-encoding") == "chunked":
        return status, True, b""  # a stream of events; it does not end by itself
    if "content-length" in headers:
        return status, is_last, await reader.readexactly(int(headers["content-length"]))
    return status, is_last, b""


async def fuzz(
    port: int,
    endpoint: str,
    features: Sequence[str],
    requests: int,
    seed: int,
    clients: int,
    tokens: Sequence[str] = (),
    context: ssl.SSLContext | None = None,
) -> Found:
    """Sends ``requests`` requests from that many clients at once."""
    found = Found()
    shares = [requests // clients + (number < requests % clients) for number in range(clients)]
    async with asyncio.TaskGroup() as group:
        for number, share in enumerate(shares):
            own_seed = seed * 1_000_003 + number
            fuzzer = Fuzzer(own_seed, endpoint, features, tokens)
            group.create_task(FuzzClient(port, fuzzer, own_seed, found, context).run(share))
    return found
