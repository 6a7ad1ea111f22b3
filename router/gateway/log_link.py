"""The gateway's end of the prediction log: starts the writer's process, sends it what the buffer has, reads its counts.

Every call returns at once. A writer that stands still costs the log's rows when the buffer is full, and a writer that
dies is started again. Both are counted, and neither is ever in a request's way.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import socket
import subprocess
from array import array
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from divisions.clock import Clock
from divisions.control import RoutingTable
from divisions.prediction_log import LogCount
from router.gateway.side_process import END_S, SideProcess, start_module
from router.predict.answer_log import Columns, LogBuffer
from router.prediction_log.frames import Counts, Cutter, Keep, Opened, Rows, decode_counts, encode
from router.prediction_log.retention import rules_of

SWEEP_BYTES = 256 << 10
"""What one sweep sends, about."""
GATHER_BYTES = 64 << 10
GATHER_SWEEPS = 10
"""How long rows are gathered that are fewer than `GATHER_BYTES`: a tenth of a second. Each time wakes the writer; at a
hundred times a second that takes more from the gateway than the rows do."""


def start_process(gateway_id: str, number: int, theirs: socket.socket) -> subprocess.Popen[bytes]:
    """Starts the writer of a gateway. ``number`` tells the writers of one gateway apart."""
    name = f"{gateway_id}-{number}" if number else gateway_id
    return start_module("router.prediction_log.process", theirs, name)


def rows_of(columns: Columns, offset_s: float) -> Rows:
    """A chunk of the buffer as the writer is sent it; see `Rows`."""
    return Rows(
        columns.app_name,
        offset_s,
        columns.ids,
        array("i", columns.places).tobytes(),
        columns.entities,
        array("d", columns.arrived_s).tobytes(),
        bytes(columns.encoded),
        array("f", columns.scores).tobytes(),
    )


@dataclass(frozen=True, slots=True)
class LogHealth:
    """How the log fares.

    Attributes:
        versions: rows by version.
        files: that were brought to the log's place.
        waiting_bytes: on this machine, and not yet in the log's place.
        is_reachable: whether the log's place took what was last brought.
    """

    versions: tuple[LogCount, ...] = ()
    files: int = 0
    waiting_bytes: int = 0
    is_reachable: bool = True


class _Known:
    """What is known of one version's rows."""

    def __init__(self, opened: Opened) -> None:
        self.opened = opened
        self.handed = 0
        """To the present writer."""
        self.kept = 0
        """By writers that have ended."""
        self.lost: dict[str, int] = {}
        """By reason, likewise, and ``writer``: what was in a writer's memory when it died."""
        self.now_kept = 0
        self.now_lost: dict[str, int] = {}
        """What the present writer has told."""


