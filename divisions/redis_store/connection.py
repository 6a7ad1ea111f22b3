"""A connection that waits for its replies, for writers and commands. Gateways have one that does not wait."""

from __future__ import annotations

import socket
from collections import deque
from collections.abc import Sequence
from contextlib import suppress

from divisions.errors import OnlineStoreError
from divisions.redis_store.handshake import check_handshake, handshake, refusal, tls_context, unreachable
from divisions.redis_store.resp import ErrorReply, ProtocolError, Reply, ReplyReader, encode
from divisions.store_url import RedisAddress

CONNECT_TIMEOUT_S = 5.0
REPLY_TIMEOUT_S = 30.0
_CHUNK_BYTES = 256 * 1024


class Connection:
    """See the module. It connects at the first command, and anew at the first one after a failure. For one thread.

    Every method raises `OnlineStoreError` if the server does not answer, or refuses.

    Args:
        address: the server.
        verb: what the connection is for, as errors say it: ``read`` or ``written``.
    """

    def __init__(self, address: RedisAddress, verb: str) -> None:
        self._address = address
        self._verb = verb
        self._socket: socket.socket | None = None
        self._reader = ReplyReader()
        self._ready: deque[Reply] = deque()
        self._num_due = 0

    def call(self, *parts: bytes) -> Reply:
        """One command and its reply."""
        (reply,) = self.pipeline([encode(list(parts))], 1)
        if isinstance(reply, ErrorReply):
            raise refusal(self._address, self._verb, reply)
        return reply

    def pipeline(self, commands: Sequence[bytes], num_replies: int) -> list[Reply]:
        """Sends encoded commands together; the replies may have errors among them."""
        self.send(commands, num_replies)
        return self.receive(num_replies)

    def send(self, commands: Sequence[bytes], num_replies: int) -> None:
        """Sends encoded commands, whose replies `receive` reads. Read them before many megabytes have been sent."""
        try:
            (self._socket or self._open()).sendall(b"".join(commands))
            self._num_due += num_replies
        except OSError as error:
            self.close()
            raise unreachable(self._address, self._verb, error) from None

    def receive(self, num_replies: int) -> list[Reply]:
        """The next replies."""
        try:
            while len(self._ready) < num_replies:
                self._read()
        except OSError as error:
            self.close()
            raise unreachable(self._address, self._verb, error) from None
        except ProtocolError as error:
            self.close()
            raise unreachable(self._address, self._verb, OSError(error.message)) from None
        self._num_due -= num_replies
        return [self._ready.popleft() for _ in range(num_replies)]

    def settle(self) -> None:
        """Waits for the replies that nobody has received, so that nothing that was sent is done later."""
        with suppress(OnlineStoreError):
            self.receive(self._num_due)

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
        self._socket = None
        self._num_due = 0

    def _open(self) -> socket.socket:
        self._reader = ReplyReader()
        self._ready.clear()
        context = tls_context(self._address)
        connected = socket.create_connection((self._address.host, self._address.port), CONNECT_TIMEOUT_S)
        try:
            connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if context is not None:
                connected = context.wrap_socket(connected, server_hostname=self._address.host)
            self._socket = connected
            commands = handshake(self._address)
            connected.sendall(b"".join(commands))
            self._num_due = len(commands)
            check_handshake(self._address, self.receive(len(commands)))
            connected.settimeout(REPLY_TIMEOUT_S)
        except (OSError, OnlineStoreError):
            connected.close()
            self._socket = None
            raise
        return connected

    def _read(self) -> None:
        if self._socket is None:
            raise ConnectionResetError("the connection was lost")
        data = self._socket.recv(_CHUNK_BYTES)
        if not data:
            raise ConnectionResetError("the server closed the connection")
        self._ready.extend(self._reader.feed(data))
