"""Jobs: rows of one request that go to one version together, and the queue that batches are formed from. Pure.

Batching is work-conserving and deadline-aware: a batch is formed when a replica becomes free, never by a timer. It
has no more rows than can finish before the deadline of the job at the head.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from mypy_extensions import mypyc_attr

from divisions.errors import RequestError
from divisions.schema import FeatureSchema
from router.http.cancellation import Cancellable
from router.predict.decode import Values
from router.predict.service_time import ServiceTime
from router.predict.tally import TickTally


@dataclass(frozen=True, slots=True)
class Version:
    """The version that a job goes to: its application, and its model and label as replies show them."""

    app_name: str
    model: bytes
    label: bytes


@mypyc_attr(allow_interpreted_subclasses=True)
class Answer(ABC):
    """Takes the result of a job. Exactly one of the two methods is called, once."""

    __slots__ = ()

    @abstractmethod
    def answered(self, job: Job, scores: Sequence[float], compute_us: int, now_s: float) -> None: ...

    @abstractmethod
    def failed(self, job: Job, error: RequestError) -> None: ...


class RowSource(Protocol):
    """The rows of a request that came as whole tensors. They are not kept one by one."""

    @property
    def rows(self) -> int: ...

    def pack(self, start: int, stop: int, schema: FeatureSchema) -> bytes | memoryview:
        """Packs the rows from ``start`` to before ``stop`` for a version with this schema.

        Raises:
            RequestError: they cannot be packed for that schema.
        """
        ...


class Job(Cancellable):
    """``positions`` has one element per row; ``payload`` is the rows packed for ``version``.

    A retry may have to pack them again, for another version: from ``values``, which has one element per row, or from
    ``source`` if ``values`` is empty.
    """

    __slots__ = (
        "answer",
        "arrived_s",
        "batch",
        "deadline_s",
        "is_canary",
        "is_done",
        "is_mirror",
        "is_pinned",
        "is_retry",
        "key",
        "payload",
        "positions",
        "queue_deadline_s",
        "rows",
        "source",
        "tally",
        "values",
        "version",
    )

    def __init__(
        self,
        answer: Answer,
        values: Sequence[Values],
        positions: Sequence[int],
        payload: bytes | memoryview,
        version: Version,
        arrived_s: float,
        deadline_s: float,
    ) -> None:
        self.answer = answer
        self.version = version
        self.values = values
        self.positions = positions
        self.rows = len(positions)
        self.payload = payload
        self.arrived_s = arrived_s
        self.deadline_s = deadline_s
        self.queue_deadline_s = deadline_s
        """When its wait in a queue ends. A canary's job must leave stable time to answer in its place."""
        self.batch: object = None
        """The batch that carries the present attempt; an earlier one may still be in flight at a hung replica."""
        self.is_canary = False
        self.is_done = False
        self.is_mirror = False
        """Whether it is a copy of another request: it is tried once, counted, and never sent elsewhere."""
        self.is_pinned = False
        """Whether the caller named the version: no other version may answer, and rollouts do not count it."""
        self.is_retry = False
        self.key = b""
        """The customer; empty if the rows are of several customers."""
        self.source: RowSource | None = None
        self.tally: TickTally | None = None

    def cancel(self) -> None:
        """The caller has gone: the job leaves the queue when the next batch is formed."""
        if not self.is_done:
            self.is_done = True
            if self.tally is not None:
                self.tally.requests -= 1  # Neither a success nor a failure of the version.


SMALLEST_SHARE: Final = 4
"""A late head may shrink a batch to this fraction, one quarter."""


class JobQueue:
    """Jobs of one version that wait for a replica, in order of arrival."""

    __slots__ = ("_jobs", "_next_deadline_s", "rows")

    def __init__(self) -> None:
        self._jobs: deque[Job] = deque()
        self._next_deadline_s = float("inf")  # not after the earliest deadline in the queue
        self.rows = 0

    def __len__(self) -> int:
        return len(self._jobs)

    def add(self, job: Job) -> None:
        self._jobs.append(job)
        self.rows += job.rows
        if job.queue_deadline_s < self._next_deadline_s:  # noqa: PLR1730 (once per request)
            self._next_deadline_s = job.queue_deadline_s

    def form(self, now_s: float, max_batch: int, service_time: ServiceTime) -> list[Job]:
        """Takes the next batch.

        Jobs that are done already (answered elsewhere, expired, caller gone) are dropped. The head is always taken,
        also when it cannot meet its deadline: expiry deals with that. The head's deadline limits how many rows may
        join it, but not below a quarter of the rows that could. One late job must not shrink every batch, or all jobs
        behind it become late too.
        """
        jobs = self._jobs
        batch: list[Job] = []
        left = max_batch
        while jobs:
            job = jobs[0]
            rows = job.rows
            if not job.is_done:
                if not batch:
                    floor = min(max_batch, self.rows) // SMALLEST_SHARE
                    left = min(max_batch, max(floor, service_time.rows_within(job.deadline_s - now_s)))
                elif rows > left:
                    break
                batch.append(job)
                left -= rows
            self.rows -= rows
            jobs.popleft()
        if not jobs:
            self._next_deadline_s = float("inf")
        return batch

    def expire(self, now_s: float) -> list[Job]:
        """Removes and returns the jobs that have waited for too long."""
        if now_s < self._next_deadline_s:
            return []
        expired = [job for job in self._jobs if not job.is_done and job.queue_deadline_s <= now_s]
        self._jobs = deque(job for job in self._jobs if not job.is_done and job.queue_deadline_s > now_s)
        self.rows = sum(job.rows for job in self._jobs)
        self._next_deadline_s = min((job.queue_deadline_s for job in self._jobs), default=float("inf"))
        return expired

    def drain(self) -> list[Job]:
        """Removes and returns every job that is not done."""
        waiting = [job for job in self._jobs if not job.is_done]
        self._jobs.clear()
        self.rows = 0
        self._next_deadline_s = float("inf")
        return waiting
