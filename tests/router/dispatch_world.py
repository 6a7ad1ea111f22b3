"""A dispatcher without HTTP, sockets or time: replicas in memory, and a clock that the test moves."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence

import numpy as np

from divisions import wire
from divisions.control import EndpointRoute, ReplicaAddress, RoutingTable, VersionRoute, VersionSpec
from divisions.errors import RequestError
from divisions.schema import Feature, FeatureKind, FeatureSchema
from router.predict.dispatcher import Dispatcher
from router.predict.endpoint import Endpoint
from router.predict.in_process_channel import InProcessChannel
from router.predict.jobs import Answer, Job
from router.predict.pool import Pool

SCHEMA = FeatureSchema((Feature("minutes", FeatureKind.NUMERIC),))
STEP_S = 0.005


class FakeReplica:
    """An engine that answers its batches one after the other, each after ``batch_s``. It hangs at infinity."""

    engine_name = "fake"

    def __init__(self, now_s: Callable[[], float], batch_s: float) -> None:
        self.batch_s = batch_s
        self.fails = False
        self.is_closing = False
        self.batches: list[int] = []
        """Rows of every batch that came."""
        self._now_s = now_s
        self._waiting: deque[tuple[wire.Request, Callable[[bytes], None]]] = deque()
        self._begun_s = 0.0

    def answer_quickly(self, request: wire.Request, read_s: float) -> None:
        return None

    def submit(self, request: wire.Request, read_s: float, deliver: Callable[[bytes], None]) -> None:
        if not self._waiting:
            self._begun_s = self._now_s()
        self.batches.append(request.rows)
        self._waiting.append((request, deliver))

    def delivered(self) -> None: ...

    def close(self) -> None: ...

    def step(self) -> None:
        """Answers the first batch if its time has come."""
        if self._waiting and self._now_s() >= self._begun_s + self.batch_s - 1e-9:
            self.answer()

    def answer(self) -> None:
        """Answers the first batch now."""
        request, deliver = self._waiting.popleft()
        self._begun_s = self._now_s()
        rows_N = np.frombuffer(request.rows_f32, "<f4")
        if self.is_closing:
            deliver(wire.encode_reply(request.request_id, wire.Status.CLOSING, 0, 0, 0, b"closing"))
        elif self.fails:
            deliver(wire.encode_reply(request.request_id, wire.Status.FAILED, 0, 0, 0, b"no"))
        else:
            scores = (rows_N / 1000).astype("<f4").tobytes()
            status = wire.Status.OK if np.isfinite(rows_N).all() else wire.Status.PARTIAL
            deliver(wire.encode_reply(request.request_id, status, request.rows, 0, 30, scores))

    @property
    def is_busy(self) -> bool:
        return bool(self._waiting)


class Recorder(Answer):
    """Keeps the result of one request."""

    def __init__(self) -> None:
        self.results = 0
        self.breaks = False
        """Whether it raises when it is answered."""
        self.scores: list[float] = []
        self.version: bytes | None = None
        self.error: RequestError | None = None
        self.latency_s = 0.0

    def answered(self, job: Job, scores: Sequence[float], compute_us: int, now_s: float) -> None:
        self.results += 1
        if self.breaks:
            raise RuntimeError("no")
        self.scores += list(scores)
        self.version = job.version.label
        self.latency_s = now_s - job.arrived_s

    def failed(self, job: Job, error: RequestError) -> None:
        self.results += 1
        self.error = error

    @property
    def outcome(self) -> str:
        """``ok``, the name of the error's class, or ``pending``."""
        if self.error is not None:
            return type(self.error).__name__
        return "ok" if self.results else "pending"


