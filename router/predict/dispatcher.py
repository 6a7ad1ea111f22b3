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
from router.predict.answer_log import LogBuffer
from router.predict.decode import Values
from router.predict.endpoint import Endpoint
from router.predict.in_process_channel import InProcessEngine
from router.predict.jobs import MIRROR, PINNED, SPLIT, Answer, Job, RowSource
from router.predict.pool import Pool
from router.predict.remote_channels import RemoteChannels
from router.predict.retries import Retries


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
        remote: what channels to other nodes share; None for plain TCP.
        log_buffer: takes answers for the prediction log; None logs nothing.
        needs_keys: whether every endpoint asks for keys.
    """

    def __init__(
        self,
        now_s: Callable[[], float],
        token: bytes = b"",
        node_id: str = "",
        read_bins: Callable[[VersionSpec], InputBins] = lambda version: NO_BINS,
        hosted: Callable[[str], tuple[ReplicaAddress, InProcessEngine] | None] = lambda app_name: None,
        has_bookkeeping: bool = True,
        remote: RemoteChannels | None = None,
        log_buffer: LogBuffer | None = None,
        needs_keys: bool = False,
    ) -> None:
        self.routes = ActiveRoutes(
            now_s, token, node_id, read_bins, hosted, has_bookkeeping, remote, log_buffer, needs_keys
        )
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

    def seek_bins(self) -> None:
        """Gives rollouts the bins of their training data, if they were not here at their start. Once a second."""
        self.routes.seek_bins()

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
            job.kind = MIRROR
            job.is_canary = True
            canary.submit(job, now_s)
        except RequestError:
            return  # The caller's own request is not affected.
        if self._has_bookkeeping:
            job.count_in(canary.tally.at(now_s))

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
        values = [row for _, row in rows]
        for is_canary, positions in arms.items():
            pool = endpoint.canary if is_canary and endpoint.canary else endpoint.stable
            for part in _cut(positions, pool.max_batch):
                job = _values_job(answer, values, part, pool, now_s, deadline_s)
                jobs.append(job)
                if endpoint.monitor is not None:
                    arm = endpoint.monitor.canary if is_canary else endpoint.monitor.stable
                    size = len(job.payload) // job.rows
                    for number, position in enumerate(part):
                        arm.record(digests[position], job.payload[number * size : (number + 1) * size])
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
        parts = _cut(range(len(rows)), pool.max_batch)
        jobs = [_values_job(answer, rows, part, pool, now_s, deadline_s) for part in parts]
        for job in jobs:
            job.kind = PINNED
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
        jobs: list[Job] = []
        for part in _cut(range(source.rows), pool.max_batch):
            payload = source.pack(part[0], part[-1] + 1, pool.spec.schema)
            job = Job(answer, (), part, payload, pool.version, now_s, deadline_s)
            job.source = source
            job.kind = PINNED if is_pinned else SPLIT
            jobs.append(job)
        self._send_all(endpoint, jobs, now_s)
        return jobs

    def _send_all(self, endpoint: Endpoint, jobs: Sequence[Job], now_s: float) -> None:
        canary = endpoint.canary
        try:
            for job in jobs:
                is_canary = canary is not None and job.version is canary.version
                self._send(endpoint, canary if is_canary and canary is not None else endpoint.stable, job, now_s)
        except RequestError:
            for job in jobs:
                job.cancel()
            raise

    def _send(self, endpoint: Endpoint, pool: Pool, job: Job, now_s: float) -> None:
        self._budget.earn()
        job.is_canary = pool is endpoint.canary
        if self._has_bookkeeping:
            job.count_in(pool.tally.at_unjudged(now_s) if job.kind == PINNED else pool.tally.at(now_s))
        try:
            pool.submit(job, now_s)
        except OverloadedError:
            if not self.retries.shed(endpoint, pool, job, now_s):
                raise


def _cut(positions: Sequence[int], size: int) -> list[Sequence[int]]:
    """Cuts a request's rows into parts of at most ``size``."""
    return [positions[start : start + size] for start in range(0, len(positions), size)]


def _values_job(
    answer: Answer, rows: Sequence[Values], part: Sequence[int], pool: Pool, now_s: float, deadline_s: float
) -> Job:
    values = [rows[position] for position in part]
    payload = b"".join([pool.encode(row) for row in values])
    return Job(answer, values, part, payload, pool.version, now_s, deadline_s)
