"""Admission of new rollouts: a spec must make sense, and must fit the endpoint's present rollout. Pure."""

from __future__ import annotations

import itertools
import math

from divisions.analysis_spec import GUARDS, NOT_NEGATIVE, AnalysisSpec
from divisions.control import FULL_BP, RolloutSpec, VersionSpec
from divisions.errors import (
    ConflictError,
    FaultsRefusedError,
    LatchedSpecError,
    MalformedRequestError,
    SchemaMismatchError,
)
from divisions.names import LABEL_RULE, NAME_RULE, is_label, is_name
from divisions.scaling import MAX_REPLICAS, MAX_SCALE_DOWN_S
from router.rollouts import canary
from router.rollouts.records import EndpointRecord, spec_sha256, stable_version


def check(spec: RolloutSpec, record: EndpointRecord | None, *, is_forced: bool, allow_faults: bool) -> None:
    """Refuses a rollout that cannot or must not start.

    Args:
        spec: the requested rollout.
        record: its endpoint's record; None for a new endpoint.
        is_forced: whether a spec that was rolled back may start again.
        allow_faults: whether versions may ask for fault injection.

    Raises:
        MalformedRequestError: the spec makes no sense.
        FaultsRefusedError: it asks for faults, and they are not allowed.
        LatchedSpecError: the same spec was rolled back before, and it is not forced.
        ConflictError: the same spec is under way, or its version serves already.
        SchemaMismatchError: its features do not fit those of the version that serves.
    """
    check_spec(spec)
    if spec.version.faults is not None and not allow_faults:
        raise FaultsRefusedError(
            f"version {spec.version.version} asks for fault injection, which this cluster does not allow",
            remedy="start the cluster with DIVISIONS_ALLOW_FAULTS=1, never in production",
        )
    if record is not None:
        _check_against(record, spec, is_forced=is_forced)


def _check_against(record: EndpointRecord, spec: RolloutSpec, *, is_forced: bool) -> None:
    version = spec.version.version
    digest = spec_sha256(spec)
    if not canary.is_finished(record.rollout.state) and digest == record.rollout.spec_sha256:
        raise ConflictError(f"version {version} is being rolled out already", remedy="see its status")
    stable = stable_version(record)
    if stable is not None and stable.app_name == spec.version.app_name:
        raise ConflictError(f"version {version} serves {spec.endpoint} already", remedy="deploy another version")
    if digest in record.latched and not is_forced:
        raise LatchedSpecError(
            f"this rollout of version {version} was rolled back before: {record.rollout.rollback_reason}",
            remedy="repeat with --force if its cause is gone",
        )
    if stable is not None:
        check_schemas(stable, spec.version)


def check_schemas(stable: VersionSpec, new: VersionSpec) -> None:
    """Refuses a version that cannot take the requests of the version that serves.

    Callers send one body to the endpoint, whichever version answers. So a column has one kind, and one column names the
    customer. Further columns and columns that are gone do no harm.

    Raises:
        SchemaMismatchError: naming the column, both kinds, and the key of the pipeline file.
    """
    served = {feature.name: feature.kind for feature in stable.schema.features}
    for feature in new.schema.features:
        kind = served.get(feature.name, feature.kind)
        if kind is not feature.kind:
            raise SchemaMismatchError(
                f"column {feature.name!r} is {feature.kind.value} in version {new.version}, "
                f"but {kind.value} in {stable.version}, which serves",
                remedy=f"declare it in the pipeline file (`features: {kind.value}: [{feature.name}]`) and train again, "
                "or deploy under another endpoint",
            )
    if stable.schema.entity != new.schema.entity:
        raise SchemaMismatchError(
            f"customers are named by {new.schema.entity!r} in version {new.version}, "
            f"but by {stable.schema.entity!r} in {stable.version}, which serves",
            remedy=f"declare it in the pipeline file (`features: entity: {stable.schema.entity}`) and train again, "
            "or deploy under another endpoint",
        )


