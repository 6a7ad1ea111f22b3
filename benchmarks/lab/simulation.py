"""A cluster of many nodes as a discrete-event simulation. Pure.

It follows the design, event by event:

- A gateway is one event loop. It works in turns: whatever has arrived when a turn begins (requests and replies) is
  handled in it, and at its end batches are formed for all free channels. So a busy gateway makes larger batches.
- A gateway has one channel to every replica, with one batch in flight; a replica on its own node is chosen first. A
  gateway does not know that a replica is busy with another gateway's batch: such a batch waits at the replica.
- A replica works batch by batch, first come first served, in ``replica_batch_s + replica_row_s * rows``.
- Between nodes a frame waits for the sender's network card, then takes ``hop_s``. Replies to callers use the card, too.
- A gateway refuses requests when its queue is full, as `router.predict.pool` does.

Every gateway and replica has a core of its own, and callers and their load balancer cost nothing here. All of a
request's CPU at the gateway is charged when it arrives; the controller is not in a request's way (`controller_share`).
"""

from __future__ import annotations

import heapq
from collections import deque
from dataclasses import dataclass, field

import msgspec
import numpy as np
from numpy.typing import NDArray

QUEUE_BATCHES, QUEUE_ROWS = 64, 1024
"""As in `router.predict.pool`."""
REPORTS_PER_S = 1.0
HEARTBEATS_PER_S = 0.5


class Costs(msgspec.Struct, frozen=True):
    """CPU seconds, measured (`benchmarks.lab.calibration`)."""

    request_s: float
    """Of a gateway for one request, from its bytes to its reply's."""
    turn_s: float
    """Of a gateway for one batch, there and back, and the turns of its loop that this takes."""
    replica_batch_s: float
    replica_row_s: float
    report_s: float
    """Of the controller for one gateway's report."""


class Cluster(msgspec.Struct, frozen=True):
    """What runs where. ``hop_s`` is one way between two nodes; ``nic_bytes_per_s`` is a node's card, outgoing."""

    nodes: int
    gateways_per_node: int = 4
    replicas_per_node: int = 4
    max_batch: int = 256
    hop_s: float = 50e-6
    nic_bytes_per_s: float = 1.25e9
    row_bytes: int = 128
    reply_bytes: int = 400
    prefers_local: bool = True


class Outcome(msgspec.Struct, frozen=True):
    """The result of one load. Shares are of the measured time; of several gateways, replicas or cards, the busiest.

    ``answered_rps`` counts answers within the measured time, whenever their requests came.
    """

    offered_rps: float
    answered_rps: float
    refused: int
    p50_ms: float
    p99_ms: float
    mean_batch: float
    remote_share: float
    gateway_share: float
    replica_share: float
    nic_share: float
    controller_share: float
    requests: int


@dataclass(slots=True, eq=False)
class _Batch:
    gateway: int
    replica: int
    arrived_s: list[float]


@dataclass(slots=True)
class _Gateway:
    arrivals_s: NDArray[np.float64]
    node: int
    free: list[deque[int]]
    """Free channels: to replicas of its own node, and to others."""
    next_arrival: int = 0
    waiting: deque[float] = field(default_factory=deque)
    replies: list[_Batch] = field(default_factory=list)
    is_busy: bool = False
    wakes_s: float = np.inf


@dataclass(slots=True)
class _Replica:
    node: int
    batches: deque[_Batch] = field(default_factory=deque)


_WAKE, _TURN_ENDS, _AT_REPLICA, _REPLICA_DONE, _AT_GATEWAY = range(5)


