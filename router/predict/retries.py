"""What becomes of an attempt that fails or is late: a second one elsewhere, or an error for the caller.

A caller must not notice that a canary fails (stable answers, and the failure is counted for the canary) or that a
replica dies (another one answers). `router.predict.jobs.Job` has the rules of counting.

- **Retry**: the first attempt has failed. A canary's request goes to stable, any other one to the same version again.
- **Hedge**: the first attempt has used half of its time. A second one begins beside it if it can still be in time; the
  caller gets the answer that comes first. Lateness alone never fails a request.

Both have a budget. A canary's second attempts need none, because stable has capacity for all traffic.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from divisions.errors import DeadlineExceededError, ReplicaFailedError, RequestError
from router.predict.active_routes import ActiveRoutes
from router.predict.endpoint import Endpoint
from router.predict.failure_sink import FailureSink
from router.predict.jobs import FAILED, MIRROR, PINNED, WAITING, Job
from router.predict.pool import Pool
from router.predict.retry_budget import RetryBudget


class Retries(FailureSink):
    """See the module.

    Args:
        routes: finds the endpoint of a pool.
        now_s: monotonic clock.
    """

    def __init__(self, routes: ActiveRoutes, now_s: Callable[[], float]) -> None:
        self.budget = RetryBudget()
        self._routes = routes
        self._now_s = now_s

    def attempt_failed(self, pool: Pool, jobs: Sequence[Job], reason: str) -> None:
        now_s = self._now_s()
        endpoint = self._routes.endpoint_with(pool)
        for job in jobs:
            if not job.is_open():
                continue
            job.charge()
            first = job.first or job
            first.live -= 1
            if first.outcome != WAITING or (first.live > 0 and now_s < job.deadline_s):
                continue  # The caller has an answer, or the other attempt may still bring one.
            error = _final_error(first, now_s, reason)
            if error is None:
                error = self._retry(endpoint or self._routes.endpoint_instead(job), pool, job, now_s, reason)
            if error is not None:
                _fail(first, error)

    def attempt_expired(self, jobs: Sequence[Job], reason: str) -> None:
        for job in jobs:
            job.charge()
            first = job.first or job
            if first.outcome == WAITING:
                _fail(first, _too_late(reason))

    def attempt_late(self, pool: Pool, jobs: Sequence[Job]) -> None:
        now_s = self._now_s()
        endpoint = self._routes.endpoint_with(pool)
        for job in jobs:
            target = pool if job.kind == PINNED or endpoint is None else endpoint.stable
            if job.outcome != WAITING:
                continue
            if target is pool and not (pool.can_hedge(job, now_s) and self.budget.take()):
                continue  # The answer may still be on its way.
            try:
                second_attempt(job, target, now_s)
            except RequestError:
                continue
            pool.tally.totals.retries += 1

    def _retry(self, endpoint: Endpoint | None, pool: Pool, job: Job, now_s: float, reason: str) -> RequestError | None:
        if endpoint is None:
            return ReplicaFailedError("the endpoint was taken out of service")
        target = self._routes.pool_named(pool.spec.app_name) if job.kind == PINNED else endpoint.stable
        if target is None:
            return ReplicaFailedError("the version was taken out of service", remedy="name another one, or none")
        if target is pool and not self.budget.take():
            return ReplicaFailedError(f"{reason}, and the retry budget is spent", remedy="try again in a few seconds")
        pool.tally.totals.retries += 1
        try:
            second_attempt(job, target, now_s)
        except RequestError as error:
            return error
        return None

    def shed(self, endpoint: Endpoint, pool: Pool, job: Job, now_s: float) -> bool:
        """A version could not take a first attempt: stable takes a canary's; otherwise the caller is to be refused.

        Returns:
            Whether stable took it.

        Raises:
            RequestError: stable could not.
        """
        if job.kind == PINNED:
            job.withdraw()
            return False
        if pool is endpoint.stable:
            job.charge(is_shed=True)
            return False
        job.charge()
        job.live -= 1
        second_attempt(job, endpoint.stable, now_s)
        return True


def second_attempt(first: Job, pool: Pool, now_s: float) -> None:
    """Sends the rows of a first attempt to ``pool`` as well.

    Raises:
        RequestError: the pool cannot take them.
    """
    payload = first.payload
    if first.version is not pool.version:
        if first.source is None:
            payload = b"".join([pool.encode(values) for values in first.values])
        else:
            payload = first.source.pack(first.positions[0], first.positions[-1] + 1, pool.spec.schema)
    second = Job(first.answer, first.values, first.positions, payload, pool.version, first.arrived_s, first.deadline_s)
    second.first = first
    second.source = first.source
    second.kind = first.kind
    pool.submit(second, now_s)
    first.has_second = True
    first.live += 1


def _final_error(first: Job, now_s: float, reason: str) -> RequestError | None:
    """The error to end with, if there is no further attempt."""
    if now_s >= first.deadline_s:
        return _too_late(reason)
    if first.kind == MIRROR:
        return ReplicaFailedError(reason)
    if first.has_second:
        return ReplicaFailedError(f"both attempts failed; the last because {reason}", remedy="try again")
    return None


def _too_late(reason: str) -> DeadlineExceededError:
    return DeadlineExceededError(f"no answer before the deadline: {reason}", remedy="allow it more time")


def _fail(first: Job, error: RequestError) -> None:
    first.outcome = FAILED
    first.answer.failed(first, error)
