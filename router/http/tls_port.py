"""A listening socket whose connections begin with a TLS handshake. asyncio's `ssl` does the cryptography.

`asyncio.Server` would do the handshakes too, but with one context for good, and with as many at a time as callers like.
Here each connection takes the context of that moment, so a new certificate needs no restart. And handshakes are bounded
in time and in number: when `MAX_HANDSHAKES` are under way, the address that has most of them loses its oldest one, if
that had `GRACE_S`. So callers who begin handshakes and never end them cost others at most this wait. When its handshake
is done, a connection counts as one of `HttpServer`, with its deadlines.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from collections.abc import Callable

from divisions.clock import Clock

log = logging.getLogger(__name__)

HANDSHAKE_S = 5.0
SHUTDOWN_S = 2.0
"""How long the end of a connection waits for the caller's. As `router.http.connection.LINGER_S` for plain ones."""
MAX_HANDSHAKES = 512
GRACE_S = 1.0
PAUSE_S = 0.2
"""After a connection that could not be accepted, as without free file descriptors."""

Task = asyncio.Task[None]


class Handshakes:
    """Which handshakes are under way, by address and in the order in which they began. Pure but for its keys."""

    def __init__(self) -> None:
        self._begun_s: dict[str, dict[Task, float]] = {}
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def add(self, address: str, task: Task, now_s: float) -> None:
        self._begun_s.setdefault(address, {})[task] = now_s
        self._count += 1

    def discard(self, address: str, task: Task) -> None:
        tasks = self._begun_s.get(address, {})
        if tasks.pop(task, None) is not None:
            self._count -= 1
            if not tasks:
                del self._begun_s[address]

    def oldest_of_most(self) -> tuple[str, Task, float]:
        """The oldest handshake of the address that has most: address, task, and when it began."""
        address, tasks = max(self._begun_s.items(), key=lambda item: len(item[1]))
        task, begun_s = next(iter(tasks.items()))
        return address, task, begun_s

    def tasks(self) -> list[Task]:
        return [task for tasks in self._begun_s.values() for task in tasks]


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
        self._handshakes = Handshakes()
        self._ended = asyncio.Event()
        self._accepting: list[Task] = []

    @property
    def num_handshakes(self) -> int:
        return len(self._handshakes)

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
        for listener in listeners:
            listener.setblocking(False)
            self._accepting.append(loop.create_task(self._accept(listener)))
        return int(listeners[0].getsockname()[1])

    def close(self) -> None:
        """Takes no further connections. Handshakes under way go on."""
        for task in self._accepting:
            task.cancel()
        self._accepting.clear()

    def abort(self) -> None:
        """Ends the handshakes that are still under way."""
        for task in self._handshakes.tasks():
            task.cancel()

    async def _accept(self, listener: socket.socket) -> None:
        try:
            await self._accept_for_ever(listener)
        finally:
            listener.close()

    async def _accept_for_ever(self, listener: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                connection, address = await loop.sock_accept(listener)
            except OSError as error:  # The edge of a loop: it must take connections again when there is room.
                log.error("a connection could not be accepted: %s", error)
                await asyncio.sleep(PAUSE_S)
                continue
            try:
                await self._make_room()
            except BaseException:
                connection.close()
                raise
            self._begin(connection, str(address[0]))

    async def _make_room(self) -> None:
        while len(self._handshakes) >= MAX_HANDSHAKES:
            address, task, begun_s = self._handshakes.oldest_of_most()
            wait_s = begun_s + GRACE_S - self._now_s()
            if wait_s <= 0:
                task.cancel()
                self._handshakes.discard(address, task)
                return
            self._ended.clear()
            try:
                async with asyncio.timeout(wait_s):
                    await self._ended.wait()
            except TimeoutError:
                pass

    def _begin(self, connection: socket.socket, address: str) -> None:
        task = asyncio.get_running_loop().create_task(self._shake(connection))
        self._handshakes.add(address, task, self._now_s())

        def end(task: Task) -> None:
            self._handshakes.discard(address, task)
            self._ended.set()

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
