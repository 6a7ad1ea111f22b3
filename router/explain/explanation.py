"""One row that a version explains: its rows go to the version's pool in jobs, and their scores come back."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING

from divisions.errors import RequestError
from divisions.schema import FeatureSchema
from router.explain.contributions import Attribution, attribute, num_rows
from router.explain.reference import differing, occluded
from router.http.cancellation import Cancellable
from router.predict.jobs import PINNED, Answer, Job

if TYPE_CHECKING:
    from router.explain.lane import Lane


class Owner(Cancellable):
    """The request that a row belongs to."""

    @abstractmethod
    def explained(self, explanation: Explanation) -> None:
        """All scores are there."""

    @abstractmethod
    def failed(self, explanation: Explanation, error: RequestError) -> None:
        """The version could not explain the row."""


class Explanation(Answer):
    """See the module.

    Args:
        owner: is told of the end, once, unless this is cancelled.
        place: of the row in its request.
        row: packed for the version.
        lane: of the version's pool.
        arrived_s: when the request came.
        deadline_s: when this attempt ends.
    """

    def __init__(self, owner: Owner, place: int, row: bytes, lane: Lane, arrived_s: float, deadline_s: float) -> None:
        self.place = place
        self.lane = lane
        self.deadline_s = deadline_s
        self.columns = differing(row, lane.reference.packed)
        """Of the features in which the customer differs from the reference."""
        self.compute_us = 0
        """Engine time of all batches with rows of this one."""
        self.in_flight = 0
        self.is_over = False
        self._owner = owner
        self._row = row
        self._arrived_s = arrived_s
        self._scores = [0.0] * num_rows(len(self.columns))
        self._num_sent = 0
        self._num_answered = 0
        self._jobs: list[Job] = []

    @property
    def rows_left(self) -> int:
        """Rows that were not sent yet."""
        return len(self._scores) - self._num_sent

    @property
    def probability(self) -> float:
        """The customer's own score."""
        return self._scores[0]

    def attribution(self) -> Attribution:
        return attribute(self._scores)

    def send(self, rows: int, now_s: float) -> None:
        """Sends the next ``rows`` rows to the pool."""
        start, pool = self._num_sent, self.lane.pool
        payload = occluded(self._row, self.lane.reference.packed, self.columns, start, start + rows)
        positions = range(start, start + rows)
        job = Job(self, (), positions, payload, pool.version, self._arrived_s, self.deadline_s)
        job.kind = PINNED  # No other version may answer some of the rows, and rollouts do not count them.
        job.source = _Packed(payload, rows)
        self._num_sent += rows
        self.in_flight += rows
        self._jobs.append(job)
        try:
            pool.submit(job, now_s)
        except RequestError as error:
            self.failed(job, error)

    def answered(self, job: Job, scores: Sequence[float], compute_us: int, now_s: float) -> None:
        if self.is_over:
            return
        start = job.positions[0]
        self._scores[start : start + job.rows] = scores
        self._num_answered += job.rows
        self.compute_us += compute_us
        self._returned(job)
        if self._num_answered == len(self._scores):
            self.is_over = True
            self._owner.explained(self)
        self.lane.pump(now_s)

    def failed(self, job: Job, error: RequestError) -> None:
        if self.is_over:
            return
        self._returned(job)
        self.fail(error)

    def fail(self, error: RequestError) -> None:
        """Ends it with an error."""
        self.cancel()
        self._owner.failed(self, error)

    def cancel(self) -> None:
        """Ends it; nobody waits for it any more."""
        if self.is_over:
            return
        self.is_over = True
        for job in self._jobs:
            job.cancel()
        self.lane.release(self.in_flight)
        self.in_flight = 0

    def _returned(self, job: Job) -> None:
        self.in_flight -= job.rows
        self.lane.release(job.rows)


class _Packed:
    """The rows of a job, for its second attempt: it goes to the same version, so they stay as they are."""

    def __init__(self, payload: bytes, rows: int) -> None:
        self._payload = payload
        self.rows = rows

    def pack(self, start: int, stop: int, schema: FeatureSchema) -> bytes:
        return self._payload
