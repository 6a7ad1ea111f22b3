"""The steps from what SageMaker has to a release. Pure."""

from __future__ import annotations

from typing import Final

from deploy.shipping.release import Act, Plan, Release, Step
from deploy.shipping.sagemaker.observed import Endpoint, Observed, Situation, Variant, serving_variant, situation
from deploy.shipping.sagemaker.settings import SageMakerSettings
from divisions.errors import ClusterError, LatchedSpecError, UsageError

UPLOAD: Final = "upload"
MODEL: Final = "model"
DELETE: Final = "delete"
CREATE: Final = "create"
ADD: Final = "add"
RETURN: Final = "return"
WATCH: Final = "watch"


def make_plan(
    release: Release,
    name: str,
    settings: SageMakerSettings,
    steps_bp: tuple[int, ...],
    observed: Observed,
    *,
    is_watched: bool,
    is_forced: bool,
) -> Plan:
    """The steps that bring the release, whose model and variant are ``name``, to the endpoint.

    Raises:
        LatchedSpecError: it was rolled back before, and is not forced.
        ConflictError: a rollout of another version is under way.
        ClusterError: the endpoint has failed, and may not be deleted without force.
        UsageError: a rollout that nobody watches.
    """
    endpoint = observed.endpoint
    found = situation(endpoint, name)
    if found is Situation.SERVED:
        return Plan(())
    fresh = f"{settings.instances} × {settings.instance_type} for {release.version}"
    if found is Situation.STARTING:
        return Plan((Step(CREATE, f"Wait for endpoint {settings.endpoint}"),))
    if found in {Situation.ABSENT, Situation.FAILED}:
        steps = [*_failed(endpoint, is_forced), *_made(release, name, settings, observed)]
        steps.append(Step(CREATE, f"Create endpoint {settings.endpoint} with {release} (all traffic at once)"))
        changes = (f"- {settings.endpoint}: nothing", f"+ {settings.endpoint}: {release} ({name})")
        return Plan(tuple(steps), changes, (fresh,))
    assert endpoint is not None, "there is one in every other situation"
    if found is Situation.STABLE:
        return _going_back(release, endpoint)
    if observed.rolled_back and not is_forced:
        raise LatchedSpecError(
            f"{release} was rolled back from {endpoint.name}: {observed.rolled_back}",
            remedy="deploy another version, or repeat this one with --force",
        )
    if not is_watched:
        raise UsageError(
            "a rollout on SageMaker is driven by this command, which must watch it", remedy="leave --no-watch out"
        )
    watch = Step(WATCH, f"Shift {_weights(steps_bp)} of {endpoint.name} to {release.version} and watch it", Act.WATCH)
    if found is Situation.CANARY:
        before = endpoint.variants[0]
        return Plan((watch,), _changes(release, name, endpoint, before), (_beside(fresh, before),))
    before = serving_variant(endpoint)
    add = Step(ADD, f"Add {name} to {endpoint.name}, without traffic")
    steps = [*_made(release, name, settings, observed), add, watch]
    return Plan(tuple(steps), _changes(release, name, endpoint, before), (_beside(fresh, before),))


def _made(release: Release, name: str, settings: SageMakerSettings, observed: Observed) -> list[Step]:
    steps = []
    if not observed.has_upload:
        steps.append(Step(UPLOAD, f"Upload {release.model}-v{release.version}.tar.gz to {settings.bucket}"))
    if not observed.has_model:
        steps.append(Step(MODEL, f"Create model {name}"))
    return steps


def _failed(endpoint: Endpoint | None, is_forced: bool) -> list[Step]:
    if endpoint is None:
        return []
    if not is_forced:
        raise ClusterError(
            f"endpoint {endpoint.name} has failed: {endpoint.failure or 'SageMaker does not say why'}",
            remedy="mend the cause, and deploy with --force, which deletes the endpoint first",
        )
    return [Step(DELETE, f"Delete endpoint {endpoint.name}, which has failed")]


def _going_back(release: Release, endpoint: Endpoint) -> Plan:
    other = endpoint.variants[1]
    step = Step(RETURN, f"Give all traffic back to {release.version}, and remove {other.name}")
    share = endpoint.share_bp(other) / 100
    return Plan((step,), (f"- {endpoint.name}: {other.name} ({share:g} %)", f"+ {endpoint.name}: {release}"))


def _changes(release: Release, name: str, endpoint: Endpoint, before: Variant) -> tuple[str, ...]:
    return f"- {endpoint.name}: {before.name}", f"+ {endpoint.name}: {release} ({name})"


def _beside(fresh: str, before: Variant) -> str:
    return f"{fresh}, beside {before.count} × {before.instance_type} of {before.name} until a while after its promotion"


def _weights(steps_bp: tuple[int, ...]) -> str:
    return " → ".join(f"{each / 100:g} %" for each in steps_bp)
