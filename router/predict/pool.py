"""All replicas of one version: its queue, its channels, and which of them are free."""

from __future__ import annotations

import asyncio
import math
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final, cast

from divisions import wire
from divisions.control import EndpointRoute, ReplicaAddress, VersionSpec
from divisions.errors import OverloadedError
from router.predict.decode import RowEncoder
from router.predict.in_process_channel import InProcessChannel, InProcessEngine
from router.predict.jobs import Job, JobQueue, Version
from router.predict.replica_warmup import ReplicaWarmup
from router.predict.service_time import ServiceTime
from router.predict.tally import MAX_KEYS, TickTally, VersionTally
from router.predict.upstream import Batch, Channel, ChannelOwner, ReplicaChannel

QUEUE_BATCHES: Final = 64
"""The queue holds at most this many full batches per replica."""


MARGIN: Final = 1.25
"""Predictions are averages. Without a margin, half of the requests admitted at the limit would be late."""


class FailureSink(ABC):
    """Takes the jobs whose attempt failed."""

    @abstractmethod
    def attempt_failed(self, pool: Pool, jobs: Sequence[Job], reason: str) -> None: ...


class Pool(ChannelOwner):
    """See the module.

    A channel has one batch in flight: what arrives meanwhile joins the next batch. Only a full batch is sent ahead; it
    travels while the replica computes the one before. Free channels take turns.
    """

    def __init__(
        self,
        spec: VersionSpec,
        encode: RowEncoder,
        sink: FailureSink,
        now_s: Callable[[], float],
        token: bytes,
        node_id: str,
    ) -> None:
        self.set_spec(spec, encode)
        self.version = Version(spec.app_name, spec.model.encode(), spec.version.encode())
        self.queue = JobQueue()
        self.service_time = ServiceTime()
        self.tally = VersionTally(spec.app_name)
        self.channels: dict[str, Channel] = {}
        self.keeps_keys = False
        """Whether answers are kept with customer and latency: before a rollout, which chooses its salt by them."""
        self.keeps_scores = False
        """Whether answers are kept for the next report: while a rollout compares versions."""
        self.scores: list[bytes] = []
        """Scores of kept answers, little-endian float32."""
        self.warmup: ReplicaWarmup[Channel] = ReplicaWarmup()
        self._sink = sink
        self._now_s = now_s
        self._token = token
        self._node_id = node_id
        self._free: deque[Channel] = deque()
        self._retiring: set[Channel] = set()
        self._loop = asyncio.get_running_loop()
        self._is_scheduled = False

    def set_spec(self, spec: VersionSpec, encode: RowEncoder) -> None:
        """Takes what a routing table says of the version, and the encoder of its rows."""
        self.spec = spec
        self.max_batch = spec.max_batch
        self.encode = encode

    def follow(self, route: EndpointRoute) -> None:
        """Sets what is kept of answers, by the routing table's entry for the endpoint.

        Before a rollout these are customers and latencies of stable, during one the scores of both versions.
        """
        canary = next((version for version in route.versions if version.is_canary), None)
        is_canary = canary is not None and canary.version.app_name == self.spec.app_name
        self.keeps_keys = not is_canary and (canary is None or canary.weight_bp == 0)
        self.keeps_scores = canary is not None
        if canary is None:
            self.scores.clear()
        self.warmup.warmup_s, self.warmup.warmup_requests = route.warmup_s, route.warmup_requests

    def set_replicas(self, replicas: Sequence[ReplicaAddress]) -> None:
        """Opens channels to new replicas and closes channels to replicas that are gone."""
        wanted = {replica.replica_id: replica for replica in replicas}
        for replica_id in self.channels.keys() - wanted.keys():
            self._retire(self.channels.pop(replica_id))
        for replica_id, replica in wanted.items():
            known = self.channels.get(replica_id)
            if known is not None and known.address.unix_path != replica.unix_path:
                known.close()
                known = None
            if known is None:
                self.channels[replica_id] = ReplicaChannel(
                    replica, self.spec.schema.num_columns, self._token, self._node_id, self
                )

    def set_hosted(self, hosted: tuple[ReplicaAddress, InProcessEngine] | None) -> None:
        """For a version in this gateway's own process: uses its engine, once it is loaded."""
        for replica_id, channel in list(self.channels.items()):
            if hosted is None or not isinstance(channel, InProcessChannel) or channel.hosted is not hosted[1]:
                self._retire(self.channels.pop(replica_id))
        if hosted is not None and hosted[0].replica_id not in self.channels:
            address, engine = hosted
            self.channels[address.replica_id] = InProcessChannel(
                address, engine, self.spec.schema.num_columns, self, self._now_s
            )

    def _retire(self, channel: Channel) -> None:
        """Closes a channel once what it has in flight is answered."""
        if channel in self._free:
            self._free.remove(channel)
        if channel.in_flight:
            self._retiring.add(channel)
        else:
            channel.close()

    @property
    def ready_channels(self) -> int:
        """Channels that would get work."""
        return sum(channel.is_ready and not channel.is_overdue for channel in self.channels.values())

    def predicted_wait_s(self) -> float:
        """Seconds until a job that joins the queue now is answered, by the running fit of batch durations."""
        replicas = max(1, self.ready_channels)
        max_batch = self.max_batch
        batches = math.ceil((self.queue.rows + 1) / max_batch)
        ahead = max([len(each.in_flight) for each in self.channels.values()], default=1) or 1
        full_s = self.service_time.predict_s(min(max_batch, self.queue.rows + 1))
        return full_s * (batches / replicas + ahead)

    def submit(self, job: Job, now_s: float) -> None:
        """Queues a job.

        Raises:
            OverloadedError: it cannot be answered before its deadline, or the queue is full.
        """
        queue = self.queue
        if queue.rows >= self.max_batch:
            self._admit(job, now_s)
        queue.add(job)
        if (self._free or queue.rows >= self.max_batch) and not self._is_scheduled:
            self._is_scheduled = True
            # After this turn of the loop, so that all that arrives in this turn shares a batch.
            self._loop.call_soon(self._dispatch)

    def _admit(self, job: Job, now_s: float) -> None:
        wait_s = self.predicted_wait_s() * MARGIN
        limit = QUEUE_BATCHES * self.max_batch * max(1, len(self.channels))
        if now_s + wait_s > job.queue_deadline_s or self.queue.rows + job.rows > limit:
            raise OverloadedError(
                "the endpoint is overloaded",
                remedy="try again after the time that Retry-After names",
                retry_after_s=max(wait_s, 0.001),
            )

    def _dispatch(self) -> None:
        self._is_scheduled = False
        queue, free = self.queue, self._free
        now_s = self._now_s()
        while free and len(queue):
            channel = free.popleft()
            if not channel.is_ready:
                continue
            if not channel.is_local:
                channel = self._nearer(channel)
            jobs = queue.form(now_s, channel.max_batch, self.service_time)
            if not jobs:
                free.appendleft(channel)
                return
            channel.send(jobs, now_s)
        if queue.rows >= self.max_batch:
            self._send_ahead(now_s)

    def _send_ahead(self, now_s: float) -> None:
        """Gives each busy replica a second batch, as long as full batches wait."""
        for channel in self.channels.values():
            if self.queue.rows < channel.max_batch:
                return
            if channel.is_ready and not channel.is_overdue and len(channel.in_flight) == 1:
                jobs = self.queue.form(now_s, channel.max_batch, self.service_time)
                if jobs:
                    channel.send(jobs, now_s)

    def _nearer(self, remote: Channel) -> Channel:
        """A free channel to a replica on this node, if there is one; it saves a network hop."""
        for channel in self._free:
            if channel.is_local and channel.is_ready:
                self._free.remove(channel)
                self._free.append(remote)
                return channel
        return remote

    def channel_ready(self, channel: Channel) -> None:
        self.warmup.joined(channel, self._now_s())
        self._free.append(channel)
        self._dispatch()

    def channel_replied(self, channel: Channel, batch: Batch, reply: wire.Reply) -> None:
        now_s = self._now_s()
        channel.is_overdue = False
        begun_s, channel.replied_s = max(batch.sent_s, channel.replied_s), now_s
        if not channel.in_flight:
            if channel in self._retiring:
                self._retiring.remove(channel)
                channel.close()
            else:
                self._free.append(channel)
        if reply.status == wire.Status.OK and reply.rows == batch.rows:
            # The next batch leaves before the callers of this one are answered, so that the replica is never idle.
            if len(self.queue):
                self._dispatch()
            self.service_time.observe(batch.rows, now_s - begun_s)
            self._answer(batch, reply, now_s, is_warming=self.warmup.answered(channel, len(batch.jobs), now_s))
        elif reply.status == wire.Status.CLOSING:
            if channel in self._free:
                self._free.remove(channel)
            self._sink.attempt_failed(self, batch.present_jobs(), "the replica is closing")
        else:
            reason = _reason(reply)
            self._sink.attempt_failed(self, batch.present_jobs(), reason)
            self._dispatch()

    def _answer(self, batch: Batch, reply: wire.Reply, now_s: float, *, is_warming: bool) -> None:
        view = memoryview(reply.payload).cast("f")
        # A tensor that has a batch to itself is answered with the reply's bytes; no score becomes a Python float.
        is_tensor = len(batch.jobs) == 1 and batch.jobs[0].source is not None
        scores = [] if is_tensor else cast(list[float], view.tolist())
        kept_from = 0  # begin of the present run of rows whose scores are kept
        compute_us = reply.compute_us
        computed_by: TickTally | None = None
        answers = 0
        position = 0
        for job in batch.jobs:
            end = position + job.rows
            is_kept = False
            if not job.is_done and job.version is self.version:
                job.is_done = True
                is_kept = not (is_tensor or job.is_pinned)
                part: Sequence[float] = view if is_tensor else scores[position:end]
                tally = job.tally
                if is_warming and tally is not None and not job.is_pinned:
                    tally.requests -= 1
                    tally = self.tally.at_unjudged(now_s)
                if tally is not None:
                    if tally is not computed_by:  # Few batches hold requests of two different seconds.
                        if computed_by is not None:
                            computed_by.computed.append((compute_us * 1e-6, answers))
                        computed_by, answers = tally, 0
                    answers += 1
                    latency_s = now_s - job.arrived_s
                    tally.latencies_s.append(latency_s)
                    if self.keeps_keys and len(tally.keys) < MAX_KEYS:
                        tally.keys.append(job.key)
                        tally.key_latencies_s.append(latency_s)
                job.batch = None  # Ends the cycle of batch and job: see `Exchange`.
                job.answer.answered(job, part, compute_us, now_s)
            if not is_kept:
                self._keep_scores(reply, kept_from, position)
                kept_from = end
            position = end
        self._keep_scores(reply, kept_from, position)
        if computed_by is not None:
            computed_by.computed.append((compute_us * 1e-6, answers))

    def _keep_scores(self, reply: wire.Reply, start: int, stop: int) -> None:
        """Keeps the scores of some of a reply's rows for the next report."""
        if self.keeps_scores and start < stop:
            self.scores.append(bytes(reply.payload[4 * start : 4 * stop]))

    def channel_broke(self, channel: Channel, batches: Sequence[Batch]) -> None:
        self.warmup.left(channel)
        if channel in self._free:
            self._free.remove(channel)
        self._retiring.discard(channel)
        for batch in batches:
            self._sink.attempt_failed(self, batch.present_jobs(), "the replica went away")

    def expire(self, now_s: float) -> None:
        """Gives up attempts that are out of time, queued or in flight.

        The batch of a hung replica keeps its slot, so the replica gets no further work.
        """
        late = self.queue.expire(now_s)
        if late:
            self._sink.attempt_failed(self, late, "no replica was free in time")
        for channel in (*self.channels.values(), *self._retiring):
            for batch in channel.in_flight.values():
                if batch.due_s <= now_s:
                    channel.is_overdue = True
                    mine = batch.present_jobs()
                    # No attempt follows a second one, so a second one may take until the deadline.
                    late = [job for job in mine if not job.is_retry or job.deadline_s <= now_s]
                    batch.due_s = min((job.deadline_s for job in mine if job not in late), default=math.inf)
                    self._sink.attempt_failed(self, late, "the replica did not answer in time")

    def retire(self) -> None:
        """Takes the version out of service. Queued jobs go to the failure sink; what is in flight still finishes."""
        for channel in self.channels.values():
            self._retire(channel)
        self.channels.clear()
        self._sink.attempt_failed(self, self.queue.drain(), "the version was taken out of service")

    def close(self) -> None:
        """Ends every channel now."""
        for channel in (*self.channels.values(), *self._retiring):
            channel.close()

    @property
    def is_idle(self) -> bool:
        """Whether nothing waits or is in flight any more."""
        return not self.queue and not self._retiring and not any(each.in_flight for each in self.channels.values())


def _reason(reply: wire.Reply) -> str:
    if reply.status == wire.Status.EXPIRED:
        return "the replica had no time left for it"
    return "the replica failed"
