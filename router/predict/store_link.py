"""One connection from this gateway to a shared online store: commands out, replies in. It never waits.

A connection that is lost is made again at once, and look-ups wait for that. If it cannot be made, the store is away:
look-ups are refused, and connecting is tried again with growing pauses.

    connecting ──handshake──> ready ──lost──> connecting ──refused, no answer──> away ──pause──> away …
                                                                                  └──handshake──> ready
"""

from __future__ import annotations

import asyncio
import logging
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Final, cast

from mypy_extensions import mypyc_attr, trait

from divisions.errors import OnlineStoreError
from divisions.redis_store.handshake import check_handshake, handshake, tls_context, unreachable
from divisions.redis_store.resp import Reply, ReplyReader
from divisions.store_url import RedisAddress

log = logging.getLogger(__name__)

FIRST_PAUSE_S: Final = 0.05
LONGEST_PAUSE_S: Final = 2.0
CONNECT_TIMEOUT_S: Final = 2.0


@trait
class LinkOwner(ABC):
    """Gives a link its work, and is told what becomes of it."""

    @abstractmethod
    def link_ready(self) -> None: ...

    @abstractmethod
    def link_replied(self, replies: Sequence[Reply]) -> None: ...

    @abstractmethod
    def link_lost(self) -> None:
        """No more replies come to what was sent. The link connects again."""

    @abstractmethod
    def link_away(self) -> None:
        """It could not connect."""


@mypyc_attr(allow_interpreted_subclasses=True)
class Link(ABC):
    """What `router.predict.shared_features` needs of a connection."""

    def __init__(self) -> None:
        self.is_ready = False
        self.is_away = False
        """Whether the last try to connect has failed. A link that is neither ready nor away is being made."""

    @abstractmethod
    def start(self) -> None:
        """Begins to connect."""

    @abstractmethod
    def send(self, data: bytes) -> None:
        """Sends commands. Only for a link that is ready."""

    @abstractmethod
    def drop(self, reason: str) -> None:
        """Gives up the connection, and makes a new one."""

    @abstractmethod
    def close(self) -> None:
        """Closes for good."""


class StoreLink(Link):
    """See the module. An `asyncio.Protocol` by its methods. For one event loop.

    Args:
        address: the server.
        owner: told when the link is ready, has replies, is lost, or is away.
    """

    def __init__(self, address: RedisAddress, owner: LinkOwner) -> None:
        super().__init__()
        self._address = address
        self._owner = owner
        self._transport: asyncio.Transport | None = None
        self._reader = ReplyReader()
        self._commands: list[bytes] = []
        self._greeting: list[Reply] = []
        self._greeted: asyncio.Future[None] | None = None
        self._lost = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._is_closed = False
        self._logged = ""

    def start(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self._keep_connected())

    def send(self, data: bytes) -> None:
        if self._transport is not None:  # Else connection_lost is on its way.
            self._transport.write(data)

    def drop(self, reason: str) -> None:
        log.warning("the connection to the online store %s is dropped: %s", self._address, reason)
        if self._transport is not None:
            self._transport.abort()

    def close(self) -> None:
        self._is_closed = True
        if self._task is not None:
            self._task.cancel()
        if self._transport is not None:
            self._transport.abort()

    async def _keep_connected(self) -> None:
        pause_s = FIRST_PAUSE_S
        loop = asyncio.get_running_loop()
        while not self._is_closed:
            try:
                async with asyncio.timeout(CONNECT_TIMEOUT_S):
                    await self._connect(loop)
            except (OSError, TimeoutError) as error:
                self._go_away(unreachable(self._address, "read", error))
            except OnlineStoreError as error:
                self._go_away(error)
            except Exception as error:  # The edge of a loop: the store must be found again whatever was wrong.
                log.exception("connecting to the online store failed")
                self._go_away(unreachable(self._address, "read", error))
            else:
                since_s = loop.time()
                self._become_ready()
                await self._lost.wait()
                if loop.time() - since_s > LONGEST_PAUSE_S:
                    pause_s = FIRST_PAUSE_S
                    continue
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * 2, LONGEST_PAUSE_S)

    async def _connect(self, loop: asyncio.AbstractEventLoop) -> None:
        self._lost.clear()
        self._reader = ReplyReader()
        self._greeting = []
        self._commands = handshake(self._address)
        greeted = self._greeted = loop.create_future()
        context = tls_context(self._address)
        await loop.create_connection(
            lambda: cast(asyncio.Protocol, self),
            self._address.host,
            self._address.port,
            ssl=context,
            server_hostname=self._address.host if context else None,
        )
        await greeted

    def _become_ready(self) -> None:
        if self._lost.is_set():  # It was lost between the handshake and now.
            return
        if self.is_away:
            log.warning("the online store %s answers again", self._address)
        self._logged = ""
        self.is_ready, self.is_away = True, False
        self._owner.link_ready()

    def _go_away(self, error: OnlineStoreError) -> None:
        if self._transport is not None:
            self._transport.abort()
            self._transport = None
        reason = str(error)
        if reason != self._logged:
            self._logged = reason
            log.error("%s", reason)
        self.is_away = True
        self._owner.link_away()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's class does not inherit from it
        self._transport.write(b"".join(self._commands))

    def data_received(self, data: bytes) -> None:
        try:
            replies = self._reader.feed(data)
            if self.is_ready:
                self._owner.link_replied(replies)
            else:
                self._greet(replies)
        except OnlineStoreError as error:
            if self.is_ready:
                self.drop(error.message)
            else:
                self._fail_greeting(error)

    def _greet(self, replies: Sequence[Reply]) -> None:
        self._greeting += replies
        greeted = self._greeted
        if len(self._greeting) >= len(self._commands) and greeted is not None and not greeted.done():
            check_handshake(self._address, self._greeting)
            greeted.set_result(None)

    def _fail_greeting(self, error: Exception) -> None:
        if self._greeted is not None and not self._greeted.done():
            self._greeted.set_exception(error)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._fail_greeting(exc if isinstance(exc, OSError) else ConnectionResetError("the server closed it"))
        self._lost.set()
        if self.is_ready:
            self.is_ready = False
            self._owner.link_lost()

    def pause_writing(self) -> None:
        """What is in flight is bounded, so there is little to be written."""

    def resume_writing(self) -> None:
        """See `pause_writing`."""

    def eof_received(self) -> bool:
        return False
