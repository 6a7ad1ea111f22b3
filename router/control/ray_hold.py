"""Takes what is free on some nodes for a moment, so that Ray places nothing there.

Every call here blocks; it is made in a thread.
"""

from __future__ import annotations

from collections.abc import Mapping

from ray.util.placement_group import (
    PlacementGroup,
    get_placement_group,
    placement_group,
    remove_placement_group,
)

HOLD_TIMEOUT_S = 5.0
_NODE_LABEL = "ray.io/node-id"


class RayHold:
    """A placement group that nothing uses.

    It outlives an actor that is started again. So it has a name, and the first call releases what an earlier one held.
    """

    def __init__(self, name: str = "divisions-hold") -> None:
        self._name = name
        self._held: Mapping[str, float] | None = None
        """None while it is not known: in the beginning, and after a call that failed."""
        self._group: PlacementGroup | None = None

    def set(self, cpus: Mapping[str, float]) -> bool:
        """Holds these CPUs of these nodes, and releases everything else; returns whether it holds them.

        If it raises, Ray did not answer. The next call begins with what this one could not do.
        """
        wanted = {node_id: amount for node_id, amount in cpus.items() if amount > 0}
        if wanted == self._held:
            return True
        self._release()
        if not wanted:
            return True
        self._held = None
        self._group = placement_group(
            [{"CPU": amount} for amount in wanted.values()],
            strategy="SPREAD",
            name=self._name,
            bundle_label_selector=[{_NODE_LABEL: node_id} for node_id in wanted],
        )
        if not self._group.wait(timeout_seconds=HOLD_TIMEOUT_S):
            self._release()
            return False
        self._held = wanted
        return True

    def _release(self) -> None:
        group = self._group or self._left_behind() if self._held is None else self._group
        if group is not None:
            remove_placement_group(group)  # Ray takes that of one that is gone, too.
        self._group, self._held = None, {}

    def _left_behind(self) -> PlacementGroup | None:
        try:
            return get_placement_group(self._name)
        except ValueError:  # There is none.
            return None
