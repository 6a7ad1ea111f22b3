"""Takes what is free on some nodes for a moment, so that Ray places nothing there.

Every call here blocks; it is made in a thread.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping

import ray
from ray.util.placement_group import PlacementGroup, placement_group, remove_placement_group

HOLD_TIMEOUT_S = 5.0
_NODE_LABEL = "ray.io/node-id"


class RayHold:
    """A placement group that nothing uses. Ray removes it when the process that made it ends."""

    def __init__(self) -> None:
        self._held: Mapping[str, float] = {}
        self._group: PlacementGroup | None = None

    def set(self, cpus: Mapping[str, float]) -> bool:
        """Holds these CPUs of these nodes, and releases everything else; returns whether it holds them."""
        wanted = {node_id: amount for node_id, amount in cpus.items() if amount > 0}
        if wanted == self._held:
            return True
        self._release()
        if not wanted:
            return True
        self._group = placement_group(
            [{"CPU": amount} for amount in wanted.values()],
            strategy="SPREAD",
            bundle_label_selector=[{_NODE_LABEL: node_id} for node_id in wanted],
        )
        if not self._group.wait(timeout_seconds=HOLD_TIMEOUT_S):
            self._release()
            return False
        self._held = dict(wanted)
        return True

    def _release(self) -> None:
        group, self._group, self._held = self._group, None, {}
        if group is not None:
            with contextlib.suppress(ray.exceptions.RayError):  # Its nodes may be gone, and it with them.
                remove_placement_group(group)
