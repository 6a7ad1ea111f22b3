"""What becomes of a failed attempt: a second one elsewhere, or an error for the caller.

A caller must not notice that a canary fails (stable answers, and the failure is counted for the canary) or that a
replica dies (another one answers). Retries within a version have a budget. Retries of canary requests on stable need
none: stable has capacity for all traffic.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from divisions.errors import DeadlineExceededError, ReplicaFailedError, RequestError
from router.predict.active_routes import ActiveRoutes
from router.predict.endpoint import Endpoint
from router.predict.jobs import Job
from router.predict.pool import FailureSink, Pool
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
        """Retries each job once: a canary's on stable, stable's on the replica that is free next.

        A job whose caller has named the version stays with that version.
        """
        now_s = self._now_s()
        endpoint = self._routes.endpoint_with(pool)
        for job in jobs:
            if job.is_done:
                continue
            error = _final_error(job, now_s, reason)
            if error is None and endpoint is None:
                endpoint = self._routes.endpoint_instead(job)
            if error is None and endpoint is not None:
                error = self._retry(endpoint, pool, job, now_s, reason)
            if error is not None or endpoint is None:
                _fail(job, error or ReplicaFailedError("the endpoint was taken out of service"))

    def _retry(self, endpoint: Endpoint, pool: Pool, job: Job, now_s: float, reason: str) -> RequestError | None:
        target: Pool | None = endpoint.stable
        if job.is_pinned:
            target = self._routes.pool_named(pool.spec.app_name)
        elif pool is not target:
            charge(pool, job, now_s)
        if target is pool and not self.budget.take():
            return ReplicaFailedError(f"{reason}, and the retry budget is spent", remedy="try again in a few seconds")
        if target is None:
            return ReplicaFailedError("the version was taken out of service", remedy="name another one, or none")
        pool.tally.totals.retries += 1
        try:
            try_again(target, job, now_s)
        except RequestError as error:
            return error
        return None


def charge(pool: Pool, job: Job, now_s: float) -> None:
    """Counts the attempt as a failure of ``pool``'s version. What stable does in its place counts for neither."""
    if job.tally is None:
        job.tally = pool.tally.at(now_s)
        job.tally.requests += 1
    job.tally.errors += 1
    job.tally = None


def try_again(pool: Pool, job: Job, now_s: float) -> None:
    """Sends a job to ``pool`` for its second attempt.

    Raises:
        RequestError: the pool cannot take it.
    """
    if job.version is not pool.version:
        if job.source is None:
            job.payload = b"".join([pool.encode(values) for values in job.values])
        else:
            job.payload = job.source.pack(job.positions[0], job.positions[-1] + 1, pool.spec.schema)
    job.version = pool.version
    job.batch = None
    job.is_retry = True
    job.queue_deadline_s = job.deadline_s
    pool.submit(job, now_s)


def _final_error(job: Job, now_s: float, reason: str) -> RequestError | None:
    """The error to end with, if the job gets no further attempt."""
    if job.is_mirror:
        return ReplicaFailedError(reason)
    if now_s >= job.deadline_s:
        return DeadlineExceededError(f"no answer before the deadline: {reason}", remedy="allow it more time")
    if job.is_retry:
        return ReplicaFailedError(f"both attempts failed; the last because {reason}", remedy="try again")
    return None


def _fail(job: Job, error: RequestError) -> None:
    job.is_done = True
    if job.tally is not None:
        job.tally.errors += 1
    job.answer.failed(job, error)
