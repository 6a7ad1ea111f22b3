"""Which TLS handshakes are under way, which connections wait to begin theirs, and who goes next. Pure but for its keys.

Places are shared out by network: an address, or 64 bits of one of IPv6. A network that holds more places than another
cannot keep the other waiting: it loses its oldest handshake to the newcomer at once. Among equals the newcomer waits
until a handshake ends, or the oldest has had its time of grace.
"""

from __future__ import annotations

from collections import deque
from typing import Generic, TypeVar

Under = TypeVar("Under")
Waiting = TypeVar("Waiting")


class Handshakes(Generic[Under, Waiting]):
    """See the module.

    Args:
        places: handshakes under way at a time.
        grace_s: for how long a handshake keeps its place from its own network and from equals.
    """

    def __init__(self, places: int, grace_s: float) -> None:
        self._places = places
        self._grace_s = grace_s
        self._begun_s: dict[str, dict[Under, float]] = {}
        """By network, in the order in which they began."""
        self._waiting: dict[str, deque[Waiting]] = {}
        """By network; the one that was served last comes last."""
        self.num_under_way = 0
        self.num_waiting = 0

    def begin(self, network: str, handshake: Under, now_s: float) -> None:
        self._begun_s.setdefault(network, {})[handshake] = now_s
        self.num_under_way += 1

    def end(self, network: str, handshake: Under) -> None:
        under_way = self._begun_s.get(network, {})
        if under_way.pop(handshake, None) is not None:
            self.num_under_way -= 1
            if not under_way:
                del self._begun_s[network]

    def under_way(self) -> list[Under]:
        return [each for handshakes in self._begun_s.values() for each in handshakes]

    @property
    def has_place(self) -> bool:
        return self.num_under_way < self._places

    def give_way(self, network: str) -> Under | None:
        """Takes its place from the oldest handshake of the network that has most, if that has more than its share
        beside ``network``."""
        most = self._most()
        if len(self._begun_s[most]) <= len(self._begun_s.get(network, ())) + 1:
            return None
        return self._lose(most)

    def grace_left_s(self, now_s: float) -> float:
        """How long the oldest handshake of the network that has most keeps its place; not above 0 if it is over."""
        return next(iter(self._begun_s[self._most()].values())) + self._grace_s - now_s

    def give_way_to_all(self) -> Under:
        """Takes that handshake's place, for whoever waits."""
        return self._lose(self._most())

    def _most(self) -> str:
        return max(self._begun_s, key=lambda network: len(self._begun_s[network]))

    def _lose(self, network: str) -> Under:
        oldest = next(iter(self._begun_s[network]))
        self.end(network, oldest)
        return oldest

    def wait(self, network: str, connection: Waiting) -> None:
        self._waiting.setdefault(network, deque()).append(connection)
        self.num_waiting += 1

    def next_waiting(self) -> tuple[str, Waiting]:
        """The oldest of the network that has fewest handshakes under way; networks that are alike take turns."""
        network = min(self._waiting, key=lambda each: len(self._begun_s.get(each, ())))
        return network, self._take(network, newest=False)

    def give_up_waiting(self) -> Waiting:
        """The newest of the network that has most connections waiting."""
        return self._take(max(self._waiting, key=lambda each: len(self._waiting[each])), newest=True)

    def _take(self, network: str, *, newest: bool) -> Waiting:
        connections = self._waiting.pop(network)
        connection = connections.pop() if newest else connections.popleft()
        self.num_waiting -= 1
        if connections:
            self._waiting[network] = connections
        return connection
