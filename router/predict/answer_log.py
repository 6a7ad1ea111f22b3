"""What the hot path hands over to the prediction log: the columns of answered rows, in a bounded buffer. Pure.

Whether a request is logged is decided by a hash of its id: the same on every gateway, and for every row of it. Nothing
is encoded here, and nothing waits: a full buffer costs the answer's rows, which are counted.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Final

from router.evidence import split
from router.predict.jobs import SPLIT, Job

SALT: Final = b"prediction log"
MAX_BYTES: Final = 16 << 20
"""Of the buffer. A sweep comes every 10 ms, so it fills only while the log's writer stands still."""
ROW_BYTES: Final = 256
"""About what a row takes besides its encoding."""


CHUNK_BYTES: Final = 64 << 10
"""A chunk of this size gets no more rows, so that taking some of many moves none."""


class Columns:
    """A chunk of one version's rows, column by column; see `router.prediction_log.frames.Rows`."""

    __slots__ = ("app_name", "arrived_s", "encoded", "entities", "ids", "places", "scores")

    def __init__(self, app_name: str) -> None:
        self.app_name = app_name
        self.ids: list[bytes] = []
        self.places: list[int] = []
        self.entities: list[str | None] = []
        self.arrived_s: list[float] = []
        self.encoded = bytearray()
        self.scores: list[float] = []

    @property
    def size(self) -> int:
        """Bytes, about."""
        return len(self.encoded) + len(self.ids) * ROW_BYTES

    def add(self, request_id: bytes, place: int, entity: str | None, arrived_s: float) -> None:
        """Adds a row, but for its encoding and its score, which come with those of its answer."""
        self.ids.append(request_id)
        self.places.append(place)
        self.entities.append(entity)
        self.arrived_s.append(arrived_s)


class LogBuffer:
    """Rows on their way to the writer. One per gateway."""

    __slots__ = ("_chunks", "_max_bytes", "_open", "lost", "size")

    def __init__(self, max_bytes: int = MAX_BYTES) -> None:
        self._max_bytes = max_bytes
        self._chunks: deque[Columns] = deque()
        self._open: dict[str, Columns] = {}
        """The newest chunk of each application that has rows here."""
        self.size = 0
        """Bytes, about."""
        self.lost: dict[str, int] = {}
        """Rows that found the buffer full, by application; it only grows."""

    def room(self, app_name: str, rows: int, encoded_bytes: int) -> Columns | None:
        """Where to add the rows of an answer. None if there is no room: then they are counted as lost."""
        size = encoded_bytes + rows * ROW_BYTES
        if self.size + size > self._max_bytes:
            self.lost[app_name] = self.lost.get(app_name, 0) + rows
            return None
        self.size += size
        columns = self._open.get(app_name)
        if columns is None or columns.size >= CHUNK_BYTES:
            columns = Columns(app_name)
            self._open[app_name] = columns
            self._chunks.append(columns)
        return columns

    def take(self, most_bytes: int) -> list[Columns]:
        """Removes and returns the oldest chunks: about ``most_bytes``, and at least one, if there is one."""
        taken: list[Columns] = []
        while self._chunks and most_bytes > 0:
            columns = self._chunks.popleft()
            if self._open[columns.app_name] is columns:
                del self._open[columns.app_name]
            most_bytes -= columns.size
            self.size -= columns.size
            taken.append(columns)
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

    def add(self, buffer: LogBuffer, request_id: bytes, keys: Sequence[str | None], start: int = 0) -> None:
        """Adds the rows to the buffer.

        Args:
            request_id: of the request.
            keys: the customer of each row of the request, or of this part of it.
            start: the place in the request at which the part begins.
        """
        rows = len(self._places)
        columns = buffer.room(self.app_name, rows, len(self._payload))
        if columns is None:
            return
        columns.encoded += self._payload
        columns.scores.extend(self._scores)
        for place in self._places:
            columns.add(request_id, start + place, keys[place] if keys else None, self.arrived_s)


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
        app_name = job.version.app_name
        if job.kind != SPLIT or not self._takes(app_name, request_id):
            return
        columns = self._buffer.room(app_name, 1, len(job.payload))
        if columns is not None:
            columns.add(request_id, 0, key, job.arrived_s)
            columns.encoded += job.payload
            columns.scores.append(scores[0])

    def offer(
        self, parts: Sequence[Logged], request_id: bytes, keys: Sequence[str | None] = (), start: int = 0
    ) -> None:
        """Logs the answers to a request, if it is in the sample; see `Logged.add`."""
        for part in parts:
            if part.is_split and self._takes(part.app_name, request_id):
                part.add(self._buffer, request_id, keys, start)

    def _takes(self, app_name: str, request_id: bytes) -> bool:
        threshold = self._thresholds.get(app_name, 0)
        if threshold <= 0 or threshold >= split.PLACES:
            return threshold > 0
        return split.place(SALT, request_id) < threshold
