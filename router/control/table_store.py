"""The routing table in force, its epoch, and the long polls that wait for the next one.

An epoch is on disk before its table is published. Gateways take only higher epochs; so a controller that was killed
and started again must not go below the last one.
"""

from __future__ import annotations

import asyncio
import contextlib

from divisions.control import EndpointRoute, RoutingTable, VersionSpec
from router.control.journal import Journal

EMPTY_TABLE = RoutingTable(epoch=0)


class TableStore:
    """See the module. It lives on one event loop."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._changed = asyncio.Event()
        self.epoch = journal.epoch
        self.table = EMPTY_TABLE

    def publish(
        self, endpoints: tuple[EndpointRoute, ...], hosted: tuple[VersionSpec, ...], *, is_forced: bool = False
    ) -> None:
        """Publishes a table if it differs from the one in force."""
        if (endpoints, hosted) == (self.table.endpoints, self.table.hosted) and not is_forced:
            return
        self.epoch += 1
        self._journal.reserve_epoch(self.epoch)
        self.table = RoutingTable(self.epoch, endpoints, hosted)
        self._changed.set()
        self._changed = asyncio.Event()

    async def newer(self, known_epoch: int, timeout_s: float) -> RoutingTable:
        """The table, at once if it is newer than ``known_epoch``, else when it changes or after ``timeout_s``."""
        if self.table.epoch <= known_epoch:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait(), timeout_s)
        return self.table
