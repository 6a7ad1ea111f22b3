"""How many full batches a replica is given ahead. Pure.

A reply is seen once in each turn of the gateway's event loop. Under a storm of requests that it must refuse, a turn
takes longer than a small batch does. A replica that has two batches is idle for most of such a turn, answers fewer
requests, and so more must be refused. With more batches in flight it has work for the whole turn.
"""

from __future__ import annotations

import math
from typing import Final

_DECAY: Final = 0.98  # weight of the past per batch: about the last 50 batches count

AT_LEAST: Final = 2
"""Batches in flight at each replica while full batches wait: one is computed, one travels."""

AHEAD_ROWS: Final = 256
"""Rows in flight at most, beyond `AT_LEAST`: they cannot go to another replica any more."""


class SendingAhead:
    """Running means of the time that a batch takes to compute, and of the time that it is under way besides."""

    __slots__ = ("compute_s", "underway_s")

    def __init__(self) -> None:
        self.compute_s = 0.0
        self.underway_s = 0.0

    def observe(self, answered_s: float, compute_s: float, place: int) -> None:
        """Takes one answered batch.

        Args:
            answered_s: seconds from its sending to its reply.
            compute_s: seconds of the replica's engine.
            place: how many batches were in flight when it was sent, itself included.
        """
        self.compute_s += (1 - _DECAY) * (compute_s - self.compute_s)
        underway_s = max(0.0, answered_s - place * compute_s)
        self.underway_s += (1 - _DECAY) * (underway_s - self.underway_s)

    def most(self, max_batch: int) -> int:
        """Batches in flight at one replica, at most: those that it computes while one is under way, and one more."""
        most = max(AT_LEAST, AHEAD_ROWS // max_batch)
        if self.underway_s >= most * self.compute_s:
            return most if self.underway_s else AT_LEAST
        return max(AT_LEAST, min(most, 1 + math.ceil(self.underway_s / self.compute_s)))
