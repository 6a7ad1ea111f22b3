"""All replicas of one version: its queue, its channels, and which of them are free."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Sequence
from typing import Final, cast

from divisions import wire
from divisions.control import EndpointRoute, ReplicaAddress, VersionSpec
from divisions.errors import OverloadedError
from router.predict.decode import RowEncoder
from router.predict.failure_sink import FailureSink
from router.predict.free_channels import FreeChannels
from router.predict.in_process_channel import InProcessChannel, InProcessEngine
from router.predict.jobs import PINNED, Job, JobQueue, Version
from router.predict.partial_replies import split_by_score
from router.predict.remote_channels import RemoteChannels
from router.predict.replica_warmup import ReplicaWarmup
from router.predict.row_sample import RowSample
from router.predict.sending_ahead import SendingAhead
from router.predict.service_time import ServiceTime
from router.predict.tally import MAX_KEYS, TickTally, VersionTally
from router.predict.upstream import Batch, Channel, ChannelOwner, ReplicaChannel

QUEUE_BATCHES: Final = 64
"""The queue holds at most this many full batches per replica,"""

QUEUE_ROWS: Final = 1024
"""or so many rows, where batches are small. Deadlines refuse earlier what cannot be answered in time."""

MARGIN: Final = 1.25
"""Predictions are averages. Without a margin, half of the requests admitted at the limit would be late."""

HUNG_S: Final = 5.0
"""A batch that takes this long, and longer than any of its callers waited, makes its replica count as not ready."""


class Pool(ChannelOwner):
    """See the module.

    A channel has one batch in flight: what arrives meanwhile joins the next batch. Only full batches are sent ahead;
    they travel while the replica computes the ones before. `router.predict.sending_ahead` says how many. Free channels
    take turns, those to replicas of this node first.
    """

    def __init__(
        self,
        spec: VersionSpec,
        encode: RowEncoder,
        sink: FailureSink,
        now_s: Callable[[], float],
        token: bytes,
        node_id: str,
        remote: RemoteChannels | None = None,
    ) -> None:
        self.set_spec(spec, encode)
        self.version = Version(spec.app_name, spec.model.encode(), spec.version.encode(), spec.decision_threshold)
        self.queue = JobQueue()
        self.service_time = ServiceTime()
        self.sending_ahead = SendingAhead()
        self.tally = VersionTally(spec.app_name)
        self.channels: dict[str, Channel] = {}
        self.keeps_keys = False
        """Whether answers are kept with customer and latency: before a rollout, which chooses its salt by them."""
        self.keeps_scores = False
        """Whether answers are kept for the next report: while a rollout compares versions."""
        self.scores: list[bytes] = []
        """Scores of kept answers, little-endian float32."""
        self.is_traced = False
        """Whether jobs are told of their batch before they are answered."""
        self.sample = RowSample()
        """Rows for the measurement of drift."""
        self.warmup: ReplicaWarmup[Channel] = ReplicaWarmup()
        self._sink = sink
        self._now_s = now_s
        self._token = token
        self._node_id = node_id
        self._remote = remote
        self.free = FreeChannels()
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
            if known is not None and (known.address.unix_path, known.address.tcp) != (replica.unix_path, replica.tcp):
                known.close()
                known = None
            if known is None:
                self.channels[replica_id] = ReplicaChannel(
                    replica, self.spec.schema.num_columns, self._token, self._node_id, self, self._remote
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
        self.free.drop(channel)
        if channel.in_flight:
            self._retiring.add(channel)
        else:
            channel.close()

    @property
    def ready_channels(self) -> int:
        """Channels whose replica is connected and does not hang."""
        return sum(channel.is_ready and not channel.is_hung for channel in self.channels.values())

    def predicted_wait_s(self, rows: int) -> float:
        """Seconds until so many rows that join the queue now are answered, by the running fit of batch durations."""
        replicas = max(1, sum(channel.is_ready and not channel.is_overdue for channel in self.channels.values()))
        max_batch = self.max_batch
        batches = math.ceil((self.queue.rows + rows) / max_batch)
        ahead = max([len(each.in_flight) for each in self.channels.values()], default=1) or 1
        full_s = self.service_time.predict_s(min(max_batch, self.queue.rows + rows))
        return full_s * (batches / replicas + ahead)

    def can_hedge(self, job: Job, now_s: float) -> bool:
        """Whether a replica that is not late could answer ``job`` before its deadline, beside a late one."""
        in_flight = [len(each.in_flight) for each in self.channels.values() if each.is_ready and not each.is_overdue]
        if not in_flight:
            return False
        rows = self.queue.rows + job.rows
        batches = math.ceil(rows / (self.max_batch * len(in_flight))) + min(in_flight)
        return now_s + batches * self.service_time.predict_s(min(self.max_batch, rows)) <= job.deadline_s

    def submit(self, job: Job, now_s: float) -> None:
        """Queues a job.

        Raises:
            OverloadedError: it cannot be answered before its deadline, or the queue is full.
        """
        queue = self.queue
        if queue.rows >= self.max_batch:
            self._check(job.rows, self.predicted_wait_s(1), now_s, job.deadline_s)
        queue.add(job)
        if (queue.rows >= self.max_batch or self.free.has_any()) and not self._is_scheduled:
            self._is_scheduled = True
            # After this turn of the loop, so that all that arrives in this turn shares a batch.
            self._loop.call_soon(self._dispatch)

    def check_room(self, rows: int, now_s: float, deadline_s: float) -> None:
        """Raises `OverloadedError` if so many more rows cannot be answered in time, or do not fit into the queue."""
        if self.queue.rows + rows > self.max_batch:
            self._check(rows, self.predicted_wait_s(rows), now_s, deadline_s)

    def _check(self, rows: int, predicted_s: float, now_s: float, deadline_s: float) -> None:
        wait_s = predicted_s * MARGIN
        limit = max(QUEUE_BATCHES * self.max_batch, QUEUE_ROWS) * max(1, len(self.channels))
        if now_s + wait_s > deadline_s or self.queue.rows + rows > limit:
            self.tally.refused += rows
            raise OverloadedError(
                "the endpoint is overloaded",
                remedy="try again after the time that Retry-After names",
                retry_after_s=max(wait_s, 0.001),
            )

    def _dispatch(self) -> None:
        self._is_scheduled = False
        queue, free = self.queue, self.free
        now_s = self._now_s()
        while len(queue):
            channel = free.take()
            if channel is None:
                break
            jobs = queue.form(now_s, channel.max_batch, self.service_time)
            if not jobs:
                free.put_back(channel)
                return
            channel.send(jobs, now_s)
        if queue.rows >= self.max_batch:
            self._send_ahead(now_s)

    def _send_ahead(self, now_s: float) -> None:
        """Gives busy replicas further batches in turn, as long as full batches wait."""
        for number in range(1, self.sending_ahead.most(self.max_batch)):
            for channel in self.channels.values():
                if self.queue.rows < channel.max_batch:
                    return
                if channel.is_ready and not channel.is_overdue and len(channel.in_flight) == number:
                    jobs = self.queue.form(now_s, channel.max_batch, self.service_time)
                    if jobs:
                        channel.send(jobs, now_s)

    def channel_ready(self, channel: Channel) -> None:
        self.warmup.joined(channel, self._now_s())
        self.free.add(channel)
        self._dispatch()

    def channel_replied(self, channel: Channel, batch: Batch, reply: wire.Reply) -> None:
        now_s = self._now_s()
        channel.is_overdue = channel.is_hung = False
        begun_s, channel.replied_s = max(batch.sent_s, channel.replied_s), now_s
        if not channel.in_flight:
            if channel in self._retiring:
                self._retiring.remove(channel)
                channel.close()
            else:
                self.free.add(channel)
        if self.is_traced:
            for job in batch.jobs:
                job.sent_s, job.batch_rows = batch.sent_s, batch.rows
        if reply.status == wire.Status.OK and reply.rows == batch.rows:
            # The next batch leaves before the callers of this one are answered, so that the replica is never idle.
            if len(self.queue):
                self._dispatch()
            self.service_time.observe(batch.rows, now_s - begun_s)
            self.sending_ahead.observe(now_s - batch.sent_s, reply.compute_us * 1e-6, batch.place)
            self.tally.batches += 1
            self.tally.rows += batch.rows
            self._answer(batch.jobs, reply, now_s, is_warming=self.warmup.answered(channel, len(batch.jobs), now_s))
        elif reply.status == wire.Status.PARTIAL and reply.rows == batch.rows:
            good, bad = split_by_score(batch.jobs, reply)
            for job, part in good:
                self._answer([job], part, now_s, is_warming=False)
            self._sink.attempt_failed(self, bad, "the model answered with values that are not numbers")
            self._dispatch()
        elif reply.status == wire.Status.CLOSING:
            self.free.drop(channel)
            self._hand_on(batch.jobs)
        else:
            reason = _reason(reply)
            self._sink.attempt_failed(self, batch.jobs, reason)
            self._dispatch()

    def _hand_on(self, jobs: Sequence[Job]) -> None:
        """A replica that is closing has refused these jobs: another one takes them, as the same attempt."""
        if not self.channels:
            self._sink.attempt_failed(self, jobs, "the replica is closing")
            return
        for job in jobs:
            if job.is_open():
                self.queue.add(job)
        self._dispatch()

    def _answer(self, jobs: Sequence[Job], reply: wire.Reply, now_s: float, *, is_warming: bool) -> None:
        # A tensor that has a batch to itself is answered with the reply's bytes; no score becomes a Python float.
        is_tensor = len(jobs) == 1 and jobs[0].source is not None
        if self.keeps_scores and not is_tensor:
            self._keep_scores(jobs, reply.payload)
        if self.sample.room > 0:
            self.sample.offer(jobs, reply.payload)
        self._count(jobs, reply.compute_us, now_s, is_warming=is_warming)
        view = memoryview(reply.payload).cast("f")
        if is_tensor:
            jobs[0].deliver(view, reply.compute_us, now_s)
            return
        scores = cast(list[float], view.tolist())
        position = 0
        for job in jobs:
            end = position + job.rows
            job.deliver(scores[position:end], reply.compute_us, now_s)
            position = end

    def _count(self, jobs: Sequence[Job], compute_us: int, now_s: float, *, is_warming: bool) -> None:
        """Counts the answers to first attempts, each in the second of its arrival."""
        computed_by: TickTally | None = None
        answers = 0
        for job in jobs:
            tally = job.tally
            if tally is None:
                continue
            job.tally = None
            if is_warming and job.kind != PINNED:
                tally.requests -= 1
                tally = self.tally.at_unjudged(now_s)
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
        if computed_by is not None:
            computed_by.computed.append((compute_us * 1e-6, answers))

    def _keep_scores(self, jobs: Sequence[Job], payload: bytes | memoryview) -> None:
        """Keeps for the next report the scores of what the split sent here, in runs of neighbouring rows."""
        start = position = 0
        for job in jobs:
            end = position + job.rows
            if job.tally is None or job.kind == PINNED:
                if start < position:
                    self.scores.append(bytes(payload[4 * start : 4 * position]))
                start = end
            position = end
        if start < position:
            self.scores.append(bytes(payload[4 * start : 4 * position]))

    def channel_broke(self, channel: Channel, batches: Sequence[Batch]) -> None:
        self.warmup.left(channel)
        self.free.drop(channel)
        self._retiring.discard(channel)
        for batch in batches:
            self._sink.attempt_failed(self, batch.jobs, "the replica went away")

    def expire(self, now_s: float) -> None:
        """Ends attempts at their deadline, and reports those that are late; call it every few milliseconds.

        A replica that hangs keeps its batch, and so gets no further work until it answers.
        """
        expired, late = self.queue.expire(now_s)
        if expired:
            self._sink.attempt_expired(expired, "no replica was free in time")
        if late:
            self._sink.attempt_late(self, late)
        for channel in (*self.channels.values(), *self._retiring):
            if channel.in_flight:
                self._expire_channel(channel, now_s)
        self.free.note_late(self.channels.values())

    def _expire_channel(self, channel: Channel, now_s: float) -> None:
        oldest = next(iter(channel.in_flight.values()))
        expected_s = self.service_time.predict_s(oldest.rows) * MARGIN
        is_late = now_s > max(oldest.sent_s, channel.replied_s) + expected_s
        for batch in list(channel.in_flight.values()):
            if batch.due_s > now_s:
                continue
            expired, late = batch.overdue(now_s)
            if expired:
                self._sink.attempt_expired(expired, "the replica did not answer in time")
            if late and is_late:
                channel.is_overdue = True
                self._sink.attempt_late(self, late)
        if is_late and oldest.due_s == math.inf:
            channel.is_overdue = True
            channel.is_hung = now_s >= oldest.sent_s + HUNG_S

    def retire(self) -> None:
        """Takes the version out of service. Queued jobs go to the failure sink; what is in flight still finishes."""
        for channel in self.channels.values():
            self._retire(channel)
        self.channels.clear()
        waiting = self.queue.drain()
        for job in waiting:
            job.withdraw()  # It was never tried.
        self._sink.attempt_failed(self, waiting, "the version was taken out of service")

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
