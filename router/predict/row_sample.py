"""Some of the rows that a version answers, with their scores: what drift is measured by. Pure.

The hot path asks once per batch whether there is room. Room comes back one row at a time, with every sweep. So at a
low load all rows are kept, and at a high load at most `MAX_ROWS` a second, spread over it. The cost is bounded.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from router.predict.jobs import SPLIT, Job

MAX_ROWS: Final = 100
"""Rows that are kept between two reports, so about as many a second."""


class SampledRow(NamedTuple):
    """One row. ``key`` is the customer, or the row itself if the request named none; ``row`` and ``score`` are
    little-endian float32."""

    key: bytes
    row: bytes
    score: bytes


class RowSample:
    """See the module. `room` is what the hot path looks at."""

    __slots__ = ("room", "rows")

    def __init__(self) -> None:
        self.room = 0
        self.rows: list[SampledRow] = []

    def refill(self) -> None:
        """Makes room for one more row. Call it every few milliseconds."""
        if self.room + len(self.rows) < MAX_ROWS:
            self.room += 1

    def offer(self, jobs: Sequence[Job], payload: bytes | memoryview) -> None:
        """Takes rows of an answered batch, as far as there is room.

        Requests that name their version, copies of requests and second attempts are left out: they are no random
        sample.

        Args:
            jobs: the batch.
            payload: its scores, little-endian float32.
        """
        position = 0
        for job in jobs:
            if self.room <= 0:
                return
            if job.kind == SPLIT and job.first is None:
                self._keep(job, payload, position)
            position += job.rows

    def _keep(self, job: Job, payload: bytes | memoryview, position: int) -> None:
        size = len(job.payload) // job.rows
        count = min(self.room, job.rows)
        step = job.rows // count  # neighbouring rows of one request may be alike
        for number in range(0, step * count, step):
            row = bytes(job.payload[number * size : (number + 1) * size])
            at = 4 * (position + number)
            self.rows.append(SampledRow(job.key or row, row, bytes(payload[at : at + 4])))
        self.room -= count

    def take(self) -> list[SampledRow]:
        """Removes and returns what was kept."""
        rows, self.rows = self.rows, []
        return rows
