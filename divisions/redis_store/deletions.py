"""Customers who are to be forgotten, in Redis, and a copy of the list in the home of every host that writes.

A Redis that has lost its data gets the list back from the next fill. What Redis says about a customer goes before a
copy, because copies are brought up to date by fills only.
"""

from __future__ import annotations

from divisions.clock import Clock
from divisions.deletions import Deletions
from divisions.redis_store.connection import Connection
from divisions.redis_store.layout import damaged, prefix_of
from divisions.redis_store.scripts import DELETE, RESTORE


class RedisDeletions:
    """The list. Every method raises `OnlineStoreError` if it cannot be read or written.

    Args:
        connection: to the server.
        copy: this home's copy.
        clock: tells when a deletion was taken back.
    """

    def __init__(self, connection: Connection, copy: Deletions, clock: Clock) -> None:
        self._connection = connection
        self._copy = copy
        self._clock = clock

    def of(self, endpoint: str) -> dict[str, float]:
        """The deleted customers of an endpoint, and when each was deleted (seconds since the Unix epoch)."""
        noted = self._noted(endpoint)
        missing = {name: at_s for name, at_s in self._copy.of(endpoint).items() if name not in noted}
        return missing | {name: at_s for name, at_s in noted.items() if at_s > 0}

    def add(self, endpoint: str, entity_id: str, at_s: float) -> bool:
        """Notes a deletion, and removes the customer's row in the same step; returns whether there was one."""
        self._copy.add(endpoint, entity_id, at_s)
        prefix = prefix_of(endpoint)
        return self._connection.call(b"EVAL", DELETE, b"1", prefix, entity_id.encode(), b"%r" % at_s) == 1

    def remove(self, endpoint: str, entity_id: str) -> bool:
        """Takes a deletion back; returns whether there was one."""
        at = b"%r" % self._clock.wall_s()
        was_noted = self._connection.call(b"EVAL", RESTORE, b"1", prefix_of(endpoint), entity_id.encode(), at) == 1
        return self._copy.remove(endpoint, entity_id) or was_noted

    def exchange(self, endpoint: str) -> None:
        """Gives Redis what only the copy has, and the copy what Redis has."""
        noted, copied = self._noted(endpoint), self._copy.of(endpoint)
        key = prefix_of(endpoint) + b"deleted"
        for name, at_s in copied.items():
            if name not in noted:
                self._connection.call(b"HSETNX", key, name.encode(), b"%r" % at_s)
                noted[name] = at_s
        deleted = {name: at_s for name, at_s in noted.items() if at_s > 0}
        if deleted.keys() != copied.keys():
            self._copy.replace(endpoint, deleted)

    def _noted(self, endpoint: str) -> dict[str, float]:
        """What Redis has: the times of deletions, and minus those of deletions that were taken back."""
        reply = self._connection.call(b"HGETALL", prefix_of(endpoint) + b"deleted")
        try:
            items = [each.decode() for each in reply if isinstance(each, bytes)] if isinstance(reply, list) else []
            return {name: float(at) for name, at in zip(items[::2], items[1::2], strict=True)}
        except ValueError:
            raise damaged() from None