class Simulation:
    """One run. Callers use `simulate`."""

    def __init__(self, cluster: Cluster, costs: Costs, rate_rps: float, duration_s: float, seed: int) -> None:
        self._cluster = cluster
        self._costs = costs
        self._duration_s = duration_s
        self._warm_s = duration_s / 5
        self._events: list[tuple[float, int, int, int, _Batch | None]] = []
        self._sequence = 0
        rng = np.random.default_rng(seed)
        num_gateways = cluster.nodes * cluster.gateways_per_node
        count = int(rng.poisson(rate_rps * duration_s))
        arrivals_s = np.sort(rng.uniform(0.0, duration_s, count))
        owners = rng.integers(0, num_gateways, count)
        self.offered = count
        self._replicas = [_Replica(node) for node in range(cluster.nodes) for _ in range(cluster.replicas_per_node)]
        self._gateways = [
            _Gateway(arrivals_s[owners == number], number // cluster.gateways_per_node, [deque(), deque()])
            for number in range(num_gateways)
        ]
        for gateway in self._gateways:
            # Each begins with another replica, as channels become ready in any order.
            for index in rng.permutation(len(self._replicas)):
                is_far = self._replicas[index].node != gateway.node or not cluster.prefers_local
                gateway.free[is_far].append(int(index))
        self._queue_limit = max(QUEUE_BATCHES * cluster.max_batch, QUEUE_ROWS) * len(self._replicas)
        self._nic_free_s = [0.0] * cluster.nodes
        self._nic_busy_s = [0.0] * cluster.nodes
        self._gateway_busy_s = [0.0] * num_gateways
        self._replica_busy_s = [0.0] * len(self._replicas)
        self.latencies_s: list[float] = []
        self.refused = 0
        self.answered_all = 0
        self._answered = 0
        self._batches = self._rows = self._remote_batches = 0

    def run(self) -> None:
        """Until the last event of the duration; what is under way then is left."""
        for index in range(len(self._gateways)):
            self._sleep(index, 0.0)
        while self._events:
            now_s, _, kind, index, batch = heapq.heappop(self._events)
            if now_s > self._duration_s:
                break
            if kind == _WAKE:
                if not self._gateways[index].is_busy and self._gateways[index].wakes_s <= now_s:
                    self._begin_turn(index, now_s)
            elif kind == _TURN_ENDS:
                self._end_turn(index, now_s)
            elif kind == _AT_REPLICA:
                assert batch is not None
                self._replicas[index].batches.append(batch)
                if len(self._replicas[index].batches) == 1:
                    self._begin_batch(index, now_s)
            elif kind == _REPLICA_DONE:
                self._end_batch(index, now_s)
            else:
                assert batch is not None
                self._gateways[index].replies.append(batch)
                if not self._gateways[index].is_busy:
                    self._begin_turn(index, now_s)

    # -- gateways -----------------------------------------------------------------------------------------------

    def _begin_turn(self, index: int, now_s: float) -> None:
        gateway, costs = self._gateways[index], self._costs
        gateway.is_busy, gateway.wakes_s = True, np.inf
        last = int(np.searchsorted(gateway.arrivals_s, now_s, side="right"))
        arrived = gateway.arrivals_s[gateway.next_arrival : last].tolist()
        gateway.next_arrival = last
        room = max(0, self._queue_limit - len(gateway.waiting))
        if len(arrived) > room:
            self.refused += len(arrived) - room
        gateway.waiting.extend(arrived[:room])
        ends_s = now_s + costs.turn_s * len(gateway.replies) + costs.request_s * len(arrived)
        self._spend(self._gateway_busy_s, index, now_s, ends_s)
        for batch in gateway.replies:
            self._answer(batch, ends_s)
            gateway.free[self._is_far(gateway, batch.replica)].append(batch.replica)
        gateway.replies.clear()
        self._push(ends_s, _TURN_ENDS, index)

    def _end_turn(self, index: int, now_s: float) -> None:
        gateway, cluster = self._gateways[index], self._cluster
        gateway.is_busy = False
        near, far = gateway.free
        while gateway.waiting and (near or far):
            replica = (near or far).popleft()
            rows = min(cluster.max_batch, len(gateway.waiting))
            batch = _Batch(index, replica, [gateway.waiting.popleft() for _ in range(rows)])
            self._send(batch, now_s)
        if gateway.replies:
            self._begin_turn(index, now_s)
        else:
            self._sleep(index, now_s)

    def _sleep(self, index: int, now_s: float) -> None:
        """Until the next arrival; a reply wakes it, too."""
        gateway = self._gateways[index]
        if gateway.next_arrival < len(gateway.arrivals_s):
            gateway.wakes_s = max(now_s, float(gateway.arrivals_s[gateway.next_arrival]))
            self._push(gateway.wakes_s, _WAKE, index)

    def _is_far(self, gateway: _Gateway, replica: int) -> bool:
        return self._replicas[replica].node != gateway.node or not self._cluster.prefers_local

    def _answer(self, batch: _Batch, now_s: float) -> None:
        self.answered_all += len(batch.arrived_s)
        node = self._gateways[batch.gateway].node
        out_s = self._transmit(node, self._cluster.reply_bytes * len(batch.arrived_s), now_s)
        if out_s < self._warm_s or out_s > self._duration_s:
            return
        self._answered += len(batch.arrived_s)
        self.latencies_s += [out_s - arrived_s for arrived_s in batch.arrived_s]

    # -- replicas -----------------------------------------------------------------------------------------------

    def _begin_batch(self, index: int, now_s: float) -> None:
        rows = len(self._replicas[index].batches[0].arrived_s)
        ends_s = now_s + self._costs.replica_batch_s + self._costs.replica_row_s * rows
        self._spend(self._replica_busy_s, index, now_s, ends_s)
        self._push(ends_s, _REPLICA_DONE, index)

    def _end_batch(self, index: int, now_s: float) -> None:
        replica = self._replicas[index]
        batch = replica.batches.popleft()
        there_s = self._travel(replica.node, self._gateways[batch.gateway].node, 4 * len(batch.arrived_s), now_s)
        self._push(there_s, _AT_GATEWAY, batch.gateway, batch)
        if replica.batches:
            self._begin_batch(index, now_s)

    # -- between them -------------------------------------------------------------------------------------------

    def _send(self, batch: _Batch, now_s: float) -> None:
        here, there = self._gateways[batch.gateway].node, self._replicas[batch.replica].node
        rows = len(batch.arrived_s)
        if now_s >= self._warm_s:
            self._batches += 1
            self._rows += rows
            self._remote_batches += here != there
        there_s = self._travel(here, there, self._cluster.row_bytes * rows, now_s)
        self._push(there_s, _AT_REPLICA, batch.replica, batch)

    def _travel(self, here: int, there: int, size_bytes: int, now_s: float) -> float:
        return now_s if here == there else self._transmit(here, size_bytes, now_s) + self._cluster.hop_s

    def _transmit(self, node: int, size_bytes: int, now_s: float) -> float:
        starts_s = max(now_s, self._nic_free_s[node])
        ends_s = starts_s + size_bytes / self._cluster.nic_bytes_per_s
        self._nic_free_s[node] = ends_s
        self._spend(self._nic_busy_s, node, starts_s, ends_s)
        return ends_s

    def _push(self, at_s: float, kind: int, index: int, batch: _Batch | None = None) -> None:
        self._sequence += 1
        heapq.heappush(self._events, (at_s, self._sequence, kind, index, batch))

    def _spend(self, busy_s: list[float], index: int, from_s: float, to_s: float) -> None:
        busy_s[index] += max(0.0, min(to_s, self._duration_s) - max(from_s, self._warm_s))

    def outcome(self) -> Outcome:
        measured_s = self._duration_s - self._warm_s
        p50_s, p99_s = np.percentile(self.latencies_s, (50, 99)) if self.latencies_s else (np.inf, np.inf)
        return Outcome(
            offered_rps=round(self.offered / self._duration_s, 1),
            answered_rps=round(self._answered / measured_s, 1),
            refused=self.refused,
            p50_ms=round(float(p50_s) * 1e3, 4),
            p99_ms=round(float(p99_s) * 1e3, 4),
            mean_batch=round(self._rows / max(1, self._batches), 2),
            remote_share=round(self._remote_batches / max(1, self._batches), 4),
            gateway_share=round(max(self._gateway_busy_s) / measured_s, 4),
            replica_share=round(max(self._replica_busy_s) / measured_s, 4),
            nic_share=round(max(self._nic_busy_s) / measured_s, 4),
            controller_share=round(controller_share(self._cluster, self._costs), 4),
            requests=self.offered,
        )


def controller_share(cluster: Cluster, costs: Costs) -> float:
    """How busy the one controller is: a report a second of every gateway, a heartbeat every two seconds of every
    replica.

    A heartbeat costs less than a report, but is counted like one.
    """
    messages = cluster.gateways_per_node * REPORTS_PER_S + cluster.replicas_per_node * HEARTBEATS_PER_S
    return cluster.nodes * messages * costs.report_s


def simulate(cluster: Cluster, costs: Costs, rate_rps: float, duration_s: float, seed: int = 0) -> Outcome:
    """Offers Poisson arrivals to the cluster, spread over its gateways at random.

    Args:
        cluster: what runs where.
        costs: what things take.
        rate_rps: requests per second, of all gateways together.
        duration_s: simulated time; its first fifth is warm-up and not counted.
        seed: of the arrivals.
    """
    simulation = Simulation(cluster, costs, rate_rps, duration_s, seed)
    simulation.run()
    return simulation.outcome()
