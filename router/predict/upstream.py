"""One connection from this gateway to one replica: frames out, frames in.

A channel that breaks hands back the batches in flight at once and connects again, with growing pauses, until it is
closed because the routing table no longer names its replica.
"""

from __future__ import annotations

import asyncio
import logging
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Final, cast

from divisions import wire
from divisions.control import ReplicaAddress
from divisions.errors import ChannelError
from divisions.silence import LOST_AFTER_S, give_up_after
from router.predict.jobs import ATTEMPT_SHARE, MIRROR, Job
from router.predict.remote_channels import RemoteChannels

log = logging.getLogger(__name__)

FIRST_PAUSE_S: Final = 0.05
LONGEST_PAUSE_S: Final = 1.0
CONNECT_TIMEOUT_S: Final = 2.0


class Batch:
    """The jobs of one frame. ``place`` counts the batches in flight at its replica when it leaves, and itself."""

    __slots__ = ("due_s", "jobs", "left_us", "place", "rows", "sent_s")

    def __init__(self, jobs: Sequence[Job], sent_s: float, place: int = 1) -> None:
        self.jobs = jobs
        self.sent_s = sent_s
        self.place = place
        rows = 0
        earliest_s = latest_s = jobs[0].deadline_s
        for job in jobs:
            rows += job.rows
            deadline_s = job.deadline_s
            if deadline_s < earliest_s:
                earliest_s = deadline_s
            elif deadline_s > latest_s:
                latest_s = deadline_s
        self.rows = rows
        self.due_s = sent_s + (earliest_s - sent_s) * ATTEMPT_SHARE
        """Not after the first moment at which one of the jobs is late."""
        self.left_us = max(0, int((latest_s - sent_s) * 1e6))
        """Microseconds until the latest of the deadlines."""

    def payload(self) -> bytes | memoryview:
        """The rows of all jobs, packed."""
        jobs = self.jobs
        return jobs[0].payload if len(jobs) == 1 else b"".join([job.payload for job in jobs])

    def overdue(self, now_s: float) -> tuple[list[Job], list[Job]]:
        """Finds the jobs that have waited too long, and sets ``due_s`` for the next call.

        Returns:
            Those past their deadline; and first attempts that have used half of their time.
        """
        expired: list[Job] = []
        late: list[Job] = []
        self.due_s = float("inf")
        for job in self.jobs:
            if not job.is_open():
                continue
            if job.deadline_s <= now_s:
                expired.append(job)
                continue
            due_s = job.deadline_s
            if job.first is None and not job.has_second and job.kind != MIRROR:
                hedge_s = job.hedge_s(self.sent_s)
                if hedge_s <= now_s:
                    late.append(job)
                due_s = hedge_s
            self.due_s = min(self.due_s, due_s)
        return expired, late


class Channel(ABC):
    """A connection to one replica, or to an engine in this process. It answers batches one after the other."""

    address: ReplicaAddress
    is_local: bool
    is_ready: bool
    is_overdue: bool
    """Whether its batch in flight takes much longer than batches usually do. It gets no second batch meanwhile."""
    is_hung: bool
    """Whether its batch in flight is so late that no caller waits for it any more."""
    max_batch: int
    in_flight: dict[int, Batch]
    replied_s: float
    """When the last reply came. A batch that was sent before that time is computed since that time."""

    @abstractmethod
    def send(self, jobs: Sequence[Job], now_s: float) -> Batch:
        """Sends one batch; the owner is told its result later. Only for a channel that is ready."""

    @abstractmethod
    def close(self) -> None:
        """Closes for good. What is in flight comes back through ``channel_broke``."""


class ChannelOwner(ABC):
    """Gives a channel its work, and is told what becomes of it."""

    @abstractmethod
    def channel_ready(self, channel: Channel) -> None: ...

    @abstractmethod
    def channel_replied(self, channel: Channel, batch: Batch, reply: wire.Reply) -> None: ...

    @abstractmethod
    def channel_broke(self, channel: Channel, batches: Sequence[Batch]) -> None: ...


class ReplicaChannel(Channel):
    """See the module. An `asyncio.Protocol` by its methods.

    Args:
        address: where the replica listens.
        columns: number of columns of the version's rows. A replica with another number is refused.
        token: proves to a replica on another node that we belong to its cluster.
        node_id: this gateway's node. A replica on the same node is reached by its Unix socket.
        owner: told when the channel is ready, has a reply, or broke.
        remote: how a replica of another node is reached, and where it is noted when it goes away.
    """

    def __init__(
        self,
        address: ReplicaAddress,
        columns: int,
        token: bytes,
        node_id: str,
        owner: ChannelOwner,
        remote: RemoteChannels | None = None,
    ) -> None:
        self.address = address
        self._columns = columns
        self._token = token
        self.is_local = bool(address.unix_path) and (address.node_id == node_id or not address.tcp)
        self._owner = owner
        self._remote = remote or RemoteChannels()
        self._reason = ""
        """Why the channel is not open, as it was last logged."""
        self._was_ready = False
        self._transport: asyncio.Transport | None = None
        self._reader = wire.FrameReader()
        self._next_id = 1
        self._is_closed = False
        self._lost = asyncio.Event()
        self.in_flight: dict[int, Batch] = {}
        self.max_batch = address.max_batch
        self.is_ready = False
        self.is_overdue = False
        self.is_hung = False
        self.replied_s = 0.0
        self._task = asyncio.get_running_loop().create_task(self._keep_connected())

    async def _keep_connected(self) -> None:
        pause_s = FIRST_PAUSE_S
        while not self._is_closed:
            try:
                # At most one attempt is under way, and it ends, also where no answer ever comes.
                async with asyncio.timeout(CONNECT_TIMEOUT_S):
                    await self._connect()
            except (OSError, TimeoutError) as error:
                self._note(str(error) or f"no answer within {CONNECT_TIMEOUT_S:g} s")
            else:
                await self._lost.wait()
                self._lost.clear()
                if self._was_ready:  # Else it refuses us each time; that is no reason to hurry.
                    pause_s = FIRST_PAUSE_S
                self._was_ready = False
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * 2, LONGEST_PAUSE_S)

    async def _connect(self) -> None:
        loop = asyncio.get_running_loop()
        if self.is_local:
            await loop.create_unix_connection(lambda: cast(asyncio.Protocol, self), self.address.unix_path)
        else:
            host, _, port = self.address.tcp.rpartition(":")
            options = self._remote.options(self.address.replica_id)
            await loop.create_connection(lambda: cast(asyncio.Protocol, self), host, int(port), **options)

    def _note(self, reason: str) -> None:
        """Logs why the channel is not open, once for each reason."""
        if reason != self._reason:
            self._reason = reason
            log.warning("no channel to %s: %s", self.address.replica_id, reason)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's class does not inherit from it
        if not self.is_local:
            give_up_after(transport.get_extra_info("socket"), LOST_AFTER_S)
        self._reader = wire.FrameReader()
        self._transport.write(wire.encode_hello(self._token))

    def data_received(self, data: bytes) -> None:
        try:
            for frame in self._reader.feed(data):
                if type(frame) is wire.Reply:
                    batch = self.in_flight.pop(frame.request_id, None)
                    if batch is not None:
                        self._owner.channel_replied(self, batch, frame)
                elif type(frame) is wire.HelloAck:
                    self._accept(frame)
        except ChannelError as error:
            self._abort(str(error))

    def _accept(self, ack: wire.HelloAck) -> None:
        if ack.status == wire.Status.CLOSING:
            self._abort("the replica is draining")
        elif ack.status != wire.Status.OK:
            self._abort("the replica refused us; its channel token differs")
        elif ack.columns != self._columns:
            self._abort(f"the replica takes rows of {ack.columns} columns, its version has {self._columns}")
        else:
            self.max_batch = ack.max_batch
            self.is_ready = self._was_ready = True
            self._reason = ""
            self._owner.channel_ready(self)

    def _abort(self, reason: str) -> None:
        self._note(reason)
        if self._transport is not None:
            self._transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        if exc is not None:
            self._note(str(exc) or type(exc).__name__)
        if self.is_ready and not self.is_local and not self._is_closed:
            self._remote.broke(self.address.replica_id)
        self.is_ready = self.is_overdue = self.is_hung = False
        batches = list(self.in_flight.values())
        self.in_flight.clear()
        self._lost.set()
        self._owner.channel_broke(self, batches)

    def send(self, jobs: Sequence[Job], now_s: float) -> Batch:
        batch = Batch(jobs, now_s, len(self.in_flight) + 1)
        request_id = self._next_id
        self._next_id += 1
        self.in_flight[request_id] = batch
        frame = wire.encode_request(request_id, batch.rows, self._columns, batch.left_us, batch.payload())
        if self._transport is not None:  # Else connection_lost is on its way and returns the batch.
            self._transport.write(frame)
        return batch

    def close(self) -> None:
        self._is_closed = True
        self._task.cancel()
        if self._transport is not None:
            self._transport.abort()
