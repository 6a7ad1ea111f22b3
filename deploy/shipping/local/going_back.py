"""The way back to the version before, on a cluster that runs. Pure."""

from __future__ import annotations

from typing import Final

from deploy.shipping.release import Act, Plan, Release, Step
from deploy.shipping.target import Served
from divisions.errors import ConflictError, UnknownVersionError
from divisions.status import RolloutStatus

BACK: Final = "back"
ENDED: Final = frozenset({"PROMOTED", "ROLLED_BACK"})
_RETURNING: Final = frozenset({"ROLLING_BACK", "DRAINING"})


def served(rollout: RolloutStatus | None) -> Served:
    """What an endpoint serves, and what it would go back to: while a rollout runs, the version beside the canary."""
    if rollout is None:
        return Served()
    if rollout.phase not in ENDED:
        return Served(rollout.canary_version or "", rollout.stable_version or "")
    return Served(rollout.stable_version or "", rollout.previous_version or "")


def make_plan(release: Release, rollout: RolloutStatus | None, *, is_watched: bool) -> Plan:
    """The steps that take the release's endpoint back to it. No step if it is served already.

    Raises:
        UnknownVersionError: the endpoint serves nothing, or another model.
        ConflictError: a rollout is under way, and the release is not what it began from.
    """
    if rollout is None or rollout.model != release.model:
        raise UnknownVersionError(
            f"{release.endpoint} serves no version of {release.model}", remedy="deploy one, without --rollback"
        )
    has_ended = rollout.phase in ENDED
    if has_ended and rollout.stable_version == release.version:
        return Plan(())
    if not has_ended and release.version not in {rollout.stable_version, rollout.canary_version}:
        raise ConflictError(
            f"{release.endpoint} is between {rollout.stable_version} and {rollout.canary_version}",
            remedy=f"go back to {rollout.stable_version} first: leave --version out",
        )
    now = rollout.stable_version if has_ended else rollout.canary_version
    is_on_its_way = not has_ended and (
        rollout.canary_version == release.version
        or (rollout.stable_version == release.version and rollout.phase in _RETURNING)
    )
    steps = []
    if not is_on_its_way:
        steps.append(Step(BACK, f"Give all traffic of {release.endpoint} back to {release.version}, at once"))
    if is_watched:
        steps.append(Step("watch", f"Watch {release.endpoint} until it is back", Act.WATCH))
    return Plan(tuple(steps), (f"- {release.endpoint}: {release.model} {now}", f"+ {release.endpoint}: {release}"))
