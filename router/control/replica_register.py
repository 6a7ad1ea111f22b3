"""The register of replicas, kept by their heartbeats: which of them answer, and where. Pure; no I/O."""

from __future__ import annotations

import math
from dataclasses import dataclass

from divisions.control import ReplicaAddress

LOST_AFTER_S = 6.0
"""Three heartbeats. Gateways notice a broken channel at once; this limit is for replicas that hang or have moved."""
MAX_GAP_S = 1.5
FORGOTTEN_AFTER_S = 60.0


@dataclass(slots=True)
class _Entry:
    address: ReplicaAddress
    silent_s: float = 0.0
    is_leaving: bool = False
    """It is about to stop, and answers only what it has. So it is neither ready nor routed to, whatever it sends."""


class ReplicaRegister:
    """Replicas by id. Silence is counted in ticks, so a controller that was stopped for a while drops none of them."""

    def __init__(self) -> None:
        self._entries: dict[str, _Entry] = {}
        self._ticked_s: float | None = None
        self._replica_ids: dict[str, set[str]] = {}

    def heartbeat(self, address: ReplicaAddress) -> bool:
        """Takes a heartbeat; returns whether it changes what may be routed to."""
        entry = self._entries.get(address.replica_id)
        if entry is not None and entry.is_leaving:
            return False
        is_changed = entry is None or entry.address != address or entry.silent_s > LOST_AFTER_S
        self._entries[address.replica_id] = _Entry(address)
        self._replica_ids.setdefault(address.app_name, set()).add(address.replica_id)
        return is_changed

    def leave(self, replica_id: str) -> bool:
        """A replica is about to stop; returns whether it changes what may be routed to."""
        entry = self._entries.get(replica_id)
        if entry is None or entry.is_leaving:
            return False
        entry.is_leaving = True
        self._replica_ids.get(entry.address.app_name, set()).discard(replica_id)  # Nothing has replaced it.
        return True

    def tick(self, now_s: float) -> bool:
        """Ages every replica; returns whether one was lost."""
        gap_s = min(max(now_s - self._ticked_s, 0.0), MAX_GAP_S) if self._ticked_s is not None else 0.0
        self._ticked_s = now_s
        is_changed = False
        for replica_id, entry in list(self._entries.items()):
            was_ready = entry.silent_s <= LOST_AFTER_S
            entry.silent_s += gap_s
            is_changed |= was_ready and entry.silent_s > LOST_AFTER_S
            if entry.silent_s > FORGOTTEN_AFTER_S:
                del self._entries[replica_id]
        return is_changed

    def lose(self, replica_id: str) -> bool:
        """Takes a replica as lost until its next heartbeat; returns whether that changes what may be routed to."""
        entry = self._entries.get(replica_id)
        if entry is None or entry.silent_s > LOST_AFTER_S:
            return False
        entry.silent_s = math.nextafter(LOST_AFTER_S, math.inf)
        return True

    def forget(self, app_name: str) -> None:
        """Drops the replicas of an application that was stopped."""
        self._entries = {name: entry for name, entry in self._entries.items() if entry.address.app_name != app_name}
        self._replica_ids.pop(app_name, None)

    def num_ever(self, app_name: str) -> int:
        """How many replicas of an application there ever were; more than are wanted means that some were replaced."""
        return len(self._replica_ids.get(app_name, ()))

    def ready(self, app_name: str) -> tuple[ReplicaAddress, ...]:
        """The replicas of a version that answer, in a fixed order."""
        return self._of(app_name, LOST_AFTER_S)

    def routable(self, app_name: str) -> tuple[ReplicaAddress, ...]:
        """The replicas to route to: those that answer, or else those whose heartbeats stopped less than a minute ago.

        A late heartbeat is no reason to refuse all requests. If the replica is dead, gateways know from its channel.
        """
        return self.ready(app_name) or self._of(app_name, FORGOTTEN_AFTER_S)

    def known(self) -> tuple[ReplicaAddress, ...]:
        return tuple(entry.address for _, entry in sorted(self._entries.items()))

    def is_ready(self, replica_id: str) -> bool:
        entry = self._entries.get(replica_id)
        return entry is not None and entry.silent_s <= LOST_AFTER_S and not entry.is_leaving

    def is_silent(self, replica_id: str) -> bool:
        """Whether its heartbeats have stopped."""
        entry = self._entries.get(replica_id)
        return entry is None or entry.silent_s > LOST_AFTER_S

    def is_leaving(self, replica_id: str) -> bool:
        """Whether a replica has said that it is about to stop."""
        entry = self._entries.get(replica_id)
        return entry is not None and entry.is_leaving

    def _of(self, app_name: str, silent_s: float) -> tuple[ReplicaAddress, ...]:
        return tuple(
            entry.address
            for _, entry in sorted(self._entries.items())
            if entry.address.app_name == app_name and entry.silent_s <= silent_s and not entry.is_leaving
        )