def check_spec(spec: RolloutSpec) -> None:
    """Refuses a spec that makes no sense.

    Raises:
        MalformedRequestError: naming the field, the value and what it should be.
    """
    if not is_name(spec.endpoint):
        raise MalformedRequestError(f"that cannot be an endpoint: names are {NAME_RULE}", remedy="write it like churn")
    for what, text in (("model", spec.version.model), ("version", spec.version.version)):
        if not is_label(text):
            raise MalformedRequestError(f"version.{what} must be {LABEL_RULE}", remedy="write it like churn or 3.2")
    if problem := spec.policy.problem():
        raise MalformedRequestError(f"policy: {problem}", remedy="see docs/approval.md")
    steps = spec.steps_bp
    rising = all(low < high for low, high in itertools.pairwise(steps))
    if not steps or not rising or steps[0] <= 0 or steps[-1] != FULL_BP:
        raise MalformedRequestError(
            f"steps must rise from above 0 to {FULL_BP:,} bp, got {list(steps)}", remedy="for example 2000, 5000, 10000"
        )
    if spec.rollback_policy not in {"auto", "hold"}:
        raise MalformedRequestError(f"rollback_policy must be auto or hold, got {spec.rollback_policy!r}")
    if not 1 <= spec.version.replicas <= MAX_REPLICAS:
        raise MalformedRequestError(
            f"a version needs at least one replica and at most {MAX_REPLICAS:,}, got {spec.version.replicas}"
        )
    _check_resources(spec.version)
    _check_scaling(spec.version)
    _check_analysis(spec.analysis)


def _check_resources(version: VersionSpec) -> None:
    for name in ("num_cpus", "num_gpus", "registry_version"):
        if getattr(version, name) < 0:
            raise MalformedRequestError(f"version.{name} must be a number from 0, got {getattr(version, name)}")
    if version.max_batch < 1:
        raise MalformedRequestError(f"version.max_batch must be at least 1, got {version.max_batch}")
    if version.vram_gb is not None and version.vram_gb <= 0:
        raise MalformedRequestError(f"version.vram_gb must be above 0, got {version.vram_gb}")


def _check_scaling(version: VersionSpec) -> None:
    limits = version.scaling
    if limits is None:
        return
    if not 1 <= limits.min <= limits.max <= MAX_REPLICAS:
        raise MalformedRequestError(
            f"scaling needs 1 <= min <= max <= {MAX_REPLICAS:,}, got min {limits.min} and max {limits.max}"
        )
    if not 0.0 < limits.target_utilization <= 1.0:
        raise MalformedRequestError(
            f"scaling.target_utilization must be above 0 and at most 1, got {limits.target_utilization}"
        )
    if not 0.0 < limits.scale_down_after_s <= MAX_SCALE_DOWN_S:
        raise MalformedRequestError(
            f"scaling.scale_down_after_s must be above 0 and at most {MAX_SCALE_DOWN_S:,.0f}, "
            f"got {limits.scale_down_after_s}"
        )


def _check_analysis(analysis: AnalysisSpec) -> None:
    for name in ("alpha", "error_alpha"):
        if not 0.0 < getattr(analysis, name) < 1.0:
            raise MalformedRequestError(f"analysis.{name} must lie between 0 and 1, got {getattr(analysis, name)}")
    for name in NOT_NEGATIVE:
        value = getattr(analysis, name)
        if not (value >= 0.0 and math.isfinite(value)):
            raise MalformedRequestError(f"analysis.{name} must be a number from 0, got {value}")
    if not analysis.min_samples or min(analysis.min_samples) < 0:
        raise MalformedRequestError(
            f"analysis.min_samples must be numbers from 0, one per step, got {list(analysis.min_samples)}"
        )
    if not 0 <= analysis.holdback_bp < FULL_BP:
        raise MalformedRequestError(f"analysis.holdback_bp must be from 0 to 9,999, got {analysis.holdback_bp}")
    if analysis.on_inconclusive not in {"hold", "rollback"}:
        raise MalformedRequestError(
            f"analysis.on_inconclusive must be hold or rollback, got {analysis.on_inconclusive!r}"
        )
    unknown = set(analysis.guards) - set(GUARDS)
    if unknown:
        raise MalformedRequestError(
            f"analysis.guards knows {', '.join(GUARDS)}, got {', '.join(sorted(unknown))}", remedy="remove the others"
        )
