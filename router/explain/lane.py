"""The explanations that wait for one version. They get a part of its capacity, after plain requests.

- Rows of an explanation are sent only to a replica that has nothing to do, while no plain row waits. While as many
  plain rows wait as fill a batch, new explanations are refused.
- At any time the version has at most half of a batch of them per replica, and no more than about `MAX_DELAY_S` of the
  engine's time. So a plain request never waits longer for explanations than that.
- An explanation is refused at once if it cannot be ready before its deadline, by the pool's fit of batch durations.
"""

from __future__ import annotations

import math
from collections import deque
from typing import Final

from divisions.errors import OverloadedError, ReplicaFailedError
from router.explain.explanation import Explanation
from router.explain.reference import ReferenceRow
from router.predict.pool import MARGIN, Pool

MAX_DELAY_S: Final = 0.005
"""Engine time of the rows that are on their way to a replica together, as far as the fit knows it."""
SMALLEST: Final = 8
"""Rows that are sent together even by a slow model. Fewer would cost more than they save."""
MAX_WAITING: Final = 1_024
"""Explanations that may wait. The deadline limits them too, once it is known how slow the version is."""


class Lane:
    """See the module. Lives on the gateway's event loop.

    Args:
        pool: of the version.
        reference: the version's.
    """

    def __init__(self, pool: Pool, reference: ReferenceRow) -> None:
        self.pool = pool
        self.reference = reference
        self._waiting: deque[Explanation] = deque()
        self._in_flight = 0

    @property
    def is_idle(self) -> bool:
        return not self._waiting and not self._in_flight

    def check(self, rows: int, now_s: float, deadline_s: float) -> None:
        """Whether so many rows more can be answered before ``deadline_s``.

        Raises:
            OverloadedError: they cannot, or plain requests need the version.
        """
        pool = self.pool
        portion = self._portion()
        ahead = self._in_flight + sum(each.rows_left for each in self._waiting)
        turns = math.ceil((ahead + rows) / (portion * self._replicas()))
        first_s = pool.predicted_wait_s(min(portion, ahead + rows))
        wait_s = (first_s + (turns - 1) * pool.service_time.predict_s(portion)) * MARGIN
        if self._is_busy() or len(self._waiting) >= MAX_WAITING or now_s + wait_s > deadline_s:
            raise OverloadedError(
                "there is no time for an explanation: the endpoint is busy, or the deadline too near",
                remedy="ask without `explain`, or again after the time that Retry-After names",
                retry_after_s=max(wait_s, 0.001),
            )

    def add(self, explanation: Explanation) -> None:
        """Queues an explanation; `pump` sends it."""
        self._waiting.append(explanation)

    def release(self, rows: int) -> None:
        """So many rows are not on their way any more."""
        self._in_flight -= rows

    def pump(self, now_s: float) -> None:
        """Sends what may be sent now."""
        pool = self.pool
        if not self._waiting or pool.queue.rows or not pool.free.has_any():
            return
        portion = self._portion()
        room = portion * self._replicas()
        while self._waiting:
            first = self._waiting[0]
            if first.is_over or not first.rows_left:
                self._waiting.popleft()
                continue
            rows = min(first.rows_left, portion)
            if self._in_flight and self._in_flight + rows > room:
                return
            self._in_flight += rows
            first.send(rows, now_s)

    def expire(self, now_s: float) -> None:
        """Ends what has waited until its deadline. What is on its way is ended by the pool."""
        for each in list(self._waiting):
            if each.deadline_s <= now_s and not each.is_over:
                each.fail(
                    OverloadedError(
                        "plain requests came first, and left no time for an explanation",
                        remedy="ask without `explain`, or again after the time that Retry-After names",
                    )
                )
        self._drop_ended()

    def retire(self) -> None:
        """The version was taken out of service: ends everything that waits."""
        for each in list(self._waiting):
            if not each.is_over:
                each.fail(ReplicaFailedError("the version was taken out of service", remedy="try again"))
        self._drop_ended()

    def _drop_ended(self) -> None:
        if any(each.is_over for each in self._waiting):
            self._waiting = deque(each for each in self._waiting if not each.is_over)

    def _is_busy(self) -> bool:
        """Whether plain requests need all that the version can do."""
        return self.pool.queue.rows >= self.pool.max_batch

    def _replicas(self) -> int:
        return max(1, self.pool.ready_channels)

    def _portion(self) -> int:
        """Rows that go to one replica together."""
        pool = self.pool
        within = pool.service_time.rows_within(pool.service_time.intercept_s + MAX_DELAY_S)
        half = max(1, pool.max_batch // 2)
        return min(half, max(within, SMALLEST))
