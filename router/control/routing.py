"""Makes the routing table and the rows of ``divisions status`` from records and heartbeats. Pure; no I/O."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType

from divisions.control import EndpointRoute, Placement, ReplicaAddress, VersionRoute, VersionSpec
from divisions.status import ReplicaStatus
from router.control.replica_register import LOST_AFTER_S, ReplicaRegister
from router.rollouts import canary
from router.rollouts.canary import Capacity
from router.rollouts.records import EndpointRecord, Share, needs_key, shares, trial_bp


def endpoints(records: Mapping[str, EndpointRecord], register: ReplicaRegister) -> tuple[EndpointRoute, ...]:
    """The routing table's entries; an endpoint whose first version is not warm yet has none."""
    return tuple(_endpoint(record, register) for _, record in sorted(records.items()) if shares(record))


def _endpoint(record: EndpointRecord, register: ReplicaRegister) -> EndpointRoute:
    rollout = record.rollout
    is_compared = not canary.is_finished(rollout.state) and rollout.stable is not None
    analysis = rollout.spec.analysis
    return EndpointRoute(
        record.endpoint,
        rollout.salt,
        tuple(_route(share, register) for share in shares(record)),
        trial_bp(record),
        canary.mirror_bp(rollout.state, rollout.policy),
        analysis.warmup_s if is_compared else 0.0,
        analysis.warmup_requests if is_compared else 0,
        needs_key(record),
    )


def _route(share: Share, register: ReplicaRegister) -> VersionRoute:
    replicas = register.routable(share.version.app_name)
    return VersionRoute(share.version, share.weight_bp, share.is_canary, replicas)


def capacity(version: VersionSpec, register: ReplicaRegister, num_gateways: int) -> Capacity:
    """How many replicas are ready, of how many wanted. A version that gateways run themselves wants one in each."""
    is_hosted = version.placement is Placement.IN_PROCESS
    return Capacity(len(register.ready(version.app_name)), max(1, num_gateways) if is_hosted else version.replicas)


def hosted(wanted: Mapping[str, VersionSpec]) -> tuple[VersionSpec, ...]:
    """The versions that gateways are to run themselves."""
    return tuple(version for _, version in sorted(wanted.items()) if version.placement is Placement.IN_PROCESS)


def replica_statuses(
    records: Iterable[EndpointRecord],
    wanted: Mapping[str, VersionSpec],
    register: ReplicaRegister,
    now_s: float,
    reasons: Mapping[str, str] = MappingProxyType({}),
) -> tuple[ReplicaStatus, ...]:
    """One row per replica with a heartbeat in the last minute; ``now_s`` is wall-clock time.

    A silent replica of a version that is no longer wanted has ended as planned. It gets no row that says "Lost".
    """
    routed = {share.version.app_name: share for record in records for share in shares(record)}
    known = [
        _replica_status(address, routed.get(address.app_name), wanted.get(address.app_name), register, now_s, reasons)
        for address in register.known()
        if (address.app_name in wanted and not _has_left(register, address)) or register.is_ready(address.replica_id)
    ]
    told = {address.app_name for address in register.known()}
    return *known, *(
        _failing(version, routed.get(name), reasons[name])
        for name, version in sorted(wanted.items())
        if name not in told and reasons.get(name)
    )


def _failing(version: VersionSpec, share: Share | None, reason: str) -> ReplicaStatus:
    """The row of a version that has never had a replica."""
    return ReplicaStatus(
        name=version.app_name,
        ready=False,
        status="Failing",
        restarts=0,
        age_s=0.0,
        ip="",
        node="",
        gpu=version.gpu,
        version=version.version,
        role=_role(share, version),
        weight_bp=share.weight_bp if share else 0,
        pid=0,
        engine="",
        reason=reason,
    )


def _replica_status(
    address: ReplicaAddress,
    share: Share | None,
    version: VersionSpec | None,
    register: ReplicaRegister,
    now_s: float,
    reasons: Mapping[str, str],
) -> ReplicaStatus:
    is_ready = register.is_ready(address.replica_id)
    is_leaving = register.is_leaving(address.replica_id)
    return ReplicaStatus(
        name=address.replica_id,
        ready=is_ready,
        status="Terminating" if is_leaving else _status(is_ready, version is not None),
        restarts=max(0, register.num_ever(address.app_name) - version.replicas) if version else 0,
        age_s=max(0.0, now_s - address.started_at_s),
        ip=address.tcp.rpartition(":")[0] or "unix",
        node=address.node_id,
        gpu=version.gpu if version else "",
        version=version.version if version else address.app_name.rpartition("-v")[2],
        role=_role(share, version),
        weight_bp=share.weight_bp if share else 0,
        pid=address.pid,
        engine=address.engine,
        engine_note=address.engine_note,
        reason="" if is_ready or is_leaving else reasons.get(address.app_name) or _SILENT,
    )


def _has_left(register: ReplicaRegister, address: ReplicaAddress) -> bool:
    """A replica that is silent after its farewell has ended as planned."""
    return register.is_leaving(address.replica_id) and register.is_silent(address.replica_id)


_SILENT = f"no heartbeat for more than {LOST_AFTER_S:g} s"


def _status(is_ready: bool, is_wanted: bool) -> str:
    if not is_ready:
        return "Lost"
    return "Running" if is_wanted else "Terminating"


def _role(share: Share | None, version: VersionSpec | None) -> str:
    if share is not None:
        return "canary" if share.is_canary else "stable"
    return "warm" if version is not None else "idle"
