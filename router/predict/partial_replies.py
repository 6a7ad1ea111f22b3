"""Replies in which some scores are no numbers: one row must not cost the other requests of its batch their answers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import cast

import msgspec

from divisions import wire
from router.predict.jobs import Job


def split_by_score(jobs: Sequence[Job], reply: wire.Reply) -> tuple[list[tuple[Job, wire.Reply]], list[Job]]:
    """Cuts a reply by job.

    Args:
        jobs: those of the batch, in order.
        reply: one score per row of the batch, float32.

    Returns:
        Jobs whose scores are all finite, each with its part of the reply, and the other jobs.
    """
    scores = cast(list[float], memoryview(reply.payload).cast("f").tolist())
    good: list[tuple[Job, wire.Reply]] = []
    bad: list[Job] = []
    start = 0
    for job in jobs:
        end = start + job.rows
        if all(map(math.isfinite, scores[start:end])):
            part = msgspec.structs.replace(reply, rows=job.rows, payload=reply.payload[4 * start : 4 * end])
            good.append((job, part))
        else:
            bad.append(job)
        start = end
    return good, bad
