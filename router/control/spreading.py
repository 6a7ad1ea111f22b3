"""The versions as `router.scaling.moves` sees them, and the numbers of replicas that a move changes. No I/O."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from divisions.control import FULL_BP, Placement, VersionSpec
from router.control.endpoints import Endpoints
from router.control.replica_register import ReplicaRegister
from router.rollouts import canary
from router.rollouts.records import EndpointRecord, shares
from router.scaling.moves import Moves
from router.scaling.placement import Cluster
from router.scaling.spread import Standing


class Spreading:
    """See the module.

    Args:
        endpoints: the records.
        register: the replicas that answer.

    Attributes:
        moves: decides; the shell asks it what to hold, replicas whether they shall go.
    """

    def __init__(self, endpoints: Endpoints, register: ReplicaRegister) -> None:
        self._endpoints = endpoints
        self._register = register
        self.moves = Moves()

    def step(self, cluster: Cluster | None, now_s: float) -> None:
        """Once a second."""
        self.moves.step(self._standings(), cluster, now_s)

    def told(self, wanted: Mapping[str, VersionSpec]) -> dict[str, VersionSpec]:
        """What Ray Serve is told to run: one more of the version that is being moved."""
        return {
            name: msgspec.structs.replace(version, replicas=version.replicas + self.moves.extra(name))
            for name, version in wanted.items()
        }

    def notes(self, sizes: Mapping[str, tuple[float | None, str]]) -> dict[str, tuple[float | None, str]]:
        """The notes on numbers, with what is said of moves."""
        notes = dict(sizes)
        for name, said in self.moves.notes().items():
            utilization, why = notes.get(name, (None, ""))
            notes[name] = utilization, "; ".join(part for part in (why, said) if part)
        return notes

    def _standings(self) -> dict[str, Standing]:
        return {
            name: Standing(version, self._replicas(name), self._is_idle(name))
            for name, version in self._endpoints.wanted().items()
            if version.placement is Placement.REPLICAS
        }

    def _replicas(self, app_name: str) -> dict[str, str]:
        ready = sorted(self._register.ready(app_name), key=lambda one: (one.started_at_s, one.replica_id))
        return {one.replica_id: one.node_id for one in ready}

    def _is_idle(self, app_name: str) -> bool:
        users = [record for record in self._endpoints.records.values() if _uses(record, app_name)]
        return bool(users) and all(map(_is_at_rest, users))


def _uses(record: EndpointRecord, app_name: str) -> bool:
    return any(share.version.app_name == app_name and share.weight_bp for share in shares(record))


def _is_at_rest(record: EndpointRecord) -> bool:
    is_over = canary.is_finished(record.rollout.state) and record.queued is None
    return is_over and [share.weight_bp for share in shares(record)] == [FULL_BP]
