"""Leaves out the first answers of a replica that joins while its version serves already. Pure.

Ray replaces a replica that died, also in the middle of a rollout. The new replica's caches are cold while the others'
are warm. Its slowness is not a regression of the version. (The first answers of the version itself are left out by
`router.evidence.windows.WarmUp`, for all its replicas.) Only answers are left out: a request that fails or hangs at a
new replica has hurt its caller.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeVar

_Channel = TypeVar("_Channel")


@dataclass(slots=True)
class _WarmingUp:
    since_s: float
    requests: int = 0


class ReplicaWarmup(Generic[_Channel]):
    """Which of a version's replicas warm up. By default none does.

    A replica's warm-up ends after ``warmup_s`` or ``warmup_requests``, whichever comes first.
    """

    def __init__(self) -> None:
        self.warmup_s = 0.0
        self.warmup_requests = 0
        self._warming: dict[_Channel, _WarmingUp] = {}
        self._has_answered = False

    def joined(self, channel: _Channel, now_s: float) -> None:
        """A replica can be reached. It warms up if others have answered before it."""
        if self._has_answered and self.warmup_s > 0 and self.warmup_requests > 0:
            self._warming[channel] = _WarmingUp(now_s)

    def left(self, channel: _Channel) -> None:
        self._warming.pop(channel, None)

    def answered(self, channel: _Channel, requests: int, now_s: float) -> bool:
        """Counts a replica's answers; returns whether to leave them out."""
        self._has_answered = True
        if not self._warming:
            return False
        warming = self._warming.get(channel)
        if warming is None:
            return False
        if now_s - warming.since_s >= self.warmup_s or warming.requests >= self.warmup_requests:
            del self._warming[channel]
            return False
        warming.requests += requests
        return True
