"""From rows to versions: applies routing tables, splits rows over stable and canary, retries failed attempts.

What a caller must never notice: a canary that fails (its rows go to stable, charged to the canary), a replica that
dies (its rows go to another one), a routing table that changes. Retries within a version have a budget, so that one
that fails is not asked for everything twice; stable has capacity for all that a canary leaves behind.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Final

from divisions.control import (
    EndpointReport,
    EndpointRoute,
    Placement,
    ReplicaAddress,
    RoutingTable,
    VersionReport,
    VersionRoute,
    VersionSpec,
)
from divisions.errors import (
    DeadlineExceededError,
    InvalidFeaturesError,
    OverloadedError,
    ReplicaFailedError,
    RequestError,
)
from router.evidence import split
from router.evidence.drift import NO_BINS, InputBins, count_scores
from router.predict import tally
from router.predict.decode import EndpointDecoder, Values
from router.predict.endpoint import Endpoint, EndpointState
from router.predict.in_process_channel import InProcessEngine
from router.predict.jobs import Answer, Job, RowSource
from router.predict.pool import Pool
from router.predict.upstream import ATTEMPT_SHARE

log = logging.getLogger(__name__)

RETRY_SHARE: Final = 0.1
"""Retries allowed per request, in the long run (SRE practice: 10 %)."""
RETRY_BURST: Final = 2_000.0
"""Retries allowed at once: what the loss of a few full batches needs."""


class _DiscardedAnswer(Answer):
    """Waits for the answers to copies of requests."""

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
        node_id: this gateway's node, whose replicas are preferred.
        read_bins: reads the bins of a version's training data, for drift.
        hosted: the engine of a version that this very process runs, once it is warm.
    """

    def __init__(
        self,
        now_s: Callable[[], float],
        token: bytes = b"",
        node_id: str = "",
        read_bins: Callable[[VersionSpec], InputBins] = lambda version: NO_BINS,
        hosted: Callable[[str], tuple[ReplicaAddress, InProcessEngine] | None] = lambda app_name: None,
    ) -> None:
        self.epoch = -1
        self.endpoints: dict[str, Endpoint] = {}
        self._now_s = now_s
        self._token = token
        self._node_id = node_id
        self._read_bins = read_bins
        self._hosted = hosted
        self._memories: dict[str, EndpointState] = {}
        self._pools: dict[str, Pool] = {}
        self._retired: list[Pool] = []
        self._retry_tokens = RETRY_BURST

    # -- routing table ------------------------------------------------------------------------------------------

    def apply(self, table: RoutingTable) -> bool:
        """Obeys a routing table if it is newer than the present one; returns whether it was."""
        if table.epoch <= self.epoch:
            return False
        self.epoch = table.epoch
        pools: dict[str, Pool] = {}
        endpoints = {route.endpoint: self._endpoint(route, pools) for route in table.endpoints if route.versions}
        self.endpoints = endpoints
        retired = [pool for name, pool in self._pools.items() if name not in pools]
        self._pools = pools
        self._retired = [pool for pool in self._retired if not pool.is_idle] + retired
        for pool in retired:
            pool.retire()
        return True

    def _endpoint(self, route: EndpointRoute, pools: dict[str, Pool]) -> Endpoint:
        stable = next((version for version in route.versions if not version.is_canary), route.versions[0])
        canary = next((version for version in route.versions if version is not stable), None)
        decoder = EndpointDecoder(stable.version.schema, canary.version.schema if canary else None)
        stable_pool = self._pool(stable, decoder, pools)
        canary_pool = None
        if canary is not None:
            try:
                canary_pool = self._pool(canary, decoder, pools)
            except InvalidFeaturesError as error:
                log.error("canary %s gets no traffic: %s", canary.version.app_name, error)
        memory = self._memories.setdefault(route.endpoint, EndpointState())
        return Endpoint(route, decoder, stable_pool, canary_pool, memory, self._read_bins)

    def _pool(self, version: VersionRoute, decoder: EndpointDecoder, pools: dict[str, Pool]) -> Pool:
        name = version.version.app_name
        encode = decoder.encoder(version.version.schema)
        pool = self._pools.get(name)
        if pool is None:
            pool = Pool(version.version, encode, self, self._now_s, self._token, self._node_id)
        pool.set_spec(version.version, encode)
        if version.version.placement is Placement.IN_PROCESS:
            pool.set_hosted(self._hosted(name))
        else:
            pool.set_replicas(version.replicas)
        pools[name] = pool
        return pool

    def hosted_loaded(self, app_name: str) -> None:
        """A version in this process has become ready."""
        pool = self._pools.get(app_name)
        if pool is not None:
            pool.set_hosted(self._hosted(app_name))

    @property
    def is_ready(self) -> bool:
        """Whether every endpoint has a warm replica of its stable version."""
        return bool(self.endpoints) and all(endpoint.stable.ready_channels > 0 for endpoint in self.endpoints.values())

    # -- requests -----------------------------------------------------------------------------------------------

    def submit_one(
        self, endpoint: Endpoint, key: bytes, values: Values, answer: Answer, now_s: float, deadline_s: float
    ) -> Job:
        """Sends one row on its way; ``answer`` hears of it, possibly before this returns.

        Raises:
            OverloadedError: shed; ``answer`` hears nothing.
            InvalidFeaturesError: a value does not fit.
        """
        canary, pool, watch = endpoint.canary, endpoint.stable, endpoint.watch
        if watch is None:
            payload = pool.encode(values)
        else:
            digest = split.digest(endpoint.salt, key)
            arm = watch.stable
            if canary is not None and digest >> split.SPARE_BITS < endpoint.threshold:
                pool, arm = canary, watch.canary
            payload = pool.encode(values)
            arm.saw(digest, payload)
        job = Job(answer, (values,), (0,), payload, pool.version, now_s, deadline_s)
        job.key = key
        self._send(endpoint, pool, job, now_s)
        if endpoint.mirror_threshold and canary is not None:
            self._mirror(endpoint, canary, key, values, now_s, deadline_s)
        return job

    def _mirror(
        self, endpoint: Endpoint, canary: Pool, key: bytes, values: Values, now_s: float, deadline_s: float
    ) -> None:
        """Copies a request to the canary, unless anything is busy: copies are the first to go."""
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
            return  # Whatever is wrong with the copy is none of the caller's business.
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
        """Sends rows on their way: each to its customer's version, in jobs of at most one batch.

        Raises:
            OverloadedError: shed; jobs that were sent already are taken back.
        """
        arms: dict[bool, list[int]] = {False: [], True: []}
        digests = [split.digest(endpoint.salt, key) for key, _ in rows]
        for position, digest in enumerate(digests):
            is_canary = endpoint.canary is not None and digest >> split.SPARE_BITS < endpoint.threshold
            arms[is_canary].append(position)
        jobs: list[Job] = []
        watch = endpoint.watch
        for is_canary, positions in arms.items():
            pool = endpoint.canary if is_canary and endpoint.canary else endpoint.stable
            size = pool.max_batch
            for start in range(0, len(positions), size):
                part = positions[start : start + size]
                values = [rows[position][1] for position in part]
                packed = [pool.encode(row) for row in values]
                if watch is not None:
                    for position, row in zip(part, packed, strict=True):
                        (watch.canary if is_canary else watch.stable).saw(digests[position], row)
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
        """Sends rows to a version that the caller has named; a rollout does not count them.

        Raises:
            OverloadedError: shed; jobs that were sent already are taken back.
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
            OverloadedError: shed; jobs that were sent already are taken back.
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
                    job.tally.requests -= 1  # What was never tried must not count as pending.
            raise

    def _send(self, endpoint: Endpoint, pool: Pool, job: Job, now_s: float) -> None:
        if self._retry_tokens < RETRY_BURST:
            self._retry_tokens += RETRY_SHARE
        job.is_canary = pool is endpoint.canary
        if job.is_canary and not job.is_pinned:
            job.queue_deadline_s = now_s + (job.deadline_s - now_s) * ATTEMPT_SHARE
        try:
            pool.submit(job, now_s)
        except OverloadedError:
            if not job.is_canary or job.is_pinned:
                raise
            # A canary that cannot keep up has failed; stable takes its rows.
            self._charge(pool, job, now_s)
            self._try_again(endpoint.stable, job, now_s)
            return
        job.tally = pool.tally.at_unjudged(now_s) if job.is_pinned else pool.tally.at(now_s)
        job.tally.requests += 1

    # -- failed attempts ----------------------------------------------------------------------------------------

    def attempt_failed(self, pool: Pool, jobs: Sequence[Job], reason: str) -> None:
        """Retries each job once: a canary's on stable, stable's on whichever replica is free next.

        A job whose caller has named the version stays with it.
        """
        now_s = self._now_s()
        endpoint = next((each for each in self.endpoints.values() if pool in each.pools), None)
        for job in jobs:
            if job.is_done:
                continue
            error = self._give_up(job, now_s, reason)
            if error is None and endpoint is None:
                endpoint = self._endpoint_of(job)
            if error is None and endpoint is not None:
                error = self._retry(endpoint, pool, job, now_s, reason)
            if error is not None or endpoint is None:
                self._fail(job, error or ReplicaFailedError("the endpoint was taken out of service"))

    def _give_up(self, job: Job, now_s: float, reason: str) -> RequestError | None:
        if job.is_mirror:
            return ReplicaFailedError(reason)
        if now_s >= job.deadline_s:
            return DeadlineExceededError(f"no answer before the deadline: {reason}", remedy="allow it more time")
        if job.is_retry:
            return ReplicaFailedError(f"both attempts failed; the last because {reason}", remedy="try again")
        return None

    def _retry(self, endpoint: Endpoint, pool: Pool, job: Job, now_s: float, reason: str) -> RequestError | None:
        target: Pool | None = endpoint.stable
        if job.is_pinned:
            target = self._pools.get(pool.spec.app_name)
        elif pool is not target:
            self._charge(pool, job, now_s)
        if target is pool and not self._may_repeat():
            return ReplicaFailedError(f"{reason}, and the retry budget is spent", remedy="try again in a few seconds")
        if target is None:
            return ReplicaFailedError("the version was taken out of service", remedy="name another one, or none")
        pool.tally.totals.retries += 1
        try:
            self._try_again(target, job, now_s)
        except RequestError as error:
            return error
        return None

    def _may_repeat(self) -> bool:
        """Takes one retry from the budget of those that stay with their version.

        What stable does in a canary's place needs none: stable has capacity for all traffic, and each request is
        tried once more at most. A canary that hangs under much load would spend any budget before it is found out.
        """
        if self._retry_tokens < 1.0:
            return False
        self._retry_tokens -= 1.0
        return True

    def _charge(self, pool: Pool, job: Job, now_s: float) -> None:
        """Counts the attempt as a failure of ``pool``'s version; what stable does for it counts for nobody."""
        if job.tally is None:
            job.tally = pool.tally.at(now_s)
            job.tally.requests += 1
        job.tally.errors += 1
        job.tally = None

    def _try_again(self, pool: Pool, job: Job, now_s: float) -> None:
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

    def _endpoint_of(self, job: Job) -> Endpoint | None:
        # Its version has left the table meanwhile: any endpoint that serves the same model will do.
        model = job.version.model
        return next((each for each in self.endpoints.values() if each.stable.version.model == model), None)

    def _fail(self, job: Job, error: RequestError) -> None:
        job.is_done = True
        if job.tally is not None:
            job.tally.errors += 1
        job.answer.failed(job, error)

    def close(self) -> None:
        """Ends every channel; what is in flight fails."""
        for pool in (*self._pools.values(), *self._retired):
            pool.close()

    def expire(self) -> None:
        """Gives up attempts that are out of time, and counts what was answered; call it every few milliseconds."""
        now_s = self._now_s()
        for pool in (*self._pools.values(), *self._retired):
            pool.expire(now_s)
            pool.tally.fold()

    def watch(self) -> None:
        """Lets every endpoint's breaker look, and salts be tried; call it every few milliseconds."""
        now_s = self._now_s()
        for endpoint in self.endpoints.values():
            endpoint.sweep(now_s)

    # -- reports ------------------------------------------------------------------------------------------------

    def take_reports(self, before_tick: int, age_s: float, settle_tick: int) -> dict[int, list[EndpointReport]]:
        """Sums up the seconds before ``before_tick``, by tick; those before ``settle_tick`` go into the totals."""
        ticks: dict[int, list[EndpointReport]] = {}
        for endpoint in self.endpoints.values():
            versions: dict[int, list[VersionReport]] = {}
            for pool in endpoint.pools:
                pool.tally.settle(settle_tick)
                scores, pool.scores = count_scores(pool.scores), []
                for second in pool.tally.take(before_tick):
                    if pool.keeps_keys:
                        endpoint.memory.load.add(second.tick, second.keys, second.key_latencies_s)
                    summed = tally.report(pool.spec.app_name, second, age_s, scores)
                    scores = {}
                    versions.setdefault(second.tick, []).append(summed)
            news = endpoint.news()
            if any(news):
                versions.setdefault(before_tick - 1, [])
            last = max(versions, default=0)
            for tick, reports in versions.items():
                what = news if tick == last else (None, None, None)
                ticks.setdefault(tick, []).append(EndpointReport(endpoint.name, tuple(reports), *what))
        return ticks
