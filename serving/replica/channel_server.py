"""A replica's end of the data channel: an asyncio server that speaks `divisions.wire`.

One connection is one gateway. The gateway sends HELLO first; then each REQUEST gets one REPLY. A peer that sends
invalid frames, stops reading or disconnects loses its own connection. Other connections are not affected.
"""

from __future__ import annotations

import asyncio
import hmac
import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from divisions.certificates.names import Credentials, Role, has_role
from divisions.errors import ChannelError
from divisions.wire import (
    MAX_FRAME_BYTES,
    Frame,
    FrameReader,
    Hello,
    Request,
    Status,
    encode_hello_ack,
    encode_reply,
)
from serving.engines.protocol import Engine
from serving.replica.runner import BatchRunner, measure_inline_rows
from serving.replica.tcp_listener import TcpListener

HANDSHAKE_TIMEOUT_S = 5.0
HANDSHAKE_FRAME_BYTES = 1024
"""Before the handshake, a peer may make us buffer no more than this."""
MAX_CONNECTIONS = 256
"""On the Unix socket and on a plain port together: peers that may not have proved anything yet."""
MAX_GATEWAYS = 8_192
"""Connections of gateways that have proved by a certificate who they are."""
MAX_PENDING = 64
"""Batches of one connection that may wait for the engine. At this number we stop reading from it."""
TICK_S = 0.25

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ChannelConfig:
    """Sent to peers in the handshake. ``token`` must match on TCP, and on a Unix socket if the peer sends one."""

    version: str
    max_batch: int
    token: bytes = b""


class ChannelServer:
    """Serves one engine on a Unix socket and, optionally, on a TCP port."""

    def __init__(self, engine: Engine, config: ChannelConfig, now_s: Callable[[], float]) -> None:
        self.config = config
        self.columns = engine.columns
        self.now_s = now_s
        self.is_draining = False
        self.connections: set[Connection] = set()
        self.num_proved = 0
        """How many of them have proved by a certificate who they are."""
        self.inline_rows = 0
        self.last_tick_s = now_s()
        self.runner = BatchRunner(engine, now_s)
        self._engine = engine
        self._listeners: list[asyncio.Server | TcpListener] = []
        self._tcp: TcpListener | None = None
        self._ticker: asyncio.TimerHandle | None = None

    async def start(
        self, unix_path: Path | None, tcp: tuple[str, int] | None = None, *, is_encrypted: bool = False
    ) -> str:
        """Warms the engine, then listens. Returns the TCP address as ``host:port``, or an empty text without TCP.

        An encrypted port takes connections from the first `install` on.

        Raises:
            ChannelError: TCP was requested without a token.
            BundleError: the model's result is not ``float32[N]``.
        """
        if tcp and not self.config.token:
            raise ChannelError("a replica must not listen on TCP without a channel token")
        self._engine.warm(self.config.max_batch)
        self.inline_rows = measure_inline_rows(self._engine, self.config.max_batch, self.now_s)
        loop = asyncio.get_running_loop()
        self._tick()
        if unix_path:
            server = await loop.create_unix_server(lambda: Connection(self, is_private=True), str(unix_path))
            self._listeners.append(server)
            unix_path.chmod(0o600)
        if not tcp:
            return ""
        self._tcp = TcpListener(
            lambda: Connection(self, is_private=False, is_encrypted=is_encrypted), is_encrypted, self.now_s
        )
        self._listeners.append(self._tcp)
        return f"{tcp[0]}:{self._tcp.start(*tcp)}"

    def install(self, credentials: Credentials) -> None:
        """Takes the certificate for the TCP port. Any thread may call it."""
        if self._tcp is not None:
            self._tcp.install(credentials)

    async def drain(self, timeout_s: float, leave_s: float = 0.0) -> None:
        """Refuses new batches, answers those it has, then closes every connection.

        For up to ``leave_s`` it first goes on as before, until the gateways have hung up: they close a channel once it
        has nothing in flight, so no batch is cut off.
        """
        hung_up_s = self.now_s() + leave_s
        while self.connections and self.now_s() < hung_up_s:
            await asyncio.sleep(0.005)
        self.is_draining = True
        for listener in self._listeners:
            listener.close()
        end_s = self.now_s() + timeout_s
        while not self.runner.is_idle and self.now_s() < end_s:
            await asyncio.sleep(0.005)
        for connection in list(self.connections):
            connection.close()
        self.runner.stop()
        if self._ticker:
            self._ticker.cancel()

    def _tick(self) -> None:
        """Notes that the event loop runs. `serving.replica.replica` checks the time from another thread."""
        self.last_tick_s = self.now_s()
        self._ticker = asyncio.get_running_loop().call_later(TICK_S, self._tick)


