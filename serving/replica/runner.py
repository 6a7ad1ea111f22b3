"""Runs batches on an engine: at once where that is quick, in a thread of its own where it is not."""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Callable
from math import isfinite

import numpy as np

from divisions.errors import InjectedFaultError
from divisions.wire import Request, Status, encode_reply
from serving.engines.protocol import Engine, batch_buckets
from serving.replica.faults import FaultyEngine

INLINE_LIMIT_S = 200e-6
"""A batch quicker than this runs on the event loop: handing it to a thread and back costs 10 to 30 us, and more when
the thread's core has gone to sleep. A slower one would keep the loop from reading and from refusing what is late."""

_MEASURE_RUNS = 3
_ERROR_CHARS = 200


def measure_inline_rows(engine: Engine, max_batch: int, now_s: Callable[[], float]) -> int:
    """The largest batch that this engine answers within `INLINE_LIMIT_S`; 0 when even one row takes longer."""
    quick = 0
    for rows in batch_buckets(max_batch):
        batch = np.zeros((rows, engine.columns), np.float32)
        if min(_duration_s(engine, batch, now_s) for _ in range(_MEASURE_RUNS)) > INLINE_LIMIT_S:
            break
        quick = rows
    return quick


def _duration_s(engine: Engine, batch: np.ndarray, now_s: Callable[[], float]) -> float:
    run = engine.rehearse if isinstance(engine, FaultyEngine) else engine.run
    begin_s = now_s()
    with contextlib.suppress(InjectedFaultError):  # an engine that fails on purpose has a duration all the same
        run(batch)
    return now_s() - begin_s


class BatchRunner:
    """Owns an engine. `answer` is the whole of one batch; the thread runs batches one after the other.

    The engine is not re-entrant. So a caller may use `answer` itself only while `is_idle`, and everything that comes
    while the thread has work must go to the thread: that keeps the order, too.
    """

    def __init__(self, engine: Engine, now_s: Callable[[], float]) -> None:
        self._engine = engine
        self._now_s = now_s
        self._jobs: queue.SimpleQueue[tuple[Request, float, Callable[[bytes], None]] | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._waiting = 0
        self._busy_since_s: float | None = None
        self.batches = 0
        self.rows = 0
        self.consecutive_failures = 0

    @property
    def is_idle(self) -> bool:
        return self._waiting == 0

    @property
    def busy_s(self) -> float:
        """How long the thread has been at its current batch; 0 when it has none."""
        since_s = self._busy_since_s
        return 0.0 if since_s is None else self._now_s() - since_s

    def answer(self, request: Request, read_s: float) -> bytes:
        """Runs one batch and returns its encoded reply; never raises.

        Args:
            request: the batch.
            read_s: when it was read; its deadline and its queueing time count from here.
        """
        begin_s = self._now_s()
        queue_us = int((begin_s - read_s) * 1e6)
        if queue_us > request.deadline_us:
            return encode_reply(request.request_id, Status.EXPIRED, 0, queue_us, 0, b"the deadline passed in the queue")
        rows = request.rows
        try:
            batch = np.frombuffer(request.rows_f32, np.float32).reshape(rows, request.columns)
            scores = self._engine.run(batch)
        except Exception as error:  # noqa: BLE001  # whatever an engine raises costs its batch, never the replica
            if not isinstance(error, InjectedFaultError):
                self.consecutive_failures += 1
            return self._failed(request, queue_us, begin_s, f"{type(error).__name__}: {error}")
        self.consecutive_failures = 0
        self.batches += 1
        self.rows += rows
        # A sum is finite only if all of its terms are, and costs half of isfinite().all().
        if len(scores) != rows or not isfinite(np.add.reduce(scores)):
            return self._failed(request, queue_us, begin_s, "the model answered with values that are not numbers")
        compute_us = int((self._now_s() - begin_s) * 1e6)
        return encode_reply(request.request_id, Status.OK, rows, queue_us, compute_us, scores.tobytes())

    def _failed(self, request: Request, queue_us: int, begin_s: float, text: str) -> bytes:
        compute_us = int((self._now_s() - begin_s) * 1e6)
        line = text.partition("\n")[0][:_ERROR_CHARS].encode()
        return encode_reply(request.request_id, Status.FAILED, 0, queue_us, compute_us, line)

    def submit(self, request: Request, read_s: float, deliver: Callable[[bytes], None]) -> None:
        """Has the thread run a batch. ``deliver`` is called in the thread; its caller must call `delivered` after."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="engine", daemon=True)
            self._thread.start()
        self._waiting += 1
        self._jobs.put((request, read_s, deliver))

    def delivered(self) -> None:
        """To be called where `submit` was called, when a reply has come back there."""
        self._waiting -= 1

    def stop(self) -> None:
        """Lets the thread end after the work that it has."""
        if self._thread is not None:
            self._jobs.put(None)

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            request, read_s, deliver = job
            self._busy_since_s = self._now_s()
            reply = self.answer(request, read_s)
            self._busy_since_s = None
            deliver(reply)
