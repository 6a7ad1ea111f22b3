"""The open loop: sends each request at its planned time, however the requests before it ended."""

from __future__ import annotations

import asyncio
import resource
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchmarks.harness.machine import describe_machine
from benchmarks.load.arrivals import Arrivals
from benchmarks.load.http_client import ConnectionPool, Exchange, Outcome, Target
from benchmarks.load.precise_timer import PreciseTimer
from benchmarks.load.report import (
    SATURATED_LAG_MS,
    LoadResult,
    Tick,
    summarise_lag,
    summarise_latency,
    summarise_tick,
    summarise_versions,
)
from benchmarks.load.samples import Recorder, Samples

_SWEEP_S = 0.02
_MAX_BURST = 64
"""Requests sent in one turn when late; then answers get their turn, or being late would look like a slow server."""


@dataclass(frozen=True, slots=True)
class LoadPlan:
    """A run, planned ahead.

    ``arrivals_s`` are rising offsets from the start and ``choices`` the index into ``bodies`` of each, both
    **Shape** ``[N]``; ``deadline_s`` counts from the scheduled time.
    """

    url: str
    bodies: Sequence[bytes]
    arrivals_s: NDArray[np.float64]
    choices: NDArray[np.int64]
    kind: Arrivals
    rate_rps: float
    seed: int
    deadline_s: float = 2.0
    max_connections: int = 256
    open_ahead: int = 8
    headers: Sequence[tuple[str, str]] = ()
    """Of every request, beside what it needs anyway."""


class OpenLoop:
    """Runs one plan. ``stop`` may be called at any time; requests in flight are still waited for."""

    def __init__(self, plan: LoadPlan, on_tick: Callable[[Tick], None] = lambda _tick: None) -> None:
        self._plan = plan
        self._on_tick = on_tick
        self._requests = [Target.parse(plan.url).encode_post(body, dict(plan.headers)) for body in plan.bodies]
        self._next = 0
        self._stopped = False
        self._error: Exception | None = None

    def stop(self) -> None:
        """Sends nothing more."""
        self._stopped = True

    async def run(self) -> tuple[LoadResult, Samples]:
        """Carries the plan out.

        Raises:
            OSError: the target does not listen at the start. (Later, that is a failed request.)
        """
        plan, loop = self._plan, asyncio.get_running_loop()
        cpu_before_s = _cpu_s()
        recorder: Recorder | None = None

        def done(exchange: Exchange, now_s: float) -> None:
            assert recorder is not None
            recorder.add_done(exchange, now_s)

        pool = ConnectionPool(loop, Target.parse(plan.url), plan.max_connections, plan.deadline_s, done)
        await pool.open(plan.open_ahead)
        machine = describe_machine()
        start_s, start_wall_s = time.monotonic() + 0.05, time.time() + 0.05
        recorder = Recorder(start_s, start_wall_s)

        def send_due() -> None:
            try:
                self._send_due(timer, pool, recorder, start_s)
            except Exception as error:  # noqa: BLE001  # the edge of the loop: end the run, do not go silent
                self._error = error
                self.stop()

        timer = PreciseTimer(loop, send_due)
        try:
            timer.set(start_s)
            await self._watch(pool, recorder, start_s, start_wall_s)
            ended_s = time.monotonic()
            if self._error is not None:
                raise self._error
        finally:
            timer.close()
            pool.close()
        samples = recorder.samples()
        duration_s = max(ended_s - start_s, 1e-9)
        lag = summarise_lag(samples.lag_s)
        outcomes = recorder.outcomes
        return LoadResult(
            url=plan.url,
            arrivals=plan.kind.value,
            rate_rps=plan.rate_rps,
            seed=plan.seed,
            deadline_ms=plan.deadline_s * 1e3,
            started_at_s=round(start_wall_s, 6),
            duration_s=round(duration_s, 3),
            requests=recorder.finished,
            ok=outcomes[Outcome.OK],
            refused=outcomes[Outcome.REFUSED],
            failed=outcomes[Outcome.FAILED],
            timed_out=outcomes[Outcome.TIMED_OUT],
            achieved_rps=round(recorder.sent / duration_s, 2),
            latency=summarise_latency(samples),
            versions=summarise_versions(samples),
            reasons=dict(recorder.reasons.most_common()),
            lag=lag,
            generator_saturated=lag.p99_ms > SATURATED_LAG_MS,
            generator_cpu_share=round((_cpu_s() - cpu_before_s) / duration_s, 4),
            connections=pool.most_connections,
            connects=pool.connects,
            machine=machine,
        ), samples

    def _send_due(self, timer: PreciseTimer, pool: ConnectionPool, recorder: Recorder, start_s: float) -> None:
        arrivals_s, choices, requests = self._plan.arrivals_s, self._plan.choices, self._requests
        burst_ends = self._next + _MAX_BURST
        while not self._stopped and self._next < len(arrivals_s):
            scheduled_s = start_s + float(arrivals_s[self._next])
            now_s = time.monotonic()
            if scheduled_s > now_s or self._next == burst_ends:
                timer.set(scheduled_s)
                return
            recorder.add_sent(scheduled_s, now_s)
            pool.submit(Exchange(scheduled_s, requests[choices[self._next]]))
            self._next += 1
        self.stop()

    async def _watch(self, pool: ConnectionPool, recorder: Recorder, start_s: float, start_wall_s: float) -> None:
        """Sweeps expired requests and reports each second until all that was sent has ended."""
        second, first, first_sent = 1, 0, 0
        while not self._stopped or pool.in_flight:
            await asyncio.sleep(_SWEEP_S)
            now_s = time.monotonic()
            pool.expire(now_s)
            elapsed_s = now_s - start_s
            if elapsed_s >= second or (self._stopped and not pool.in_flight):
                samples = recorder.samples(first, first_sent)
                first, first_sent = recorder.finished, recorder.sent
                second = int(elapsed_s) + 1
                self._on_tick(summarise_tick(samples, start_wall_s + elapsed_s, elapsed_s, pool.in_flight))


def _cpu_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime
