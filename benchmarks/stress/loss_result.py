"""What samples and looks at the status say about lost hosts and cut cables of a cluster. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import msgspec
import numpy as np

from benchmarks.harness.machine import Machine
from benchmarks.harness.markdown import markdown_table
from benchmarks.load.http_client import Outcome
from benchmarks.load.samples import Samples


class Loss(msgspec.Struct, frozen=True):
    """What one fault cost, from its moment until everything was whole again.

    ``failed_there`` are requests to the gateways that were lost themselves (of their open and refused connections),
    ``failed_elsewhere`` those to all others. ``undecided_s`` is the longest time without an answer of the controller,
    ``full_strength_s`` the time until every version had all its replicas again, None where it has to wait for the
    host. ``end`` is how the rollout ended that was under way.
    """

    name: str
    seconds: float
    requests_elsewhere: int
    failed_elsewhere: int
    requests_there: int
    failed_there: int
    undecided_s: float
    full_strength_s: float | None
    end: str


class LossesResult(msgspec.Struct, frozen=True, tag="losses"):
    """``rate_rps`` requests per second went to the gateway of each of ``hosts`` hosts, all the time."""

    machine: Machine
    hosts: int
    rate_rps: float
    losses: tuple[Loss, ...]


def loss_of(
    name: str,
    runs: Mapping[str, Samples],
    lost: Collection[str],
    span_s: tuple[float, float],
    answered_s: Sequence[float],
    full_s: float | None,
    end: str,
) -> Loss:
    """Sums one fault up.

    Args:
        name: what was lost.
        runs: the samples of the load on each host's gateway, by host.
        lost: the hosts whose gateways were lost.
        span_s: from the fault until everything was whole again (wall-clock).
        answered_s: when the controller answered (wall-clock), in order.
        full_s: when every version had all its replicas again (wall-clock).
        end: how the rollout ended.
    """
    counts = {True: [0, 0], False: [0, 0]}
    for host, run in runs.items():
        requests, failed = failures_in(run, span_s)
        counts[host in lost][0] += requests
        counts[host in lost][1] += failed
    return Loss(
        name=name,
        seconds=round(span_s[1] - span_s[0], 1),
        requests_elsewhere=counts[False][0],
        failed_elsewhere=counts[False][1],
        requests_there=counts[True][0],
        failed_there=counts[True][1],
        undecided_s=longest_gap_s(answered_s, span_s),
        full_strength_s=None if full_s is None else round(full_s - span_s[0], 1),
        end=end,
    )


def failures_in(run: Samples, span_s: tuple[float, float]) -> tuple[int, int]:
    """How many requests ended or were planned in a span, and how many of them had no 2xx answer."""
    planned_s = run.start_wall_s + run.scheduled_s
    inside = (planned_s + run.latency_s >= span_s[0]) & (planned_s < span_s[1])
    return int(inside.sum()), int((inside & (run.outcome != Outcome.OK)).sum())


def longest_gap_s(answered_s: Sequence[float], span_s: tuple[float, float]) -> float:
    """The longest time without an answer in a span. It may have begun before the span and end after it.

    >>> longest_gap_s([1.0, 2.0, 9.0, 10.0], (2.5, 9.5))
    7.0
    """
    times_s = np.array(answered_s)
    if len(times_s) < 2:
        return round(span_s[1] - span_s[0], 1)
    gaps_s = np.diff(times_s)
    touches = (times_s[1:] > span_s[0]) & (times_s[:-1] < span_s[1])
    return round(float(gaps_s[touches].max(initial=0.0)), 1)


def render_losses(found: LossesResult) -> str:
    rows = [
        [
            one.name,
            f"{one.failed_elsewhere:,} of {one.requests_elsewhere:,}",
            f"{one.failed_there:,} of {one.requests_there:,}" if one.requests_there else "",
            f"{one.undecided_s:.1f}",
            "" if one.full_strength_s is None else f"{one.full_strength_s:.1f}",
            one.end,
        ]
        for one in found.losses
    ]
    head = ("lost", "failed", "failed there", "s without decision", "s to full strength", "the rollout")
    return markdown_table(head, rows)
