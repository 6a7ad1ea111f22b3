"""Leaves out the first requests of a replica that joined while its version was serving already. Pure.

Ray replaces a replica that died, in the middle of a rollout; its caches fill while its neighbours are warm, and that is
no regression of the version. (The version's own beginning is left out by `router.evidence.windows.WarmUp`, for all
replicas.) Only answers are left out: a request that fails or hangs at a young replica has hurt its caller.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeVar

_Channel = TypeVar("_Channel")


@dataclass(slots=True)
class _Youth:
    since_s: float
    requests: int = 0


class ReplicaWarmup(Generic[_Channel]):
    """Which of a version's replicas are young. By default none ever is.

    ``warmup_s`` or ``warmup_requests`` ends a replica's youth, whichever is reached first.
    """

    def __init__(self) -> None:
        self.warmup_s = 0.0
        self.warmup_requests = 0
        self._young: dict[_Channel, _Youth] = {}
        self._has_answered = False

    def joined(self, channel: _Channel, now_s: float) -> None:
        """A replica can be reached; it is young if others have answered before it."""
        if self._has_answered and self.warmup_s > 0 and self.warmup_requests > 0:
            self._young[channel] = _Youth(now_s)

    def left(self, channel: _Channel) -> None:
        self._young.pop(channel, None)

    def answered(self, channel: _Channel, requests: int, now_s: float) -> bool:
        """Notes a replica's answers; returns whether they are to be left out."""
        self._has_answered = True
        if not self._young:
            return False
        youth = self._young.get(channel)
        if youth is None:
            return False
        if now_s - youth.since_s >= self.warmup_s or youth.requests >= self.warmup_requests:
            del self._young[channel]
            return False
        youth.requests += requests
        return True