class LogLink:
    """See the module. Lives on one event loop.

    Args:
        buffer: the hot path fills it.
        gateway_id: of this process.
        clock: the time.
        start: starts a writer with this socket; takes the number of the start, too.
    """

    def __init__(
        self,
        buffer: LogBuffer,
        gateway_id: str,
        clock: Clock,
        start: Callable[[str, int, socket.socket], subprocess.Popen[bytes]] = start_process,
    ) -> None:
        self._buffer = buffer
        self._clock = clock
        self._known: dict[str, _Known] = {}
        self._writer = SideProcess(
            "the prediction log's writer", clock, functools.partial(start, gateway_id), self._greeting
        )
        self._is_closed = False
        self._is_closing = False
        self._num_sweeps = 0
        self._cutter = Cutter()
        self._counts = Counts([], 0, 0, "")
        self._files = 0
        self._keep = Keep(())

    def follow(self, table: RoutingTable) -> None:
        """Takes from a routing table which versions are logged, and starts a writer when there is one."""
        for route in table.endpoints:
            for share in route.versions:
                spec = share.version
                if spec.log is None:
                    continue
                opened = Opened(spec.app_name, route.endpoint, spec.model, spec.version, spec.schema, spec.log)
                known = self._known.get(spec.app_name)
                if known is None:
                    self._known[spec.app_name] = _Known(opened)
                elif known.opened != opened:
                    known.opened = opened
                else:
                    continue
                self._tell(opened)
        keep = Keep(rules_of(table))
        if keep != self._keep:
            self._keep = keep
            self._tell(keep)

    def _tell(self, message: Opened | Keep) -> None:
        """A writer that is not there yet is told at its start."""
        if self._writer.is_there:
            self._writer.give(encode(message))

    def _greeting(self) -> bytes:
        self._cutter = Cutter()
        opened = [encode(known.opened) for known in self._known.values()]
        return b"".join([*opened, encode(self._keep)] if self._keep.rules else opened)

    def sweep(self) -> None:
        """Sends what there is to send, and reads counts. Call it every few milliseconds."""
        if not self._known or self._is_closed:
            return
        if not self._writer.is_there:
            self._writer.restart()
            return
        self._num_sweeps += 1
        is_time = self._is_closing or self._num_sweeps % GATHER_SWEEPS == 0
        if not is_time and not self._writer.has_unsent and self._buffer.size < GATHER_BYTES:
            return
        try:
            self._send()
            for body in self._cutter.feed(self._writer.receive()):
                self._take(decode_counts(body))
        except (ConnectionError, ValueError) as error:
            self._ended(str(error))

    def _send(self) -> None:
        if not self._writer.has_unsent and self._buffer.size:
            for columns in self._buffer.take(SWEEP_BYTES):
                self._known[columns.app_name].handed += len(columns.ids)
                self._writer.give(encode(rows_of(columns, self._offset_s())))
        self._writer.send()

    def _offset_s(self) -> float:
        return self._clock.wall_s() - self._clock.monotonic_s()

    def _take(self, counts: Counts) -> None:
        self._counts = counts
        for version in counts.versions:
            known = self._known.get(version.app_name)
            if known is not None:
                known.now_kept, known.now_lost = version.kept, version.lost

    def _ended(self, why: str) -> None:
        """The writer is gone: what it had in its memory is lost."""
        self._writer.ended(why)
        for known in self._known.values():
            rest = known.handed - known.now_kept - sum(known.now_lost.values())
            known.kept += known.now_kept
            known.lost = _sum([known.lost, known.now_lost, {"writer": rest} if rest else {}])
            known.handed, known.now_kept, known.now_lost = 0, 0, {}
        self._files += self._counts.files
        self._counts = Counts([], 0, self._counts.waiting_bytes, self._counts.fault)

    async def close(self) -> None:
        """Sends the rest and lets the writer end; it is not waited for longer than `END_S`."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(END_S):
                await self._send_rest()
                self._is_closed = True
                await self._writer.until_ended()
        self._is_closed = True
        self._writer.hang_up()

    async def _send_rest(self) -> None:
        self._is_closing = True
        await self._writer.until_started()
        while self._writer.is_there and (self._writer.has_unsent or self._buffer.size):
            self.sweep()
            await asyncio.sleep(0.005)
        self._writer.no_more()

    # ---- What others read ----------------------------------------------------------------------------------------

    def counts(self) -> tuple[LogCount, ...]:
        """Rows since the gateway's start, by version."""
        return tuple(self._count(known) for known in self._known.values())

    def _count(self, known: _Known) -> LogCount:
        buffer = self._buffer.lost.get(known.opened.app_name, 0)
        lost = _sum([known.lost, known.now_lost, {"buffer": buffer} if buffer else {}])
        return LogCount(known.opened.endpoint, known.opened.version, known.kept + known.now_kept, lost)

    def health(self) -> LogHealth:
        """For metrics."""
        files = self._files + self._counts.files
        return LogHealth(self.counts(), files, self._counts.waiting_bytes, not self._counts.fault)


def _sum(parts: Iterable[dict[str, int]]) -> dict[str, int]:
    total: dict[str, int] = {}
    for part in parts:
        for reason, count in part.items():
            total[reason] = total.get(reason, 0) + count
    return total
