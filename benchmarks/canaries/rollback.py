"""When a rollout took the canary's weight back."""

from __future__ import annotations

from divisions.status import RolloutStatus


def zero_weight_at_s(status: RolloutStatus) -> float:
    """Wall-clock time at which the canary's weight was set to zero, from the rollout's own history.

    Raises:
        ValueError: its weight never rose, or never fell to zero again.
    """
    has_risen = False
    for entry in status.history:
        if entry.weight_bp > 0:
            has_risen = True
        elif has_risen:
            return entry.at_s
    raise ValueError(f"the history of {status.canary_version} does not show its weight rise and fall to zero")
