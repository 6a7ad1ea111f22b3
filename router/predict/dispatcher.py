"""From rows to versions: splits rows over stable and canary, and hands them to the versions' pools.

The parts it is made of: `router.predict.active_routes` applies routing tables, `router.predict.retries` decides what
becomes of failed attempts, `router.predict.reports` sums up for the controller.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from divisions.control import ReplicaAddress, RoutingTable, VersionSpec
from divisions.errors import OverloadedError, RequestError
from divisions.reports import EndpointReport
from router.evidence import split
from router.evidence.drift import NO_BINS, InputBins
from router.predict import reports
from router.predict.active_routes import ActiveRoutes
from router.predict.decode import Values
from router.predict.endpoint import Endpoint
from router.predict.in_process_channel import InProcessEngine
from router.predict.jobs import Answer, Job, RowSource
from router.predict.pool import Pool
from router.predict.retries import Retries, charge, try_again
from router.predict.upstream import ATTEMPT_SHARE


class _DiscardedAnswer(Answer):
    """Takes the answers to copies of requests."""

    def answered(self, job: Job, scores: Sequence[float], compute_us: int, now_s: float) -> None:
        pass

    def failed(self, job: Job, error: RequestError) -> None:
        pass


_DISCARDED: Final = _DiscardedAnswer()


class Dispatcher:
    """See the module. Lives on one event loop.

    Args:
        now_s: monotonic clock.
        token: of the data channel.
        node_id: this gateway's node. Replicas on the same node are preferred.
        read_bins: reads the bins of a version's training data, for drift.
        hosted: the engine of a version that runs in this process, once the engine is warm.
        has_bookkeeping: whether requests are counted and observed for rollouts. Only a benchmark turns it off, to
            measure what it costs.
    """

    def __init__(
        self,
        now_s: Callable[[], float],
        token: bytes = b"",
        node_id: str = "",
        read_bins: Callable[[VersionSpec], InputBins] = lambda version: NO_BINS,
        hosted: Callable[[str], tuple[ReplicaAddress, InProcessEngine] | None] = lambda app_name: None,
        has_bookkeeping: bool = True,
    ) -> None:
        self.routes = ActiveRoutes(now_s, token, node_id, read_bins, hosted, has_bookkeeping)
        self.retries = Retries(self.routes, now_s)
        self._budget = self.retries.budget
        self._has_bookkeeping = has_bookkeeping

    @property
    def epoch(self) -> int:
        """Of the routing table in force; -1 before the first."""
        return self.routes.epoch

    @property
    def endpoints(self) -> dict[str, Endpoint]:
        """By name. A new routing table makes a new dictionary."""
        return self.routes.endpoints

    @property
    def is_ready(self) -> bool:
        """Whether every endpoint has a warm replica of its stable version."""
        return self.routes.is_ready

    def apply(self, table: RoutingTable) -> bool:
        """Applies a routing table if it is newer than the present one; returns whether it was."""
        return self.routes.apply(table, self.retries)

    def hosted_loaded(self, app_name: str) -> None:
        """A version in this process has become ready."""
        self.routes.hosted_loaded(app_name)

    def expire(self) -> None:
        """Gives up attempts that are out of time, and counts answers. Call it every few milliseconds."""
        self.routes.expire()

    def sweep(self) -> None:
        """Has breakers checked and salts tried. Call it every few milliseconds."""
        if self._has_bookkeeping:
            self.routes.sweep()

    def take_reports(self, before_tick: int, age_s: float, settle_tick: int) -> dict[int, list[EndpointReport]]:
        """See `router.predict.reports.take_reports`."""
        if not self._has_bookkeeping:
            return {}
        return reports.take_reports(self.routes.endpoints.values(), before_tick, age_s, settle_tick)

    def close(self) -> None:
        """Ends every channel; what is in flight fails."""
        self.routes.close()

    def submit_one(
        self, endpoint: Endpoint, key: bytes, values: Values, answer: Answer, now_s: float, deadline_s: float
    ) -> Job:
        """Sends one row to its customer's version; ``answer`` is told the result, possibly before this returns.

        Raises:
            OverloadedError: shed; ``answer`` is not told.
            InvalidFeaturesError: a value does not fit.
        """
        canary, pool, monitor = endpoint.canary, endpoint.stable, endpoint.monitor
        if monitor is None:
            payload = pool.encode(values)
        else:
            digest = split.digest(endpoint.salt, key)
            arm = monitor.stable
            if canary is not None and digest >> split.SPARE_BITS < endpoint.threshold:
                pool, arm = canary, monitor.canary
            payload = pool.encode(values)
            arm.record(digest, payload)
        job = Job(answer, (values,), (0,), payload, pool.version, now_s, deadline_s)
        job.key = key
        self._send(endpoint, pool, job, now_s)
        if endpoint.mirror_threshold and canary is not None:
            self._mirror(endpoint, canary, key, values, now_s, deadline_s)
        return job

    def _mirror(
        self, endpoint: Endpoint, canary: Pool, key: bytes, values: Values, now_s: float, deadline_s: float
    ) -> None:
        """Copies a request to the canary, unless a queue is busy: copies are shed first."""
        if split.place(endpoint.salt, key) >= endpoint.mirror_threshold:
            return
        if endpoint.stable.queue.rows >= endpoint.stable.max_batch or canary.queue.rows >= canary.max_batch:
            return
        try:
            job = Job(_DISCARDED, (values,), (0,), canary.encode(values), canary.version, now_s, deadline_s)
            job.is_mirror = job.is_canary = True
            job.queue_deadline_s = deadline_s
            canary.submit(job, now_s)
        except RequestError:
            return  # The caller's own request is not affected.
        job.tally = canary.tally.at(now_s)
        job.tally.requests += 1

    def submit_many(
        self,
        endpoint: Endpoint,
        rows: Sequence[tuple[bytes, Values]],
        answer: Answer,
        now_s: float,
        deadline_s: float,
    ) -> list[Job]:
        """Sends each row to its customer's version, in jobs of at most one batch.

        Raises:
            OverloadedError: shed; jobs that were sent before are taken back.
        """
        arms: dict[bool, list[int]] = {False: [], True: []}
        digests = [split.digest(endpoint.salt, key) for key, _ in rows]
        for position, digest in enumerate(digests):
            is_canary = endpoint.canary is not None and digest >> split.SPARE_BITS < endpoint.threshold
            arms[is_canary].append(position)
        jobs: list[Job] = []
        monitor = endpoint.monitor
        for is_canary, positions in arms.items():
            pool = endpoint.canary if is_canary and endpoint.canary else endpoint.stable
            size = pool.max_batch
            for start in range(0, len(positions), size):
                part = positions[start : start + size]
                values = [rows[position][1] for position in part]
                packed = [pool.encode(row) for row in values]
                if monitor is not None:
                    for position, row in zip(part, packed, strict=True):
                        (monitor.canary if is_canary else monitor.stable).record(digests[position], row)
                jobs.append(Job(answer, values, part, b"".join(packed), pool.version, now_s, deadline_s))
                jobs[-1].is_canary = is_canary
        self._send_all(endpoint, jobs, now_s)
        return jobs

    def submit_named(
        self,
        pool: Pool,
        endpoint: Endpoint,
        rows: Sequence[Values],
        answer: Answer,
        now_s: float,
        deadline_s: float,
    ) -> list[Job]:
        """Sends rows to the version that the caller has named; a rollout does not count them.

        Raises:
            OverloadedError: shed; jobs that were sent before are taken back.
        """
        size = pool.max_batch
        jobs: list[Job] = []
        for start in range(0, len(rows), size):
            part = rows[start : start + size]
            payload = b"".join([pool.encode(row) for row in part])
            job = Job(answer, part, range(start, start + len(part)), payload, pool.version, now_s, deadline_s)
            job.is_pinned = True
            job.is_canary = pool is endpoint.canary
            jobs.append(job)
        self._send_all(endpoint, jobs, now_s)
        return jobs

    def submit_rows(
        self,
        endpoint: Endpoint,
        pool: Pool,
        source: RowSource,
        answer: Answer,
        now_s: float,
        deadline_s: float,
        is_pinned: bool = False,
    ) -> list[Job]:
        """Sends all rows of ``source`` to one version, in jobs of at most one batch.

        Args:
            pool: one of the endpoint's.
            is_pinned: whether the caller has named the version.

        Raises:
            OverloadedError: shed; jobs that were sent before are taken back.
            InvalidFeaturesError: the rows do not fit the version's schema.
        """
        size, schema = pool.max_batch, pool.spec.schema
        jobs: list[Job] = []
        for start in range(0, source.rows, size):
            positions = range(start, min(start + size, source.rows))
            job = Job(
                answer,
                (),
                positions,
                source.pack(positions.start, positions.stop, schema),
                pool.version,
                now_s,
                deadline_s,
            )
            job.source = source
            job.is_pinned = is_pinned
            job.is_canary = pool is endpoint.canary
            jobs.append(job)
        self._send_all(endpoint, jobs, now_s)
        return jobs

    def _send_all(self, endpoint: Endpoint, jobs: Sequence[Job], now_s: float) -> None:
        try:
            for job in jobs:
                pool = endpoint.canary if job.is_canary and endpoint.canary else endpoint.stable
                self._send(endpoint, pool, job, now_s)
        except OverloadedError:
            for job in jobs:
                job.is_done = True
                if job.tally is not None:
                    job.tally.requests -= 1  # It was never tried, so it must not count as pending.
            raise

    def _send(self, endpoint: Endpoint, pool: Pool, job: Job, now_s: float) -> None:
        self._budget.earn()
        job.is_canary = pool is endpoint.canary
        if job.is_canary and not job.is_pinned:
            job.queue_deadline_s = now_s + (job.deadline_s - now_s) * ATTEMPT_SHARE
        try:
            pool.submit(job, now_s)
        except OverloadedError:
            if not job.is_canary or job.is_pinned:
                raise
            # A canary that cannot keep up has failed. Stable takes its rows.
            charge(pool, job, now_s)
            try_again(endpoint.stable, job, now_s)
            return
        if self._has_bookkeeping:
            job.tally = pool.tally.at_unjudged(now_s) if job.is_pinned else pool.tally.at(now_s)
            job.tally.requests += 1
