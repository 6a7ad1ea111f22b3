"""Decides whether and when a crashed cluster is started again. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RestartPolicy:
    """At most ``most`` restarts in ``window_s``, with growing pauses.

    The first crash in the window is followed by a restart at once. Each further one doubles the pause, so that a
    cluster that crashes at every start does not occupy the machine, and a machine that is short of memory for some
    seconds can recover.
    """

    most: int = 5
    window_s: float = 600.0
    pause_s: float = 2.0
    longest_pause_s: float = 30.0


def next_pause_s(crashes_s: Sequence[float], policy: RestartPolicy) -> float | None:
    """Seconds to wait before the next restart; None when there were too many.

    Args:
        crashes_s: when the cluster crashed, in rising order, the present crash last.
        policy: the limits.
    """
    recent = sum(crashes_s[-1] - crash_s < policy.window_s for crash_s in crashes_s)
    if recent > policy.most:
        return None
    return 0.0 if recent == 1 else min(policy.pause_s * 2 ** (recent - 2), policy.longest_pause_s)
