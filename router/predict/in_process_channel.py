"""The channel to an engine in this process: frames without a socket. `router.predict.upstream` has the other kind."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Protocol

from divisions import wire
from divisions.control import ReplicaAddress
from router.predict.jobs import Job
from router.predict.upstream import Batch, Channel, ChannelOwner


class InProcessEngine(Protocol):
    """An engine in this process, loaded and warm; `serving.replica.in_process` makes them."""

    engine_name: str

    def answer_quickly(self, request: wire.Request, read_s: float) -> bytes | None:
        """The encoded reply, or None if the batch would hold up the event loop for too long."""
        ...

    def submit(self, request: wire.Request, read_s: float, deliver: Callable[[bytes], None]) -> None:
        """Runs the batch in a thread, which calls ``deliver``."""
        ...

    def delivered(self) -> None:
        """Must be called on the loop for each reply that ``deliver`` got."""
        ...

    def close(self) -> None: ...


class InProcessChannel(Channel):
    """Takes batches like a `router.predict.upstream.ReplicaChannel`, and is always ready."""

    def __init__(
        self,
        address: ReplicaAddress,
        hosted: InProcessEngine,
        columns: int,
        owner: ChannelOwner,
        now_s: Callable[[], float],
    ) -> None:
        self.address = address
        self.hosted = hosted
        self.is_local = True
        self.is_ready = True
        self.is_overdue = False
        self.is_hung = False
        self.replied_s = 0.0
        self.max_batch = address.max_batch
        self.in_flight: dict[int, Batch] = {}
        self._columns = columns
        self._owner = owner
        self._now_s = now_s
        self._next_id = 1
        self._loop = asyncio.get_running_loop()
        self._loop.call_soon(owner.channel_ready, self)

    def send(self, jobs: Sequence[Job], now_s: float) -> Batch:
        batch = Batch(jobs, now_s, len(self.in_flight) + 1)
        request_id = self._next_id
        self._next_id += 1
        self.in_flight[request_id] = batch
        request = wire.Request(request_id, batch.rows, self._columns, batch.left_us, batch.payload())
        # Never from within this call: the caller is still handing out work.
        self._loop.call_soon(self._run, request)
        return batch

    def _run(self, request: wire.Request) -> None:
        read_s = self._now_s()
        reply = self.hosted.answer_quickly(request, read_s)
        if reply is None:
            self.hosted.submit(request, read_s, self._deliver)
        else:
            self._replied(reply)

    def _deliver(self, reply: bytes) -> None:
        """Called in the engine's thread."""
        self._loop.call_soon_threadsafe(self._delivered, reply)

    def _delivered(self, reply: bytes) -> None:
        self.hosted.delivered()
        self._replied(reply)

    def _replied(self, data: bytes) -> None:
        reply = wire.decode_frame(data)
        assert isinstance(reply, wire.Reply)
        batch = self.in_flight.pop(reply.request_id, None)
        if batch is not None:
            self._owner.channel_replied(self, batch, reply)

    def close(self) -> None:
        """Takes no more work. `router.predict.in_process` closes the engine."""
        self.is_ready = False
        batches = list(self.in_flight.values())
        self.in_flight.clear()
        self._owner.channel_broke(self, batches)
