"""What the hot path hands over to the prediction log: references to answers, in a bounded buffer. Pure.

Whether a request is logged is decided by a hash of its id: the same on every gateway, and for every row of it. Nothing
is encoded here, and nothing waits: a full buffer costs the answer's rows, which are counted.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Final

from router.evidence import split
from router.predict.jobs import SPLIT, Job, Version

SALT: Final = b"prediction log"
MAX_BYTES: Final = 16 << 20
"""Of the buffer. A sweep comes every 10 ms, so it fills only while the log's writer stands still."""
ENTRY_BYTES: Final = 512
"""About what an entry takes besides its rows."""

Entry = tuple[str, bytes, list[int], list[str | None], float, bytes, list[float]]
"""See `router.prediction_log.frames`."""


class LogBuffer:
    """Answers on their way to the writer. One per gateway."""

    __slots__ = ("_entries", "_max_bytes", "lost", "size")

    def __init__(self, max_bytes: int = MAX_BYTES) -> None:
        self._max_bytes = max_bytes
        self._entries: deque[Entry] = deque()
        self.size = 0
        """Bytes, about."""
        self.lost: dict[str, int] = {}
        """Rows that found the buffer full, by application; it only grows."""

    def __len__(self) -> int:
        return len(self._entries)

    def add(self, entry: Entry) -> None:
        size = len(entry[5]) + ENTRY_BYTES
        if self.size + size > self._max_bytes:
            self.lose(entry[0], len(entry[2]))
            return
        self.size += size
        self._entries.append(entry)

    def lose(self, app_name: str, rows: int) -> None:
        """Counts rows that were not logged."""
        self.lost[app_name] = self.lost.get(app_name, 0) + rows

    def take(self, most_bytes: int) -> list[Entry]:
        """Removes and returns the oldest entries: at least one, if there is one, and about ``most_bytes``."""
        taken: list[Entry] = []
        entries = self._entries
        while entries and most_bytes > 0:
            entry = entries.popleft()
            size = len(entry[5]) + ENTRY_BYTES
            self.size -= size
            most_bytes -= size
            taken.append(entry)
        return taken


class Logged:
    """What the log needs to know of an answered job. The job itself refers to its answer, which would be a cycle."""

    __slots__ = ("_payload", "_places", "_scores", "_version", "arrived_s", "is_split")

    def __init__(self, job: Job, scores: Sequence[float]) -> None:
        self._version = job.version
        self._places = job.positions
        self._payload = job.payload
        self._scores = scores
        self.arrived_s = job.arrived_s
        self.is_split = job.kind == SPLIT

    @property
    def app_name(self) -> str:
        return self._version.app_name

    def entry(self, request_id: bytes, keys: Sequence[str | None], start: int = 0) -> Entry:
        """The entry of the log.

        Args:
            request_id: of the request.
            keys: the customer of each row of the request, or of this part of it.
            start: the place in the request at which the part begins.
        """
        places = list(self._places)
        customers: list[str | None] = [keys[place] if keys else None for place in places]
        version: Version = self._version
        # A view is of memory that may be used again.
        payload = bytes(self._payload)
        scores = [float(score) for score in self._scores]
        return (
            version.app_name,
            request_id,
            [start + place for place in places],
            customers,
            self.arrived_s,
            payload,
            scores,
        )


class AnswerLog:
    """One endpoint's. An endpoint whose versions log nothing has none.

    Args:
        buffer: takes the entries.
        thresholds: of the places (`router.evidence.split`) of requests that are logged, by application.
    """

    __slots__ = ("_buffer", "_thresholds")

    def __init__(self, buffer: LogBuffer, thresholds: dict[str, int]) -> None:
        self._buffer = buffer
        self._thresholds = thresholds

    def offer_one(self, job: Job, request_id: bytes, key: str | None, scores: Sequence[float]) -> None:
        """Logs the answer to a request of one row, if it is in the sample."""
        if job.kind == SPLIT and self._takes(job.version.app_name, request_id):
            entry: Entry = (
                job.version.app_name,
                request_id,
                [0],
                [key],
                job.arrived_s,
                bytes(job.payload),
                [scores[0]],
            )
            self._buffer.add(entry)

    def offer(
        self, parts: Sequence[Logged], request_id: bytes, keys: Sequence[str | None] = (), start: int = 0
    ) -> None:
        """Logs the answers to a request, if it is in the sample; see `Logged.entry`."""
        for part in parts:
            if part.is_split and self._takes(part.app_name, request_id):
                self._buffer.add(part.entry(request_id, keys, start))

    def _takes(self, app_name: str, request_id: bytes) -> bool:
        threshold = self._thresholds.get(app_name, 0)
        return threshold > 0 and split.place(SALT, request_id) < threshold
