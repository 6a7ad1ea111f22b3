"""The free channels of one version, and which of them comes next.

Channels take turns, those to replicas of this node first: that saves a crossing of the network. A node of which one
replica is late gets nothing new as long as there are others. If the node is lost, the second attempt at a request must
not end at its next replica.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from router.predict.upstream import Channel


class FreeChannels:
    """See the module."""

    def __init__(self) -> None:
        self._near: deque[Channel] = deque()
        self._far: deque[Channel] = deque()
        self.prefers_local = True
        self._late_nodes: set[str] = set()

    def has_any(self) -> bool:
        return bool(self._near) or bool(self._far)

    def add(self, channel: Channel) -> None:
        """A channel has become free."""
        if channel.is_local and self.prefers_local:
            self._near.append(channel)
        else:
            self._far.append(channel)

    def drop(self, channel: Channel) -> None:
        """Gives a channel no further work, if it is free."""
        for free in (self._near, self._far):
            if channel in free:
                free.remove(channel)

    def take(self) -> Channel | None:
        """The next channel; it is no longer free."""
        near, far = self._near, self._far
        while near:
            channel = near.popleft()
            if channel.is_ready:
                return channel
        for _ in range(len(far)):
            channel = far.popleft()
            if not channel.is_ready:
                continue
            if not self._late_nodes or channel.address.node_id not in self._late_nodes:
                return channel
            far.append(channel)
        return None

    def put_back(self, channel: Channel) -> None:
        """Undoes `take`."""
        (self._near if channel.is_local and self.prefers_local else self._far).appendleft(channel)

    def prefer_local(self, is_preferred: bool) -> None:
        """Says whether replicas of this node come first."""
        if is_preferred == self.prefers_local:
            return
        self.prefers_local = is_preferred
        free = [*self._near, *self._far]
        self._near.clear()
        self._far.clear()
        for channel in free:
            self.add(channel)

    def note_late(self, channels: Iterable[Channel]) -> None:
        """Looks which of all channels, free or not, are late. Call it every few milliseconds."""
        late: set[str] = set()
        for channel in channels:
            if channel.is_overdue and not channel.is_local:
                late.add(channel.address.node_id)
        if late and not any(
            channel.is_ready and (channel.is_local or channel.address.node_id not in late) for channel in channels
        ):
            late.clear()  # There is no other node. One of its replicas may be well.
        self._late_nodes = late
