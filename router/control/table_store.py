"""The routing table in force, its epoch, and the long polls that wait for the next one.

An epoch is on disk before its table is published. Gateways take only higher epochs; so a controller that was killed
and started again must not go below the last one.

A table without weight for the canary may be published before it is on disk (`router.journal.writer`). So after
a restart a gateway may have an epoch that the journal does not know and this controller did not publish. `is_foreign`
finds it: it tells that the journal is behind.
"""

from __future__ import annotations

import asyncio
import contextlib

import msgspec

from divisions.access.tokens import AccessList
from divisions.control import EndpointRoute, RoutingTable, VersionSpec
from router.journal.writer import JournalWriter

EMPTY_TABLE = RoutingTable(epoch=0)


class TableStore:
    """See the module. It lives on one event loop."""

    def __init__(self, writer: JournalWriter) -> None:
        self._writer = writer
        self._changed = asyncio.Event()
        self._trusted_epoch = 0
        self._first_epoch = 0
        self.epoch = 0
        self.table = EMPTY_TABLE

    def resume(self, epoch: int, leap: int = 0) -> None:
        """Goes on above the journal's last epoch.

        Args:
            epoch: of the journal.
            leap: how far, where an older backup of the journal may have been restored: then gateways may have later
                tables, and a number that this controller publishes, too, would hide that.
        """
        self._trusted_epoch = epoch
        self.epoch = epoch + leap

    def is_foreign(self, known_epoch: int) -> bool:
        """Whether a gateway's epoch is neither the journal's, nor older, nor published by this controller."""
        is_ours = 0 < self._first_epoch <= known_epoch <= self.epoch
        return known_epoch > self._trusted_epoch and not is_ours

    def go_above(self, known_epoch: int) -> None:
        """Accepts a foreign epoch: the next table gets a higher one, or gateways would not take it."""
        self.epoch = max(self.epoch, known_epoch)
        self._trusted_epoch = self.epoch

    def publish(
        self, endpoints: tuple[EndpointRoute, ...], hosted: tuple[VersionSpec, ...], *, is_forced: bool = False
    ) -> None:
        """Publishes a table if it differs from the one in force."""
        if (endpoints, hosted) == (self.table.endpoints, self.table.hosted) and not is_forced:
            return
        self.epoch = self._writer.next_epoch(self.epoch)
        self._first_epoch = self._first_epoch or self.epoch
        self.table = RoutingTable(self.epoch, endpoints, hosted, self.table.access)
        self._tell()

    def grant(self, access: AccessList) -> None:
        """Publishes who has a token: with the table in force, whose epoch stays. So it needs no journal, and no replica
        that is heard of again: a token is revoked at once, also just after a restart."""
        self.table = msgspec.structs.replace(self.table, access=access)
        self._tell()

    def _tell(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    async def newer(self, known_epoch: int, timeout_s: float, known_access: str | None = None) -> RoutingTable:
        """The table, at once if it is newer than ``known_epoch``, else when it changes or after ``timeout_s``.

        Args:
            known_epoch: of the caller's table.
            timeout_s: the longest wait.
            known_access: the stamp of the caller's list of tokens; another one is given out at once. None: any.
        """
        if self.table.epoch <= known_epoch and known_access in {None, self.table.access.stamp}:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait(), timeout_s)
        return self.table
