"""Which replicas answer: a register kept by heartbeats, and the routing table's lists of addresses. Pure; no I/O."""

from __future__ import annotations

from dataclasses import dataclass

from divisions.control import ReplicaAddress

LOST_AFTER_S = 6.0
"""Three heartbeats. A gateway notices a broken channel by itself, at once; this is for replicas that hang or moved."""
MAX_GAP_S = 1.5
FORGOTTEN_AFTER_S = 60.0


@dataclass(slots=True)
class _Entry:
    address: ReplicaAddress
    silent_s: float = 0.0


class ReplicaRegister:
    """Replicas by id. Silence is counted from ticks, so that a controller that was stopped does not drop them all."""

    def __init__(self) -> None:
        self._entries: dict[str, _Entry] = {}
        self._seen_s: float | None = None
        self._heard: dict[str, set[str]] = {}

    def hear(self, address: ReplicaAddress) -> bool:
        """Takes a heartbeat; returns whether it changes what may be routed to."""
        entry = self._entries.get(address.replica_id)
        is_news = entry is None or entry.address != address or entry.silent_s > LOST_AFTER_S
        self._entries[address.replica_id] = _Entry(address)
        self._heard.setdefault(address.app_name, set()).add(address.replica_id)
        return is_news

    def tick(self, now_s: float) -> bool:
        """Ages every replica; returns whether one was lost."""
        gap_s = min(max(now_s - self._seen_s, 0.0), MAX_GAP_S) if self._seen_s is not None else 0.0
        self._seen_s = now_s
        is_changed = False
        for replica_id, entry in list(self._entries.items()):
            was_ready = entry.silent_s <= LOST_AFTER_S
            entry.silent_s += gap_s
            is_changed |= was_ready and entry.silent_s > LOST_AFTER_S
            if entry.silent_s > FORGOTTEN_AFTER_S:
                del self._entries[replica_id]
        return is_changed

    def forget(self, app_name: str) -> None:
        """Drops the replicas of an application that was stopped."""
        self._entries = {name: entry for name, entry in self._entries.items() if entry.address.app_name != app_name}
        self._heard.pop(app_name, None)

    def num_heard(self, app_name: str) -> int:
        """How many replicas of an application were ever heard; more than were wanted means some were replaced."""
        return len(self._heard.get(app_name, ()))

    def ready(self, app_name: str) -> tuple[ReplicaAddress, ...]:
        """The replicas of a version that answer, in a fixed order."""
        return self._of(app_name, LOST_AFTER_S)

    def routable(self, app_name: str) -> tuple[ReplicaAddress, ...]:
        """The replicas to route to: those that answer, or else those last heard of.

        Sending to a replica whose heartbeat is late beats refusing everybody; if it is dead, its channel is broken
        and gateways know.
        """
        return self.ready(app_name) or self._of(app_name, FORGOTTEN_AFTER_S)

    def known(self) -> tuple[ReplicaAddress, ...]:
        return tuple(entry.address for _, entry in sorted(self._entries.items()))

    def is_ready(self, replica_id: str) -> bool:
        entry = self._entries.get(replica_id)
        return entry is not None and entry.silent_s <= LOST_AFTER_S

    def _of(self, app_name: str, silent_s: float) -> tuple[ReplicaAddress, ...]:
        return tuple(
            entry.address
            for _, entry in sorted(self._entries.items())
            if entry.address.app_name == app_name and entry.silent_s <= silent_s
        )
