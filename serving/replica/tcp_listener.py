"""The replica's TCP port: TLS 1.3 with certificates on both sides, or plain TCP where a setting asks for it.

Whoever reaches the port can make us work before we know who it is. So new connections are taken one by one with a pause
between them, and few may be in the middle of their handshake: the oldest gives way to a newer one. A gateway needs two
round trips. Connections that are established are not touched by any of that.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from collections.abc import Callable

from divisions.certificates.contexts import server_context
from divisions.certificates.names import Credentials
from divisions.silence import PEER_LOST_AFTER_S, give_up_after

HANDSHAKE_TIMEOUT_S = 5.0
MAX_HANDSHAKES = 128
PAUSE_S = 0.001
"""Between two connections. A handshake costs a fraction of a millisecond, so a flood leaves most of our time."""
BACKLOG = 512
_NO_DESCRIPTOR_S = 0.5
_LOG_EVERY_S = 10.0

log = logging.getLogger(__name__)


class TcpListener:
    """Listens on one port, on the loop that calls `start`.

    Args:
        protocol: makes the protocol of a connection that is established.
        is_encrypted: whether it speaks TLS. It then takes no connection before it has a certificate.
        now_s: monotonic clock.
    """

    def __init__(
        self, protocol: Callable[[], asyncio.Protocol], is_encrypted: bool, now_s: Callable[[], float]
    ) -> None:
        self._protocol = protocol
        self._is_encrypted = is_encrypted
        self._now_s = now_s
        self._context: ssl.SSLContext | None = None
        self._socket: socket.socket | None = None
        self._accepting: asyncio.Task[None] | None = None
        self._handshakes: dict[asyncio.Task[None], None] = {}
        self._failures = 0
        self._logged_s = -_LOG_EVERY_S

    def start(self, host: str, port: int = 0) -> int:
        """Listens; returns the port.

        Raises:
            OSError: the address is not this host's, or the port is taken.
        """
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._socket = socket.create_server((host, port), family=family, backlog=BACKLOG)
        self._socket.setblocking(False)
        self._accepting = asyncio.get_running_loop().create_task(self._accept(self._socket))
        found: int = self._socket.getsockname()[1]
        return found

    def install(self, credentials: Credentials) -> None:
        """Takes a new certificate. Any thread may call it. Established connections keep the one they began with."""
        self._context = server_context(credentials)

    def close(self) -> None:
        """Takes no further connection. Those that are established stay."""
        if self._accepting is not None:
            self._accepting.cancel()
        for handshake in list(self._handshakes):
            handshake.cancel()
        if self._socket is not None:
            self._socket.close()

    @property
    def num_handshakes(self) -> int:
        """Connections that are not established yet."""
        return len(self._handshakes)

    async def _accept(self, listening: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                connection, _ = await loop.sock_accept(listening)
            except OSError as error:
                log.warning("cannot take a connection: %s", error)
                await asyncio.sleep(_NO_DESCRIPTOR_S)  # No file descriptor is free, most likely.
                continue
            if self._is_encrypted and self._context is None:
                connection.close()
            else:
                self._begin(connection)
            await asyncio.sleep(PAUSE_S)

    def _begin(self, connection: socket.socket) -> None:
        if len(self._handshakes) >= MAX_HANDSHAKES:
            oldest = next(iter(self._handshakes))
            del self._handshakes[oldest]
            oldest.cancel()
        handshake = asyncio.get_running_loop().create_task(self._establish(connection))
        self._handshakes[handshake] = None
        handshake.add_done_callback(lambda done: self._handshakes.pop(done, None))

    async def _establish(self, connection: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        options: dict[str, float] = {}
        if self._context is not None:
            options = {"ssl_handshake_timeout": HANDSHAKE_TIMEOUT_S, "ssl_shutdown_timeout": HANDSHAKE_TIMEOUT_S}
        try:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            give_up_after(connection, PEER_LOST_AFTER_S)
            await loop.connect_accepted_socket(self._protocol, connection, ssl=self._context, **options)
        except (OSError, EOFError) as error:  # SSLError and TimeoutError among them
            connection.close()
            self._note(error)
        except asyncio.CancelledError:
            connection.close()
            self._note(TimeoutError("its handshake took too long"))

    def _note(self, error: Exception) -> None:
        """Logs failures, but a flood of them only now and then."""
        self._failures += 1
        if self._now_s() - self._logged_s < _LOG_EVERY_S:
            return
        self._logged_s = self._now_s()
        log.warning("refused %d connections; the last one: %s", self._failures, _reason(error))
        self._failures = 0


def _reason(error: Exception) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is refused: {error.verify_message}"
    return str(error) or type(error).__name__
