"""The status of every version's number of replicas: how many, why, and what the cluster lacks for it. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType

from divisions.control import Placement, VersionSpec
from divisions.scaling import VersionScale
from router.control.replica_register import ReplicaRegister
from router.rollouts.records import EndpointRecord, shares
from router.scaling import placement
from router.scaling.placement import Cluster

NO_NOTES: Mapping[str, tuple[float | None, str]] = MappingProxyType({})


def rows(
    records: Iterable[EndpointRecord],
    wanted: Mapping[str, VersionSpec],
    register: ReplicaRegister,
    cluster: Cluster | None,
    notes: Mapping[str, tuple[float | None, str]] = NO_NOTES,
) -> tuple[VersionScale, ...]:
    """One row per version that runs in replicas.

    Args:
        records: of all endpoints.
        wanted: the versions that should run, by application, with the numbers that they should have.
        register: the replicas that answer.
        cluster: its nodes, and what waits for one; None if it is not known.
        notes: by application, its utilization and why it has its number.
    """
    roles = {
        share.version.app_name: (record.endpoint, "canary" if share.is_canary else "stable")
        for record in records
        for share in shares(record)
    }
    return tuple(
        _row(version, roles.get(name, ("", "warm")), len(register.ready(name)), cluster, notes.get(name, (None, "")))
        for name, version in sorted(wanted.items())
        if version.placement is Placement.REPLICAS
    )


def _row(
    version: VersionSpec,
    role: tuple[str, str],
    ready: int,
    cluster: Cluster | None,
    note: tuple[float | None, str],
) -> VersionScale:
    return VersionScale(
        app_name=version.app_name,
        endpoint=role[0],
        version=version.version,
        role=role[1],
        ready=ready,
        wanted=version.replicas,
        scaling=version.scaling,
        utilization=note[0],
        note=note[1],
        lacks=lacks(version, ready, cluster),
    )


def lacks(version: VersionSpec, ready: int, cluster: Cluster | None) -> str:
    """What the cluster has too little of for a version's replicas; empty if nothing is known to be missing.

    Replicas that start have their place already; only those that wait for one lack something.
    """
    if cluster is None or version.placement is not Placement.REPLICAS:
        return ""
    missing = min(version.replicas - ready, cluster.num_waiting(version))
    return placement.lack(cluster.nodes, version, missing) if missing > 0 else ""
