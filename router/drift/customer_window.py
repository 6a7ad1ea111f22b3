"""The latest row of each customer of the last hour, or day: the rows of a histogram that slides. Pure.

Each customer counts once, however often it asks. The rows of one customer are alike; counted by request, a few heavy
customers would make any window look shifted.

Memory is bounded by adaptive sampling (Wegman; Flajolet 1990): with more than ``limit`` customers, only those are kept
whose hash ends in one more zero bit, that is half of them. So the window is a random part of its customers, and all
gateways' rows of one customer meet in it. When customers become few again, all count again.
"""

from __future__ import annotations

import msgspec
import numpy as np
import numpy.typing as npt

from router.drift.comparison import Counts

LIMIT = 8_192
"""Customers of one window. 8,192 find an index of 0.003; more would find only what nobody cares about."""
MAX_LEVEL = 40

Bins = npt.NDArray[np.uint16]


class WindowState(msgspec.Struct, frozen=True):
    """A window as it is saved: 64-bit digests, the 32-bit slots of time they were seen in, 16-bit bins by row."""

    level: int = 0
    digests: bytes = b""
    seen: bytes = b""
    rows: bytes = b""


class CustomerWindow:
    """See the module.

    Args:
        sizes: how many bins each column has.
        span: how many slots of time the window has.
        limit: how many customers it keeps.
    """

    def __init__(self, sizes: tuple[int, ...], span: int, limit: int = LIMIT) -> None:
        self.sizes = sizes
        self._span = span
        self._limit = limit
        self._level = 0
        self._starts_C = np.concatenate([[0], np.cumsum(sizes)[:-1]]).astype(np.int64)
        self._places: dict[int, int] = {}
        self._digests_N = np.zeros(limit, dtype=np.uint64)
        self._seen_N = np.zeros(limit, dtype=np.int32)
        self._rows_NC: Bins = np.zeros((limit, len(sizes)), dtype=np.uint16)

    def __len__(self) -> int:
        return len(self._places)

    def add(self, digests_N: npt.NDArray[np.uint64], rows_NC: Bins, slot: int) -> None:
        """Takes the rows of one second.

        Args:
            digests_N: the customers' hashes.
            rows_NC: the bin of every column, below its size.
            slot: the present slot of time.
        """
        is_counted_N = (digests_N & np.uint64(self._mask)) == 0
        digests, rows_NC = digests_N[is_counted_N].tolist(), rows_NC[is_counted_N]
        for digest in digests:
            if digest not in self._places:
                self._join(digest)
        at_N = np.array([self._places.get(digest, -1) for digest in digests], dtype=np.int64)
        is_kept_N = at_N >= 0
        self._seen_N[at_N[is_kept_N]] = slot
        self._rows_NC[at_N[is_kept_N]] = rows_NC[is_kept_N]  # of a customer's rows, the last one stays

    def expire(self, slot: int) -> None:
        """Forgets whom nobody has seen for the window's span, which ends with ``slot``."""
        size = len(self._places)
        self._keep(self._seen_N[:size] > slot - self._span)
        if self._level and len(self._places) < self._limit // 4:
            self._level -= 1

    def counts(self) -> list[Counts]:
        """The histogram of every column."""
        rows_NC = self._rows_NC[: len(self._places)].astype(np.int64)
        total = int(sum(self.sizes))
        counts = np.bincount((rows_NC + self._starts_C).ravel(), minlength=total).astype(np.float64)
        return np.split(counts, self._starts_C[1:])

    def state(self) -> WindowState:
        size = len(self._places)
        parts = (self._digests_N[:size], self._seen_N[:size], self._rows_NC[:size])
        return WindowState(self._level, *(np.ascontiguousarray(part).tobytes() for part in parts))

    def restore(self, state: WindowState) -> None:
        """Takes what was saved; nothing if it was saved for other columns."""
        digests_N = np.frombuffer(state.digests, dtype=np.uint64)
        seen_N = np.frombuffer(state.seen, dtype=np.int32)
        rows_N = np.frombuffer(state.rows, dtype=np.uint16)
        size = len(digests_N)
        if size > self._limit or len(seen_N) != size or len(rows_N) != size * len(self.sizes):
            return
        rows_NC = rows_N.reshape(size, len(self.sizes))
        if size and (rows_NC >= np.array(self.sizes)).any():
            return
        self._level = min(max(state.level, 0), MAX_LEVEL)
        self._digests_N[:size], self._seen_N[:size], self._rows_NC[:size] = digests_N, seen_N, rows_NC
        self._places = {digest: place for place, digest in enumerate(digests_N.tolist())}

    @property
    def _mask(self) -> int:
        return (1 << self._level) - 1

    def _join(self, digest: int) -> None:
        """Makes room for a customer, if it is of the part that counts. The caller writes its row."""
        if len(self._places) >= self._limit:
            self._thin_out()
        if not digest & self._mask and len(self._places) < self._limit:
            self._digests_N[len(self._places)] = digest
            self._places[digest] = len(self._places)

    def _thin_out(self) -> None:
        while len(self._places) >= self._limit and self._level < MAX_LEVEL:
            self._level += 1
            size = len(self._places)
            self._keep((self._digests_N[:size] & np.uint64(self._mask)) == 0)

    def _keep(self, is_kept_N: npt.NDArray[np.bool_]) -> None:
        size = len(is_kept_N)
        left = int(is_kept_N.sum())
        if left == size:
            return
        for values in (self._digests_N, self._seen_N, self._rows_NC):
            values[:left] = values[:size][is_kept_N]
        self._places = {digest: place for place, digest in enumerate(self._digests_N[:left].tolist())}
