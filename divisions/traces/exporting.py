"""Sends spans to the collector, in a thread and from a bounded queue: a collector that hangs holds up nothing else."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan

log = logging.getLogger(__name__)

MAX_WAITING = 16_384
"""Records that may wait for the collector. Of requests, these are about 10 MB."""
BATCH = 512
GATHER_S = 0.5
"""How long a batch that is not full waits for more."""


class Records(Protocol):
    """Some of what becomes spans; each counts as one where it is exported or lost."""

    @property
    def records(self) -> Sequence[Any]: ...


R = TypeVar("R", bound=Records)
Export = Callable[[Sequence["ReadableSpan"]], str]
"""Sends spans; returns why they were not taken, or nothing."""


class Exporting(Generic[R]):
    """See the module.

    Args:
        make: makes spans of records.
        export: see `Export`. It gives up by itself.
    """

    def __init__(self, make: Callable[[R], list[ReadableSpan]], export: Export, max_waiting: int = MAX_WAITING) -> None:
        self._make = make
        self._export = export
        self._max_waiting = max_waiting
        self._waiting: deque[R] = deque()
        self._num_waiting = 0
        self._changed = threading.Condition()
        self._is_closing = False
        self._thread = threading.Thread(target=self._run, name="exporting", daemon=True)
        self.taken = 0
        self.exported = 0
        self.lost = 0
        self.fault = ""

    def start(self) -> None:
        self._thread.start()

    def take(self, found: R) -> None:
        """Queues records, or loses them if too many wait."""
        with self._changed:
            self.taken += len(found.records)
            if self._num_waiting + len(found.records) > self._max_waiting:
                self.lost += len(found.records)
                return
            self._waiting.append(found)
            self._num_waiting += len(found.records)
            if self._num_waiting >= BATCH:
                self._changed.notify_all()

    def close(self, timeout_s: float) -> None:
        """Sends what waits, one attempt each, for so long."""
        with self._changed:
            self._is_closing = True
            self._changed.notify_all()
        self._thread.join(timeout_s)

    def turn(self) -> bool:
        """Sends one batch; returns whether there was one."""
        batch = self._next()
        if not batch:
            return False
        num = sum(len(found.records) for found in batch)
        try:
            fault = self._export([span for found in batch for span in self._make(found)])
        except Exception as error:  # One batch that cannot be sent must not end the exporting.
            log.exception("%d records could not be exported", num)
            fault = f"{type(error).__name__}: {error}"
        with self._changed:
            if fault:
                self.lost += num
            else:
                self.exported += num
        if fault and fault != self.fault:
            log.warning("the collector does not take traces, nothing waits for it: %s", fault)
        self.fault = fault
        return True

    def _next(self) -> list[R]:
        batch: list[R] = []
        size = 0
        with self._changed:
            while self._waiting and (not batch or size + len(self._waiting[0].records) <= BATCH):
                found = self._waiting.popleft()
                size += len(found.records)
                batch.append(found)
            self._num_waiting -= size
        return batch

    def _run(self) -> None:
        while True:
            with self._changed:
                if not self._is_closing and self._num_waiting < BATCH:
                    self._changed.wait(GATHER_S)
            if not self.turn() and self._is_closing:
                return
