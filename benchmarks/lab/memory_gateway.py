"""The gateway's hot path without sockets: real connection, parser, decoder, split, queue and batches, in memory.

It leaves out the kernel, which is timed separately, and the model: the engine behind the channel answers at once.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import numpy as np

from benchmarks.harness.bench_bundle import ENDPOINT, MODEL, Workload
from divisions import wire
from divisions.access.decision import Principal
from divisions.control import FULL_BP, EndpointRoute, Placement, ReplicaAddress, RoutingTable, VersionRoute, VersionSpec
from divisions.errors import NotRunningError
from divisions.online_store import OnlineStoreReader
from router.http.connection import HttpConnection, HttpServer
from router.http.limits import HttpLimits
from router.predict.callers import Callers, KeyBook
from router.predict.dispatcher import Dispatcher
from router.predict.front import Refusals
from router.predict.predict_handler import PredictHandler
from router.predict.stored_features import StoredFeatures

MAX_BATCH = 256
CANARY_BP = 2_000


class InstantEngine:
    """An engine in the gateway's process that answers at once, with prepared scores."""

    engine_name = "instant"

    def __init__(self) -> None:
        self._scores = np.full(MAX_BATCH, 0.125, np.float32).tobytes()

    def answer_quickly(self, request: wire.Request, read_s: float) -> bytes:
        return wire.encode_reply(
            request.request_id, wire.Status.OK, request.rows, 0, 30, self._scores[: 4 * request.rows]
        )

    def submit(self, request: wire.Request, read_s: float, deliver: Callable[[bytes], None]) -> None:
        deliver(self.answer_quickly(request, read_s))

    def delivered(self) -> None: ...

    def close(self) -> None: ...


class Replies:
    """How many replies were written, on all connections."""

    __slots__ = ("count",)

    def __init__(self) -> None:
        self.count = 0


class MemoryTransport(asyncio.Transport):
    """Counts what is written."""

    def __init__(self, replies: Replies) -> None:
        super().__init__()
        self._replies = replies

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self._replies.count += 1

    def is_closing(self) -> bool:
        return False

    def get_extra_info(self, name: str, default: object = None) -> object:
        return default


class _NoKeys(KeyBook):
    """Nobody has a key, and nobody needs one."""

    def authenticate(self, authorization: bytes) -> Principal | None:
        return None

    def why_wrong(self, authorization: bytes) -> str:
        return ""

    def must_wait(self, authorization: bytes) -> bool:
        return False

    def check(self, authorization: bytes, address: str, done: Callable[[], None]) -> None:
        done()

    def require_tester(self, authorization: bytes | None, endpoint: str) -> None:
        """Everybody may."""


class MemoryGateway:
    """Connections of one dispatcher with a stable version and, if asked for, a canary. Build it on its loop."""

    def __init__(self, workload: Workload, connections: int, has_canary: bool) -> None:
        self._loop = asyncio.get_running_loop()
        engine = InstantEngine()
        addresses = {}
        routes = []
        for label, weight_bp in (("1.1", FULL_BP - CANARY_BP * has_canary), ("1.2", CANARY_BP))[: 1 + has_canary]:
            spec = VersionSpec(
                MODEL, label, "", "", workload.schema, max_batch=MAX_BATCH, placement=Placement.IN_PROCESS
            )
            addresses[spec.app_name] = ReplicaAddress(label, spec.app_name, "", "", "", MAX_BATCH)
            routes.append(VersionRoute(spec, weight_bp, label != "1.1"))
        self.dispatcher = Dispatcher(time.monotonic, hosted=lambda name: (addresses[name], engine))
        table = RoutingTable(1, (EndpointRoute(ENDPOINT, "salt", tuple(routes)),))
        self.dispatcher.apply(table)
        predict = PredictHandler(
            self.dispatcher,
            StoredFeatures(_no_store),
            10.0,
            "m-",
            time.monotonic,
            time.monotonic,
            Callers(_NoKeys(), time.monotonic),
            Refusals(time.monotonic),
        )
        server = HttpServer(predict, HttpLimits(), time.monotonic)
        self._replies = Replies()
        self._connections: list[HttpConnection] = []
        for _ in range(connections):
            connection = server.protocol()
            connection.connection_made(MemoryTransport(self._replies))
            self._connections.append(connection)
        self._requests = [_request(workload.body, f"c-{number}") for number in range(connections)]

    async def turn(self, requests: int) -> None:
        """Has that many connections ask at once, and waits until all are answered."""
        wanted = self._replies.count + requests
        for connection, data in zip(self._connections[:requests], self._requests, strict=False):
            connection.data_received(data)
        while self._replies.count < wanted:
            await asyncio.sleep(0)

    def report(self) -> object:
        """What the gateway does once a second: sums everything up."""
        return self.dispatcher.take_reports(int(time.monotonic()) + 2, 1.0, int(time.monotonic()) - 5)


def _request(body: bytes, customer: str) -> bytes:
    body = body.replace(b'"c-1"', b'"%s"' % customer.encode())
    head = f"POST /api/v2/predict/{ENDPOINT} HTTP/1.1\r\nHost: 127.0.0.1\r\ncontent-type: application/json\r\n"
    return head.encode() + b"content-length: %d\r\n\r\n" % len(body) + body


def _no_store(endpoint: str) -> OnlineStoreReader:
    raise NotRunningError(f"{endpoint} has no online store in this benchmark", remedy="send the features")
