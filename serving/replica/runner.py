"""Runs batches on an engine: fast ones on the event loop, slow ones in a thread."""

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
"""A batch faster than this runs on the event loop, because passing it to a thread and back costs tens of microseconds.
A slower batch would block the loop, which must read requests and refuse late ones."""

_MEASURE_RUNS = 3
_ERROR_CHARS = 200


def measure_inline_rows(engine: Engine, max_batch: int, now_s: Callable[[], float]) -> int:
    """The largest batch that this engine answers within `INLINE_LIMIT_S`; 0 if one row takes longer."""
    quick = 0
    for rows in batch_buckets(max_batch):
        batch = np.zeros((rows, engine.columns), np.float32)
        if min(_duration_s(engine, batch, now_s) for _ in range(_MEASURE_RUNS)) > INLINE_LIMIT_S:
            break
        quick = rows
    return quick


def _duration_s(engine: Engine, batch: np.ndarray, now_s: Callable[[], float]) -> float:
    run = engine.dry_run if isinstance(engine, FaultyEngine) else engine.run
    begin_s = now_s()
    with contextlib.suppress(InjectedFaultError):  # a failure that was injected still has a duration
        run(batch)
    return now_s() - begin_s


class BatchRunner:
    """Owns an engine. `answer` runs one batch. The thread runs batches one after another.

    The engine is not re-entrant. So a caller may call `answer` only while `is_idle` holds. While the thread has work,
    all batches must go to the thread; that also keeps their order.
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
        """How long the thread has worked on its current batch; 0 if it has none."""
        since_s = self._busy_since_s
        return 0.0 if since_s is None else self._now_s() - since_s

    def answer(self, request: Request, read_s: float) -> bytes:
        """Runs one batch and returns its encoded reply; never raises.

        Args:
            request: the batch.
            read_s: when it was read. Its deadline and its queueing time start then.
        """
        begin_s = self._now_s()
        queue_us = int((begin_s - read_s) * 1e6)
        if queue_us > request.deadline_us:
            return encode_reply(request.request_id, Status.EXPIRED, 0, queue_us, 0, b"the deadline passed in the queue")
        rows = request.rows
        try:
            batch = np.frombuffer(request.rows_f32, np.float32).reshape(rows, request.columns)
            scores = self._engine.run(batch)
        except Exception as error:  # noqa: BLE001  # an engine's error fails its batch, never the replica
            if not isinstance(error, InjectedFaultError):
                self.consecutive_failures += 1
            return self._failed(request, queue_us, begin_s, f"{type(error).__name__}: {error}")
        self.consecutive_failures = 0
        self.batches += 1
        self.rows += rows
        # If one score is not finite, neither is the sum. The sum costs half of isfinite().all().
        status = Status.OK
        if len(scores) != rows or not isfinite(np.add.reduce(scores)):
            if len(scores) != rows or not np.isfinite(scores).any():
                return self._failed(request, queue_us, begin_s, "the model answered with values that are not numbers")
            if not np.isfinite(scores).all():  # Finite scores may have a sum that is not.
                status = Status.PARTIAL
        compute_us = int((self._now_s() - begin_s) * 1e6)
        return encode_reply(request.request_id, status, rows, queue_us, compute_us, scores.tobytes())

    def _failed(self, request: Request, queue_us: int, begin_s: float, text: str) -> bytes:
        compute_us = int((self._now_s() - begin_s) * 1e6)
        line = text.partition("\n")[0][:_ERROR_CHARS].encode()
        return encode_reply(request.request_id, Status.FAILED, 0, queue_us, compute_us, line)

    def submit(self, request: Request, read_s: float, deliver: Callable[[bytes], None]) -> None:
        """Runs a batch in the thread, which calls ``deliver``. The caller of `submit` must then call `delivered`."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="engine", daemon=True)
            self._thread.start()
        self._waiting += 1
        self._jobs.put((request, read_s, deliver))

    def delivered(self) -> None:
        """Call this in the thread that called `submit`, once the reply has arrived there."""
        self._waiting -= 1

    def stop(self) -> None:
        """Ends the thread after its queued batches."""
        if self._thread is not None:
            self._jobs.put(None)

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            request, read_s, deliver = job
            self._busy_since_s = self._now_s()
            reply = self.answer(request, read_s)
            self._busy_since_s = None
            deliver(reply)
