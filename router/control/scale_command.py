"""An operator's command to scale: which versions it means, and whether it may be. Pure; no I/O."""

from __future__ import annotations

from collections.abc import Sequence

from divisions.control import Placement, RolloutCommand, VersionSpec
from divisions.errors import ConflictError, MalformedRequestError, NoRoomError, UnknownVersionError
from divisions.scaling import MAX_REPLICAS
from router.rollouts import records
from router.rollouts.records import EndpointRecord
from router.scaling import placement
from router.scaling.placement import Node


def sizes(
    record: EndpointRecord, command: RolloutCommand, nodes: Sequence[Node] | None, now_s: float
) -> dict[str, int]:
    """The new numbers of replicas, by application.

    Without a version the command means every version of the endpoint that runs: the canary is to take all traffic
    soon, and a version that is kept warm would have to.

    Args:
        record: the endpoint's.
        command: with ``replicas``.
        nodes: the cluster's; None if they are not known, and then nothing is refused for want of room.
        now_s: wall-clock time.

    Raises:
        MalformedRequestError: the number makes no sense.
        UnknownVersionError: the endpoint does not run that version.
        ConflictError: the version's number cannot be changed so.
        NoRoomError: the cluster cannot hold it, and the command does not force it.
    """
    count = command.replicas
    if count is None or not 1 <= count <= MAX_REPLICAS:
        raise MalformedRequestError(
            f"scale needs replicas from 1 to {MAX_REPLICAS:,}, got {count}",
            remedy="name the number of replicas of each version",
        )
    meant = _meant(record, command.version, now_s)
    for version in meant:
        _check_kind(version, count)
    grown = [version for version in meant if count > version.replicas]
    if nodes is not None and not command.force:
        _check_room(grown, count, nodes)
    return {version.app_name: count for version in meant}


def _meant(record: EndpointRecord, label: str | None, now_s: float) -> list[VersionSpec]:
    running = records.wanted_versions(record, now_s).values()
    meant = [version for version in running if label is None or version.version == label]
    if not meant:
        known = ", ".join(sorted(version.version for version in running)) or "none"
        raise UnknownVersionError(
            f"{record.endpoint} runs no version {label or 'at all'}", remedy=f"its running versions: {known}"
        )
    return meant


def _check_kind(version: VersionSpec, count: int) -> None:
    if version.placement is Placement.IN_PROCESS:
        raise ConflictError(
            f"version {version.version} runs inside the gateways and has no replicas",
            remedy="start more gateways, or deploy it with serving.placement: replicas",
        )
    limits = version.scaling
    if limits is not None and not limits.min <= count <= limits.max:
        raise ConflictError(
            f"version {version.version} is scaled by its load, between {limits.min} and {limits.max} replicas",
            remedy="name a number between them, or change serving.replicas of the pipeline file",
        )


def _check_room(grown: Sequence[VersionSpec], count: int, nodes: Sequence[Node]) -> None:
    taken: list[Node] = list(nodes)
    for version in grown:
        why = placement.lack(taken, version, count - version.replicas)
        if why:
            raise NoRoomError(
                f"version {version.version} cannot have {count} replicas: {why}",
                remedy="add a node, name a smaller number, or repeat with --force if the cluster adds nodes by itself",
            )
        taken = placement.with_replicas(taken, version, count - version.replicas)


def note(record: EndpointRecord, command: RolloutCommand, changed: dict[str, int], now_s: float) -> str:
    """One line about the command, for the history."""
    running = records.wanted_versions(record, now_s)
    which = " and ".join(running[name].version for name in sorted(changed))
    return f"{command.who} scaled {which} to {command.replicas} replicas"
