"""The cluster's status for all its watchers: the controller is asked once a second, for any number of them.

Every turn wakes the watchers, and each takes the latest snapshot. A slow watcher misses snapshots and costs no memory.
Without watchers the controller is not asked.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import Any

import msgspec

from divisions.errors import DivisionsError

log = logging.getLogger(__name__)

TURN_S = 1.0
ANSWER_S = 3.0
"""A controller that has not answered for so long is reported as away."""
MAX_WATCHERS = 64

Document = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One state of the cluster. ``name`` is ``status``, or ``away`` with the reason; ``number`` rises with each
    change."""

    number: int
    name: str
    data: bytes


class StatusFeed:
    """See the module.

    Args:
        read: asks for the status; may raise `DivisionsError`.
        sleep: waits so many seconds; tests have their own.
        renew: brings what the streams show beside the status up to date; may raise `DivisionsError`.
    """

    def __init__(
        self,
        read: Callable[[], Awaitable[Document]],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        renew: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        self._read = read
        self._sleep = sleep
        self._renew = renew
        self._renewal_fault = ""
        self._key = b""
        self._turned = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self.latest: Snapshot | None = None
        self.num_watchers = 0
        self.is_closed = False

    @property
    def is_full(self) -> bool:
        return self.num_watchers >= MAX_WATCHERS

    @contextlib.contextmanager
    def watched(self) -> Iterator[None]:
        """Keeps the feed going while entered. Inside, a watcher may wait for `turn`."""
        self.num_watchers += 1
        if self._task is None and not self.is_closed:
            self._task = asyncio.get_running_loop().create_task(self._turn())
        try:
            yield
        finally:
            self.num_watchers -= 1
            if not self.num_watchers:
                self._stop()

    async def turn(self) -> None:
        """Waits until the controller was asked again, or the feed is closed."""
        if not self.is_closed:
            await self._turned.wait()

    def close(self) -> None:
        """Ends the feed for good. Watchers wake and find `is_closed` set."""
        self.is_closed = True
        self._stop()
        self._turned.set()

    def _stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
        self._task = self.latest = None
        self._key = b""

    async def _turn(self) -> None:
        number = 0
        while True:
            name, document = await self._ask()
            if self._renew is not None and name == "status":
                await self._renew_house(self._renew)
            key = name.encode() + msgspec.json.encode(_without_clocks(document))
            if key != self._key:
                self._key = key
                number += 1
                self.latest = Snapshot(number, name, msgspec.json.encode(document))
            turned, self._turned = self._turned, asyncio.Event()
            turned.set()
            await self._sleep(TURN_S)

    async def _renew_house(self, renew: Callable[[], Awaitable[None]]) -> None:
        """What fails here, as with an older controller, leaves the streams with what they have, and with the status."""
        try:
            await asyncio.wait_for(renew(), ANSWER_S)
            self._renewal_fault = ""
        except Exception as error:  # noqa: BLE001  # The edge of a loop: see above.
            fault = f"{type(error).__name__}: {error}"
            if fault != self._renewal_fault:
                self._renewal_fault = fault
                log.warning("the house could not be read: %s", fault)

    async def _ask(self) -> tuple[str, Document]:
        try:
            return "status", await asyncio.wait_for(self._read(), ANSWER_S)
        except DivisionsError as error:
            return "away", {"reason": str(error)}
        except TimeoutError:
            return "away", {"reason": f"the controller has not answered for {ANSWER_S:g} s"}
        except Exception:  # The edge of a loop: one bad answer must not end the feed.
            log.exception("the status could not be read")
            return "away", {"reason": "internal error; the gateway's log has the details"}


def _without_clocks(document: Document) -> Document:
    """The document for comparison. Ages grow by themselves; the page can do that too, so they are no change."""
    replicas = [{**replica, "age_s": 0} for replica in document.get("replicas", ())]
    gateway = {**document.get("gateway", {}), "now_s": 0}
    return document | {"replicas": replicas, "gateway": gateway}
