"""Jobs: rows of one request that go to one version together, and the queue that batches are formed from. Pure.

Batching is work-conserving and deadline-aware: a batch is formed when a replica becomes free, never by a timer. It
has no more rows than can finish before the deadline of the job at the head.
"""

from __future__ import annotations

import logging
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

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Version:
    """The version that a job goes to: its application, and its model and label as replies show them.

    A score of at least ``decision_threshold`` means yes; None if the version gives probabilities only.
    """

    app_name: str
    model: bytes
    label: bytes
    decision_threshold: float | None = None


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


ATTEMPT_SHARE: Final = 0.5
"""Share of the time left after which an attempt is late, and a second one may begin beside it."""

WAITING: Final = 0
ANSWERED: Final = 1
FAILED: Final = 2
CANCELLED: Final = 3

SPLIT: Final = 0
"""The split chose the version. Rollouts judge the version by it."""
PINNED: Final = 1
"""The caller named the version. No other version may answer, and rollouts do not count it."""
MIRROR: Final = 2
"""A copy of another request. It is tried once and counted; its answer is dropped."""


class Job(Cancellable):
    """One attempt to have some rows of one request answered by one version.

    A request has at most two attempts. The second one is a retry, once the first has failed, or a hedge, while the
    first is late. Two things about a request end, independently of each other::

        outcome (the caller's)      WAITING ──first answer──> ANSWERED
                                       ├──last attempt failed, or deadline──> FAILED
                                       └──caller gone──> CANCELLED

        tally (the version's)       open ──answer before the deadline──> counted with its latency
                                       ├──failure, or no answer at the deadline──> charged
                                       └──caller gone, or taken back──> withdrawn

    Both belong to the first attempt. A version is judged by first attempts alone, stable and canary by the same rule:
    a second attempt helps the caller, and counts for neither version.

    ``positions`` has one element per row; ``payload`` is the rows packed for ``version``. A second attempt may have
    to pack them again, for another version: from ``values``, which has one element per row, or from ``source`` if
    ``values`` is empty.
    """

    __slots__ = (
        "answer",
        "arrived_s",
        "batch_rows",
        "charged_to",
        "deadline_s",
        "first",
        "has_second",
        "is_canary",
        "key",
        "kind",
        "live",
        "outcome",
        "payload",
        "positions",
        "rescue_s",
        "rows",
        "sent_s",
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
        self.is_canary = False
        self.kind = SPLIT
        self.key = b""
        """The customer; empty if the rows are of several customers."""
        self.source: RowSource | None = None
        self.first: Job | None = None
        """The first attempt, if this is a second one."""
        self.has_second = False
        self.outcome = WAITING
        self.live = 1
        """Attempts that have not failed, of a first attempt's request."""
        self.tally: TickTally | None = None
        """Where a first attempt is counted; None once it is, and for second attempts."""
        self.charged_to: TickTally | None = None
        """Where a failed first attempt was counted."""
        self.sent_s = 0.0
        """When its batch left for a replica; known of answers only, and only while requests are traced."""
        self.batch_rows = 0
        """The rows of that batch, likewise."""
        self.rescue_s = -1.0
        """Latency of the second attempt's answer, if the same version gave it."""

    def is_open(self) -> bool:
        """Whether an answer would still matter, to the caller or to the version's count."""
        first = self.first
        if first is not None:
            return first.outcome == WAITING
        return self.outcome == WAITING or self.tally is not None

    def hedge_s(self, since_s: float) -> float:
        """When an attempt that began at ``since_s`` has used half of the time that it had."""
        return since_s + (self.deadline_s - since_s) * ATTEMPT_SHARE

    def count_in(self, tally: TickTally) -> None:
        """Opens the count of a first attempt."""
        tally.requests += 1
        self.tally = tally

    def charge(self, *, is_shed: bool = False) -> None:
        """Counts the attempt as a failure of its version, once. Second attempts are not counted.

        Args:
            is_shed: whether the version took no part of it and the caller was refused.
        """
        tally = self.tally
        if tally is None:
            return
        self.tally = None
        self.charged_to = tally
        tally.errors += 1
        if is_shed:
            tally.shed += 1
        if self.rescue_s >= 0.0:
            tally.rescued_s.append(self.rescue_s)

    def deliver(self, scores: Sequence[float], compute_us: int, now_s: float) -> None:
        """Gives the caller the scores, if this is the first answer."""
        first = self.first or self
        if first.outcome != WAITING:
            return
        first.outcome = ANSWERED
        if first is not self and first.version is self.version:
            first.rescued(now_s - first.arrived_s)
        try:
            self.answer.answered(self, scores, compute_us, now_s)
        except Exception:  # One reply that fails must not cost the others of its batch theirs.
            log.exception("a reply could not be written")

    def rescued(self, latency_s: float) -> None:
        """The same version has answered by a second attempt, after ``latency_s``."""
        self.rescue_s = latency_s
        if self.charged_to is not None:
            self.charged_to.rescued_s.append(latency_s)

    def withdraw(self) -> None:
        """Takes the attempt back: it is neither a success nor a failure of the version."""
        if self.tally is not None:
            self.tally.requests -= 1
            self.tally = None

    def cancel(self) -> None:
        """The caller has gone: the job leaves the queue when the next batch is formed."""
        if self.outcome == WAITING:
            self.outcome = CANCELLED
            self.withdraw()


class CancelAll(Cancellable):
    """The jobs of one request."""

    __slots__ = ("_jobs",)

    def __init__(self, jobs: Sequence[Job]) -> None:
        self._jobs = jobs

    def cancel(self) -> None:
        for job in self._jobs:
            job.cancel()


SMALLEST_SHARE: Final = 4
"""A late head may shrink a batch to this fraction, one quarter."""


class JobQueue:
    """Jobs of one version that wait for a replica, in order of arrival."""

    __slots__ = ("_jobs", "_next_due_s", "rows")

    def __init__(self) -> None:
        self._jobs: deque[Job] = deque()
        self._next_due_s = float("inf")  # not after the earliest time at which `expire` has work
        self.rows = 0

    def __len__(self) -> int:
        return len(self._jobs)

    def add(self, job: Job) -> None:
        self._jobs.append(job)
        self.rows += job.rows
        due_s = job.hedge_s(job.arrived_s) if job.is_canary else job.deadline_s
        if due_s < self._next_due_s:  # noqa: PLR1730 (once per request)
            self._next_due_s = due_s

    def form(self, now_s: float, max_batch: int, service_time: ServiceTime) -> list[Job]:
        """Takes the next batch.

        Jobs whose answer no longer matters are dropped. The head is always taken, also when it cannot meet its
        deadline: expiry deals with that. The head's deadline limits how many rows may join it, but not below a
        quarter of the rows that could. One late job must not shrink every batch, or all jobs behind it become late
        too.
        """
        jobs = self._jobs
        batch: list[Job] = []
        left = max_batch
        while jobs:
            job = jobs[0]
            rows = job.rows
            if job.is_open():
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
            self._next_due_s = float("inf")
        return batch

    def expire(self, now_s: float) -> tuple[list[Job], list[Job]]:
        """Finds the jobs that have waited too long.

        Returns:
            Those past their deadline, which leave the queue; and first attempts at a canary that have used half of
            their time and stay.
        """
        if now_s < self._next_due_s:
            return [], []
        expired: list[Job] = []
        late: list[Job] = []
        kept: deque[Job] = deque()
        self._next_due_s = float("inf")
        for job in self._jobs:
            if not job.is_open():
                continue
            if job.deadline_s <= now_s:
                expired.append(job)
                continue
            due_s = job.deadline_s
            if job.is_canary and job.kind == SPLIT and not job.has_second:
                hedge_s = job.hedge_s(job.arrived_s)
                if hedge_s <= now_s:
                    late.append(job)
                else:
                    due_s = hedge_s
            kept.append(job)
            self._next_due_s = min(self._next_due_s, due_s)
        self._jobs = kept
        self.rows = sum(job.rows for job in kept)
        return expired, late

    def drain(self) -> list[Job]:
        """Removes and returns every job whose answer still matters."""
        waiting = [job for job in self._jobs if job.is_open()]
        self._jobs.clear()
        self.rows = 0
        self._next_due_s = float("inf")
        return waiting
