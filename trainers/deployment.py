"""From a registered version to a rollout: the spec is pure, the wish goes to the control API."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from divisions.control import RolloutSpec, RolloutStatus, VersionSpec
from divisions.pipeline import Pipeline
from divisions.schema import FeatureSchema
from divisions.versions import RegisteredVersion
from trainers.capacity import NodeCapacity, has_gpu


def rollout_spec(
    pipeline: Pipeline, version: RegisteredVersion, schema: FeatureSchema, nodes: Sequence[NodeCapacity]
) -> tuple[RolloutSpec, tuple[str, ...]]:
    """What to wish for, and notices about what the cluster cannot give."""
    serving = pipeline.serving
    num_gpus, notices = serving.num_gpus, []
    if num_gpus and not has_gpu(nodes, num_gpus):
        notices.append(f"serving asks for {num_gpus:g} GPU per replica, the cluster has none: serving on CPUs")
        num_gpus = 0.0
    spec = VersionSpec(
        model=version.model,
        version=version.version,
        bundle_path=str(version.bundle_path),
        bundle_sha256=version.bundle_sha256,
        schema=schema,
        replicas=serving.replicas,
        num_cpus=serving.num_cpus,
        num_gpus=num_gpus,
        max_batch=serving.max_batch,
        registry_version=version.registry_version,
        run_id=version.run_id,
        placement=serving.placement,
    )
    rollout = RolloutSpec(
        endpoint=pipeline.deployment.endpoint,
        version=spec,
        steps_bp=pipeline.deployment.steps_bp,
        analysis=pipeline.deployment.analysis,
        rollback_policy=pipeline.validation.rollback_policy.value,
    )
    return rollout, tuple(notices)


def start_rollout(gateway_url: str, home: Path, spec: RolloutSpec) -> RolloutStatus:
    """Raises: RolloutError, ClusterError: the gateway refuses, or does not answer."""
    from divisions.client import Client

    with Client(gateway_url, home=home) as client:
        return client.start_rollout(spec)
