"""What is usual at each hour of the week: the histograms of a version's first two weeks. Pure.

Customers of the night are not those of noon. Against the training data alone every night would be a drift, or no drift
of less than the difference between night and noon would be found. So each window that ends with an hour is learnt in
two weeks, and compared with what was learnt from then on. What was learnt stays as it is: a reference that follows the
traffic would follow a slow drift, too.
"""

from __future__ import annotations

import msgspec
import numpy as np
import numpy.typing as npt

from router.drift.comparison import Counts

HOURS = 168
WEEKS = 2


class SeasonState(msgspec.Struct, frozen=True):
    """As it is saved: 32-bit sums by hour and bin, and how many weeks are in each."""

    weeks: bytes = b""
    sums: bytes = b""


class Seasons:
    """The learnt histograms of one window, by hour of the week.

    Args:
        sizes: how many bins each column has.
    """

    def __init__(self, sizes: tuple[int, ...]) -> None:
        self._cuts = np.cumsum(sizes)[:-1]
        self._weeks_H: npt.NDArray[np.uint8] = np.zeros(HOURS, dtype=np.uint8)
        self._sums_HB: npt.NDArray[np.float32] = np.zeros((HOURS, int(sum(sizes))), dtype=np.float32)

    def learn(self, hour: int, counts: list[Counts]) -> None:
        """Takes the histograms of a window that ended with this hour of the week."""
        if self._weeks_H[hour] < WEEKS:
            self._weeks_H[hour] += 1
            self._sums_HB[hour] += np.concatenate(counts)

    def usual(self, hour: int) -> list[Counts] | None:
        """The usual histograms at this hour of the week; None before two weeks are known.

        They are the mean of the weeks, not the sum: it may be the same customers who came in both.
        """
        if self._weeks_H[hour] < WEEKS:
            return None
        return np.split(self._sums_HB[hour].astype(np.float64) / WEEKS, self._cuts)

    @property
    def num_known(self) -> int:
        """How many hours of the week are known."""
        return int((self._weeks_H >= WEEKS).sum())

    def state(self) -> SeasonState:
        return SeasonState(self._weeks_H.tobytes(), self._sums_HB.tobytes())

    def restore(self, state: SeasonState) -> None:
        """Takes what was saved; nothing if it was saved for other columns."""
        if len(state.weeks) == self._weeks_H.nbytes and len(state.sums) == self._sums_HB.nbytes:
            self._weeks_H = np.frombuffer(state.weeks, dtype=np.uint8).copy()
            self._sums_HB = np.frombuffer(state.sums, dtype=np.float32).reshape(self._sums_HB.shape).copy()
