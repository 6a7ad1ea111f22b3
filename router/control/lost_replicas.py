"""Which of the replicas that gateways have lost are lost for all: those whose heartbeats have ended as well. Pure.

A gateway knows at once that a channel broke, but not why: it may be cut off itself. Heartbeats alone need several
seconds to be sure. The two together need little more than one heartbeat.
"""

from __future__ import annotations

from collections.abc import Sequence

SILENT_S = 1.25
"""A replica sends a heartbeat every second."""
GRACE_S = 0.3
"""Heartbeats may wait in the controller's queue, behind the report."""
_FORGOTTEN_AFTER_S = 60.0


class LostReplicas:
    """When each replica was last heard, by the controller's monotonic clock."""

    def __init__(self) -> None:
        self._heard_s: dict[str, float] = {}

    def heard(self, replica_id: str, now_s: float) -> None:
        self._heard_s[replica_id] = now_s

    def judge(self, replica_ids: Sequence[str], reported_s: float, now_s: float) -> tuple[list[str], float]:
        """Judges replicas whose channels broke.

        Args:
            replica_ids: the replicas.
            reported_s: when a gateway's report of that came in.
            now_s: the time.

        Returns:
            Those that are lost, and after how many seconds to judge the others again; 0 if they are alive.
        """
        lost, wait_s = [], 0.0
        for replica_id in replica_ids:
            heard_s = self._heard_s.get(replica_id)
            if heard_s is None or heard_s > reported_s:
                continue  # unknown to this controller, or alive
            due_s = max(heard_s + SILENT_S, reported_s + GRACE_S)
            if now_s >= due_s:
                lost.append(replica_id)
            else:
                wait_s = max(wait_s, due_s - now_s)
        return lost, wait_s

    def prune(self, now_s: float) -> None:
        """Forgets replicas that were not heard for a minute. Called once a second."""
        self._heard_s = {name: at_s for name, at_s in self._heard_s.items() if now_s - at_s < _FORGOTTEN_AFTER_S}
