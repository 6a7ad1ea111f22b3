"""What the hot path hands over to the exporter of traces: one record for each sampled request, in a bounded buffer.

Spans are made of them in a process of their own (`router.traces.process`). Nothing is encoded here and nothing waits:
a full buffer costs the record, which is counted.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable
from typing import Final

from router.predict.jobs import Job

MAX_RECORDS: Final = 8_192
"""About 4 MB. A sweep comes every 10 ms, so the buffer fills only while the exporter stands still."""
NOT_SAMPLED: Final = -1

TRACEPARENT: Final = re.compile(
    rb"(?!ff)(?:00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}"
    rb"|(?!00)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(?:-.*)?)",
    re.DOTALL,
)
"""W3C Trace Context, level 1: a later version may have more behind the flags."""

Record = tuple[bytes, int, bytes, str, str, bool, int, str, int, int, float, float, float, int]
"""See `router.traces.frames`."""


class TraceBuffer:
    """Records on their way to the exporter. One per gateway.

    Args:
        follows_parent: whether the caller's decision holds, where its ``traceparent`` is valid.
        bound: the others are sampled if the lower 64 bits of their trace's id are below it; see
            `divisions.traces.sampling`.
        draw: gives 64 random bits.
        now_s: monotonic clock.
    """

    __slots__ = ("_bound", "_draw", "_follows_parent", "_max_records", "_now_s", "_records", "lost")

    def __init__(
        self,
        follows_parent: bool,
        bound: int,
        draw: Callable[[], int],
        now_s: Callable[[], float],
        max_records: int = MAX_RECORDS,
    ) -> None:
        self._follows_parent = follows_parent
        self._bound = bound
        self._draw = draw
        self._now_s = now_s
        self._max_records = max_records
        self._records: deque[Record] = deque()
        self.lost = 0
        """Records that found the buffer full; it only grows."""

    def __len__(self) -> int:
        return len(self._records)

    def answered(
        self,
        traceparent: bytes,
        request_id: bytes,
        endpoint: str,
        rows: int,
        job: Job,
        compute_us: int,
        now_s: float,
    ) -> None:
        """Records a request, if it is in the sample.

        Args:
            job: the last of it that was answered.
        """
        parent, low = self._sampled(traceparent)
        if low == NOT_SAMPLED:
            return
        self._add(
            (
                parent,
                low,
                request_id,
                endpoint,
                job.version.label.decode(),
                job.is_canary,
                200,
                "",
                rows,
                job.batch_rows,
                job.arrived_s,
                job.sent_s,
                now_s,
                compute_us,
            )
        )

    def replied(
        self, traceparent: bytes, request_id: bytes, endpoint: str, rows: int, status: int, code: str, received_s: float
    ) -> None:
        """Records a request that no single batch answered, or none: a refusal has a ``code``."""
        parent, low = self._sampled(traceparent)
        if low != NOT_SAMPLED:
            now_s = self._now_s()
            began_s = received_s if received_s > 0.0 else now_s
            self._add((parent, low, request_id, endpoint, "", False, status, code, rows, 0, began_s, 0.0, now_s, 0))

    def take(self, most: int) -> list[Record]:
        """Removes and returns the oldest records, at most so many."""
        records = self._records
        return [records.popleft() for _ in range(min(most, len(records)))]

    def _add(self, record: Record) -> None:
        if len(self._records) >= self._max_records:
            self.lost += 1
        else:
            self._records.append(record)

    def _sampled(self, traceparent: bytes) -> tuple[bytes, int]:
        """The caller's context, empty if it has none that is valid; and bits of the trace's id, or `NOT_SAMPLED`."""
        if traceparent and TRACEPARENT.fullmatch(traceparent) is not None:
            if self._follows_parent:
                return traceparent[:55], 0 if int(traceparent[53:55], 16) & 1 else NOT_SAMPLED
            return traceparent[:55], 0 if int(traceparent[19:35], 16) < self._bound else NOT_SAMPLED
        low = self._draw()
        return b"", low if low < self._bound else NOT_SAMPLED