class DispatchWorld:
    """One endpoint with a stable version and, with a weight, a canary. Build it on a running loop.

    Args:
        stable_s: seconds per batch of each of stable's replicas.
        canary_s: the same of the canary's.
    """

    def __init__(
        self,
        *,
        stable_s: Sequence[float] = (0.0,),
        canary_s: Sequence[float] = (0.0,),
        canary_bp: int = 0,
        has_bookkeeping: bool = True,
        max_batch: int = 8,
    ) -> None:
        self.now_s = 1_000.0
        self.dispatcher = Dispatcher(lambda: self.now_s, has_bookkeeping=has_bookkeeping)
        self.max_batch = max_batch
        versions = [VersionRoute(_spec("3.1", max_batch), 10_000 - canary_bp, False)]
        if canary_bp:
            versions.append(VersionRoute(_spec("3.2", max_batch), canary_bp, True))
        self.dispatcher.apply(RoutingTable(1, (EndpointRoute("churn", "salt", tuple(versions)),)))
        self.stable = [self.add_replica(self.endpoint.stable, batch_s) for batch_s in stable_s]
        self.canary = [self.add_replica(self.endpoint.canary, batch_s) for batch_s in canary_s if canary_bp]

    @property
    def endpoint(self) -> Endpoint:
        return self.dispatcher.endpoints["churn"]

    @property
    def replicas(self) -> list[FakeReplica]:
        return [*self.stable, *self.canary]

    def add_replica(self, pool: Pool | None, batch_s: float) -> FakeReplica:
        assert pool is not None
        replica = FakeReplica(lambda: self.now_s, batch_s)
        name = f"{pool.spec.version}-{len(pool.channels)}"
        address = ReplicaAddress(name, pool.spec.app_name, "here", "", "", self.max_batch)
        pool.channels[name] = InProcessChannel(address, replica, SCHEMA.num_columns, pool, lambda: self.now_s)
        return replica

    def submit(self, key: str, deadline_s: float = 1.0, minutes: float = 1.0) -> Recorder:
        """Sends one row of a customer, with so many seconds until its deadline."""
        answer = Recorder()
        try:
            self.dispatcher.submit_one(
                self.endpoint, key.encode(), (minutes,), answer, self.now_s, self.now_s + deadline_s
            )
        except RequestError as error:
            answer.error = error
        return answer

    def submit_many(self, keys: Sequence[str], deadline_s: float = 1.0) -> Recorder:
        """Sends one request with a row of each customer."""
        answer = Recorder()
        rows = [(key.encode(), (float(position),)) for position, key in enumerate(keys)]
        try:
            self.dispatcher.submit_many(self.endpoint, rows, answer, self.now_s, self.now_s + deadline_s)
        except RequestError as error:
            answer.error = error
        return answer

    def submit_named(self, version: str, rows: int, deadline_s: float = 1.0) -> Recorder:
        """Sends rows to the version that the caller names."""
        answer = Recorder()
        pool = next(pool for pool in self.endpoint.pools if pool.spec.version == version)
        values = [(float(position),) for position in range(rows)]
        self.dispatcher.submit_named(pool, self.endpoint, values, answer, self.now_s, self.now_s + deadline_s)
        return answer

    async def run(self, seconds: float) -> None:
        """Lets time pass in steps: replicas answer when they are due, attempts out of time are given up."""
        end_s = self.now_s + seconds
        await settle()
        while self.now_s < end_s - 1e-9:
            self.now_s += STEP_S
            for replica in self.replicas:
                replica.step()
            await settle()
            self.dispatcher.expire()
            self.dispatcher.sweep()
            await settle()

    async def callers(self, deadlines_s: Sequence[float], seconds: float, pause_s: float = 0.0) -> list[list[Recorder]]:
        """Lets callers ask, each with its own deadline: the next request once the last is answered, after a pause.

        Args:
            pause_s: the longest pause; each is drawn at random.

        Returns:
            the requests of each caller that have ended.
        """
        asked: list[list[Recorder]] = [[] for _ in deadlines_s]
        random = np.random.default_rng(0)
        next_s = [self.now_s + random.uniform(0.0, pause_s) for _ in deadlines_s]
        end_s = self.now_s + seconds
        while self.now_s < end_s - 1e-9:
            for number, deadline_s in enumerate(deadlines_s):
                if asked[number] and asked[number][-1].outcome == "pending":
                    next_s[number] = self.now_s + random.uniform(0.0, pause_s)
                elif self.now_s >= next_s[number]:
                    asked[number].append(self.submit(f"{number}-{len(asked[number])}", deadline_s))
            await self.run(STEP_S)
        return [[answer for answer in of_one if answer.outcome != "pending"] for of_one in asked]

    def counted(self) -> dict[str, tuple[int, int]]:
        """Requests and errors by version, as reports have them."""
        return {pool.spec.version: tuple(pool.tally.counted()) for pool in self.endpoint.pools}


async def settle() -> None:
    """Lets everything run that is scheduled on the loop."""
    for _ in range(6):
        await asyncio.sleep(0)


def _spec(version: str, max_batch: int) -> VersionSpec:
    return VersionSpec("churn-predictor", version, "", "", SCHEMA, max_batch=max_batch)
