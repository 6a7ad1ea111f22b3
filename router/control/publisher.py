"""Publishes the routing table whenever it changes, but not before a restarted controller knows its replicas again.

After a restart the register of replicas is empty. A table made from it would name no replica, and gateways would
lose a table that works. So nothing is published until one of these holds:

- all replicas of every version with traffic have sent a heartbeat;
- `PARTIAL_RECOVERY_S` have passed, and every such version has at least one;
- `RECOVERY_S` have passed.

Gateways go on by the table they hold meanwhile.
"""

from __future__ import annotations

from divisions.clock import Clock
from divisions.control import Placement
from router.control import routing
from router.control.endpoints import Endpoints
from router.control.replica_register import ReplicaRegister
from router.control.table_store import TableStore
from router.rollouts import records

RECOVERY_S = 15.0
PARTIAL_RECOVERY_S = 4.0
"""Two heartbeats. A replica that has sent none by then is not waited for, if its version has another."""


class TablePublisher:
    """See the module.

    Args:
        store: the table in force.
        endpoints: the records that the table follows from.
        register: the replicas that it names.
        clock: the time; recovery is counted from now on.
    """

    def __init__(self, store: TableStore, endpoints: Endpoints, register: ReplicaRegister, clock: Clock) -> None:
        self._store = store
        self._endpoints = endpoints
        self._register = register
        self._clock = clock
        self._started_s = clock.monotonic_s()
        self.is_recovering = False

    def recover(self) -> None:
        """Waits for replicas from now on, if there is an endpoint that has traffic."""
        self.is_recovering = any(records.shares(record) for record in self._endpoints.records.values())

    def publish(self, *, is_forced: bool = False) -> None:
        """Publishes the table if it differs from the one in force; its epoch is on disk first."""
        if self.is_recovering and not self._has_recovered():
            return
        self.is_recovering = False
        entries = routing.endpoints(self._endpoints.records, self._register)
        self._store.publish(entries, routing.hosted(self._endpoints.wanted()), is_forced=is_forced)

    def _has_recovered(self) -> bool:
        silent_s = self._clock.monotonic_s() - self._started_s
        all_shares = [share for record in self._endpoints.records.values() for share in records.shares(record)]
        # Gateways learn from the table what to host, and use what they host whatever the table lists.
        served = [
            share.version for share in all_shares if share.weight_bp and share.version.placement is Placement.REPLICAS
        ]
        capacities = [self._endpoints.capacity(version) for version in served]
        if all(capacity.is_full for capacity in capacities) or silent_s >= RECOVERY_S:
            return True
        return silent_s >= PARTIAL_RECOVERY_S and all(capacity.ready for capacity in capacities)
