"""This process's own connection to Ray."""

from __future__ import annotations

import ray


def leave_ray() -> None:
    """Disconnects, if connected: a process that stays connected dies with the cluster's head."""
    if ray.is_initialized():
        ray.shutdown()