class Connection(asyncio.Protocol):
    """One gateway's connection. ``is_private`` says that only our own user can have opened it, ``is_encrypted`` that
    its peer has proved by a certificate who it is.
    """

    _transport: asyncio.Transport

    def __init__(self, server: ChannelServer, is_private: bool, is_encrypted: bool = False) -> None:
        self._server = server
        self._runner = server.runner
        self._is_private = is_private
        self._is_encrypted = is_encrypted
        self._reader = FrameReader(HANDSHAKE_FRAME_BYTES)
        self._greeted = False
        self._is_open = False
        self._pending = 0
        self._peer_is_slow = False
        self._is_paused = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport) or hasattr(transport, "write")
        self._transport = transport  # type: ignore[assignment]  # uvloop's transports are not subclasses
        self._loop = asyncio.get_running_loop()
        self._is_open = True
        self._handshake_timer = self._loop.call_later(HANDSHAKE_TIMEOUT_S, self.close)
        self._server.connections.add(self)
        if self._is_encrypted:
            self._server.num_proved += 1
            if not has_role(transport.get_extra_info("peercert"), Role.GATEWAY):
                self._turn_away("a peer's certificate is not that of a gateway")
            elif self._server.num_proved > MAX_GATEWAYS:
                self._turn_away(f"over {MAX_GATEWAYS} gateways: the newest is closed")
        elif len(self._server.connections) - self._server.num_proved > MAX_CONNECTIONS:
            self._turn_away(f"over {MAX_CONNECTIONS} connections: the newest is closed")

    def _turn_away(self, reason: str) -> None:
        log.warning("%s", reason)
        self.close()
        self._is_open = False

    def connection_lost(self, exc: Exception | None) -> None:
        self._is_open = False
        self._handshake_timer.cancel()
        self._server.connections.discard(self)
        self._server.num_proved -= self._is_encrypted

    def data_received(self, data: bytes) -> None:
        read_s = self._server.now_s()
        try:
            for frame in self._reader.feed(data):
                if not self._is_open:
                    return
                if self._greeted and type(frame) is Request:
                    self._on_request(frame, read_s)
                else:
                    self._on_other(frame)
        except ChannelError as error:
            log.warning("closing a connection: %s", error)
            self.close()

    def _on_request(self, request: Request, read_s: float) -> None:
        server = self._server
        if server.is_draining:
            self._refuse(request, Status.CLOSING, "the replica is draining")
        elif request.columns != server.columns:
            self._refuse(request, Status.REFUSED, f"rows have {server.columns} columns here, got {request.columns}")
        elif not 0 < request.rows <= server.config.max_batch:
            limit = server.config.max_batch
            self._refuse(request, Status.REFUSED, f"a batch has 1 to {limit} rows here, got {request.rows}")
        elif request.rows <= server.inline_rows and self._runner.is_idle:
            self._write(self._runner.answer(request, read_s))
        else:
            self._pending += 1
            if self._pending == MAX_PENDING:
                self._set_reading()
            self._runner.submit(request, read_s, self._deliver)

    def _refuse(self, request: Request, status: Status, text: str) -> None:
        self._write(encode_reply(request.request_id, status, 0, 0, 0, text.encode()))

    def _on_other(self, frame: Frame) -> None:
        if self._greeted or not isinstance(frame, Hello):
            raise ChannelError(f"expected {'REQUEST' if self._greeted else 'HELLO'}, got {type(frame).__name__}")
        server = self._server
        status = Status.CLOSING if server.is_draining else Status.OK
        if not self._token_is_right(frame.token):
            status = Status.REFUSED
        label = server.config.version if status == Status.OK else ""
        self._write(encode_hello_ack(status, server.columns, server.config.max_batch, label))
        if status != Status.OK:
            raise ChannelError(f"greeting answered with {status.name}")
        self._greeted = True
        self._reader.max_frame_bytes = MAX_FRAME_BYTES
        self._handshake_timer.cancel()

    def _token_is_right(self, token: bytes) -> bool:
        if self._is_private and not token:
            return True
        return hmac.compare_digest(token, self._server.config.token)

    def _deliver(self, reply: bytes) -> None:
        """Called in the engine's thread."""
        try:
            self._loop.call_soon_threadsafe(self._on_delivered, reply)
        except RuntimeError:
            log.info("the event loop has ended before a reply could be written")

    def _on_delivered(self, reply: bytes) -> None:
        self._runner.delivered()
        self._pending -= 1
        if self._is_paused:
            self._set_reading()
        self._write(reply)

    def _write(self, data: bytes) -> None:
        # uvloop raises on a closed transport. The peer may disconnect before the engine's reply is ready.
        if self._is_open and not self._transport.is_closing():
            self._transport.write(data)

    def pause_writing(self) -> None:
        self._peer_is_slow = True
        self._set_reading()

    def resume_writing(self) -> None:
        self._peer_is_slow = False
        self._set_reading()

    def _set_reading(self) -> None:
        """Stops reading from a peer that does not read its replies or sends faster than we compute."""
        should_pause = self._peer_is_slow or self._pending >= MAX_PENDING
        if should_pause == self._is_paused or not self._is_open:
            return
        self._is_paused = should_pause
        if should_pause:
            self._transport.pause_reading()
        else:
            self._transport.resume_reading()

    def close(self) -> None:
        if self._is_open:
            self._transport.close()
