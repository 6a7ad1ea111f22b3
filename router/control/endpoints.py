"""Every endpoint's record, and the questions that need the replicas and the gateways too. No I/O."""

from __future__ import annotations

import msgspec

from divisions.clock import Clock
from divisions.control import VersionSpec
from divisions.errors import UnknownVersionError
from router.control import analyses, routing
from router.control.replica_register import ReplicaRegister
from router.rollouts import records
from router.rollouts.monitor import Arms, Monitor
from router.rollouts.records import EndpointRecord
from router.rollouts.states import Capacity


class Endpoints:
    """The controller's view of the cluster.

    Args:
        register: the replicas that send heartbeats.
        monitor: the gateways that report, and what they count.
        clock: the time.

    Attributes:
        records: by endpoint; only `router.control.driver` replaces them.
    """

    def __init__(self, register: ReplicaRegister, monitor: Monitor, clock: Clock) -> None:
        self._register = register
        self._monitor = monitor
        self._clock = clock
        self.records: dict[str, EndpointRecord] = {}

    def record(self, endpoint: str) -> EndpointRecord:
        """The endpoint's record.

        Raises:
            UnknownVersionError: there is no such endpoint.
        """
        record = self.records.get(endpoint)
        if record is None:
            known = ", ".join(sorted(self.records)) or "none"
            raise UnknownVersionError(f"no endpoint {endpoint!r}", remedy=f"endpoints: {known}")
        return record

    def arms(self, endpoint: str) -> Arms | None:
        """The versions that the endpoint's rollout compares now; None when it compares none."""
        record = self.records.get(endpoint)
        return analyses.arms(record) if record is not None else None

    def capacity(self, version: VersionSpec | None) -> Capacity:
        """A version's replicas: how many answer, of how many wanted; nothing for no version."""
        if version is None:
            return Capacity()
        gateways = self._monitor.gateways(self._clock.monotonic_s())
        return routing.capacity(self.sized(version), self._register, num_gateways=len(gateways))

    def num_ready(self, app_name: str) -> int:
        """How many replicas of an application answer."""
        return len(self._register.ready(app_name))

    def sized(self, version: VersionSpec) -> VersionSpec:
        """The version with the number of replicas that it should have now."""
        sizes = [record.sizes.get(version.app_name, 0) for record in self.records.values()]
        count = max(sizes, default=0)
        return msgspec.structs.replace(version, replicas=count) if count else version

    def wanted(self) -> dict[str, VersionSpec]:
        """The versions whose replicas should run, by application name."""
        now_s = self._clock.wall_s()
        versions: dict[str, VersionSpec] = {}
        for record in self.records.values():
            for name, version in records.wanted_versions(record, now_s).items():
                known = versions.get(name)  # Two endpoints may serve one version.
                versions[name] = version if known is None or known.replicas <= version.replicas else known
        return versions

    def production(self) -> dict[str, VersionSpec]:
        """The version that serves, by model."""
        stables = (records.stable_version(record) for record in self.records.values())
        return {stable.model: stable for stable in stables if stable is not None}
