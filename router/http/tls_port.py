"""A listening socket whose connections begin with a TLS handshake. asyncio's `ssl` does the cryptography.

`asyncio.Server` would do the handshakes too, but with one context for good, and with as many at a time as callers like.
Here each connection takes the context of that moment, so a new certificate needs no restart. And handshakes are bounded
in time and in number. Every connection is accepted at once. When `MAX_HANDSHAKES` are under way,
`router.http.handshakes` says whether it takes the place of another one, or waits as a bare socket until there is one.
So callers who begin handshakes and never end them keep none waiting but themselves. When its handshake is done, a
connection counts as one of `HttpServer`, with its deadlines.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from collections.abc import Callable

from divisions.clock import Clock
from router.http.handshakes import Handshakes
from router.http.wrong_tokens import network_of

log = logging.getLogger(__name__)

HANDSHAKE_S = 5.0
SHUTDOWN_S = 2.0
"""How long the end of a connection waits for the caller's. As `router.http.connection.LINGER_S` for plain ones."""
MAX_HANDSHAKES = 512
"""Under way at a time. One that stalls takes up to 60 kB."""
GRACE_S = 1.0
MAX_WAITING = 2_048
"""Accepted connections that wait to begin. Beyond it, the newest of whoever has most is closed."""
ACCEPTS = 32
"""Connections that are accepted before others have their turn."""
EVICTIONS, EVICTION_S = 16, 0.02
"""So many handshakes past their grace give way at a time, and the pause after them. Those of a flood began together:
to end all of them in one turn of the loop would delay everybody."""
PAUSE_S = 0.2
"""After a connection that could not be accepted, as without free file descriptors."""

Task = asyncio.Task[None]


class TlsPort:
    """See the module.

    Args:
        protocol: makes the protocol of a connection.
        context: the TLS context of a connection that begins now.
        clock: tells how old a handshake is.
    """

    def __init__(
        self, protocol: Callable[[], asyncio.Protocol], context: Callable[[], ssl.SSLContext], clock: Clock
    ) -> None:
        self._protocol = protocol
        self._context = context
        self._now_s = clock.monotonic_s
        self._handshakes: Handshakes[Task, socket.socket] = Handshakes(MAX_HANDSHAKES, GRACE_S)
        self._listeners: list[socket.socket] = []
        self._timer: asyncio.TimerHandle | None = None
        """Of `_evict`, while connections wait."""

    @property
    def num_handshakes(self) -> int:
        return self._handshakes.num_under_way

    @property
    def num_waiting(self) -> int:
        return self._handshakes.num_waiting

    async def listen(self, hosts: tuple[str, ...], port: int, *, is_shared: bool, backlog: int) -> int:
        """Listens at each address of ``hosts``; returns the port.

        Raises:
            OSError: an address cannot be bound.
        """
        loop = asyncio.get_running_loop()
        places: dict[str, None] = {}
        for host in hosts:
            found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
            places.update(dict.fromkeys(str(place[0]) for *_, place in found))
        listeners: list[socket.socket] = []
        try:
            for address in places:
                family = socket.AF_INET6 if ":" in address else socket.AF_INET
                listeners.append(
                    socket.create_server((address, port), family=family, backlog=backlog, reuse_port=is_shared)
                )
        except OSError:
            for listener in listeners:
                listener.close()
            raise
        self._listeners += listeners
        for listener in listeners:
            listener.setblocking(False)
            loop.add_reader(listener, self._accept, listener)
        return int(listeners[0].getsockname()[1])

    def close(self) -> None:
        """Takes no further connections. Those that were accepted go on."""
        for listener in self._listeners:
            asyncio.get_running_loop().remove_reader(listener)
            listener.close()
        self._listeners.clear()

    def abort(self) -> None:
        """Ends the handshakes that are still under way, and those that wait."""
        while self._handshakes.num_waiting:
            self._handshakes.give_up_waiting().close()
        if self._timer is not None:
            self._timer.cancel()
        for task in self._handshakes.under_way():
            task.cancel()

    def _accept(self, listener: socket.socket) -> None:
        for _ in range(ACCEPTS):
            try:
                connection, address = listener.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:  # It must take connections again when there is room.
                log.error("a connection could not be accepted: %s", error)
                loop = asyncio.get_running_loop()
                loop.remove_reader(listener)
                loop.call_later(PAUSE_S, self._accept_again, listener)
                return
            connection.setblocking(False)
            self._arrived(connection, network_of(str(address[0])))

    def _accept_again(self, listener: socket.socket) -> None:
        if listener in self._listeners:  # It may have been closed meanwhile.
            asyncio.get_running_loop().add_reader(listener, self._accept, listener)

    def _arrived(self, connection: socket.socket, network: str) -> None:
        handshakes = self._handshakes
        if not handshakes.has_place and (loser := handshakes.give_way(network)) is not None:
            loser.cancel()
        if handshakes.has_place:
            self._begin(connection, network)
            return
        handshakes.wait(network, connection)
        if handshakes.num_waiting > MAX_WAITING:
            handshakes.give_up_waiting().close()
        if self._timer is None:
            self._evict()

    def _evict(self) -> None:
        """Ends handshakes that are past their grace, a few at a time, for as long as connections wait."""
        self._timer = None
        for _ in range(EVICTIONS):
            if not self._handshakes.num_waiting or self._handshakes.grace_left_s(self._now_s()) > 0.0:
                break
            self._handshakes.give_way_to_all().cancel()
            self._begin_waiting()
        if self._handshakes.num_waiting:
            self._timer = asyncio.get_running_loop().call_later(EVICTION_S, self._evict)

    def _begin_waiting(self) -> None:
        while self._handshakes.num_waiting and self._handshakes.has_place:
            network, connection = self._handshakes.next_waiting()
            self._begin(connection, network)

    def _begin(self, connection: socket.socket, network: str) -> None:
        task = asyncio.get_running_loop().create_task(self._shake(connection))
        self._handshakes.begin(network, task, self._now_s())

        def end(task: Task) -> None:
            self._handshakes.end(network, task)
            self._begin_waiting()

        task.add_done_callback(end)

    async def _shake(self, connection: socket.socket) -> None:
        try:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            await asyncio.get_running_loop().connect_accepted_socket(
                self._protocol,
                connection,
                ssl=self._context(),
                ssl_handshake_timeout=HANDSHAKE_S,
                ssl_shutdown_timeout=SHUTDOWN_S,
            )
        except (OSError, TimeoutError) as error:  # What a caller sends is no fault of ours. `ssl.SSLError` is one.
            log.debug("a TLS handshake failed: %s", error)
        except Exception:
            log.exception("a connection could not be made")
            connection.close()
