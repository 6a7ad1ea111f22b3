"""How many replicas the canary gets beside stable, so that neither arm is slow for want of replicas. Pure.

While a rollout compares versions, a replica of the canary must not have more to do than one of stable: it would look
slower than it is. It may have less. And stable keeps what all traffic needs, because a rollback gives it all back.
"""

from __future__ import annotations

import math

from divisions.control import FULL_BP


def canary_replicas(stable_replicas: int, own_need: int, full_need: int, weight_bp: int) -> int:
    """The canary's replicas at a weight.

    Args:
        stable_replicas: stable's, which share the rest of the traffic.
        own_need: what the canary's share of the traffic needs.
        full_need: what all traffic needs; more than that never helps.
        weight_bp: the canary's share.

    >>> canary_replicas(8, own_need=2, full_need=8, weight_bp=2_000), canary_replicas(8, 4, 8, 5_000)
    (2, 8)
    >>> canary_replicas(8, own_need=8, full_need=8, weight_bp=9_700)
    8
    """
    if weight_bp >= FULL_BP:
        return max(own_need, full_need)
    equal = math.ceil(stable_replicas * weight_bp / (FULL_BP - weight_bp))
    return max(own_need, min(equal, max(full_need, stable_replicas)), 1)
