"""Starts a rollout of a registered version, with the sizes and analysis of the pipeline file."""

from __future__ import annotations

import msgspec

from divisions.artifacts.cache import Bundles
from divisions.artifacts.claims import using_bundles
from divisions.control import Faults
from divisions.errors import GateRefusedError, UsageError
from divisions.pipeline.definition import Pipeline
from divisions.sdk.client import Client
from divisions.settings import Settings
from divisions.status import RolloutStatus
from divisions.versions import RegisteredVersion, ValidationStatus
from trainers.data.online_features import fill_from_offline
from trainers.deployment import Usage, rollout_spec, usage_of
from trainers.training.capacity import NodeCapacity


def start_version(
    client: Client,
    settings: Settings,
    pipeline: Pipeline,
    version: RegisteredVersion,
    *,
    faults: Faults | None = None,
    force: bool = False,
) -> tuple[RolloutStatus, tuple[str, ...]]:
    """Requests a rollout and fills the online store; returns the rollout's status, and notices.

    Raises:
        GateRefusedError: the version did not pass its gates.
        BundleError: its bundle is neither here nor in the artifact store, or is damaged.
        ArtifactStoreError: the bundle cannot be copied to the store.
        UsageError: the pipeline trains another model.
        OverCommitError: the cluster has too few GPUs.
        RolloutError: the controller refuses.
    """
    if version.model != pipeline.model_name:
        raise UsageError(
            f"pipeline {pipeline.name} trains {pipeline.model_name}, not {version.model}",
            remedy="name the model's own pipeline file with --pipeline",
        )
    if version.validation_status is not ValidationStatus.PASSED:
        why = f": {version.message}" if version.message else ""
        raise GateRefusedError(
            f"{version.model} {version.version} is {version.validation_status}{why}",
            remedy="only versions that passed their gates are served",
        )
    with using_bundles(settings.home):
        return _start(client, settings, pipeline, version, faults, is_forced=force)


def _start(
    client: Client,
    settings: Settings,
    pipeline: Pipeline,
    version: RegisteredVersion,
    faults: Faults | None,
    *,
    is_forced: bool,
) -> tuple[RolloutStatus, tuple[str, ...]]:
    bundles = Bundles.of(settings)
    folder, manifest = bundles.open(version.bundle_path, version.bundle_sha256)
    bundles.publish(folder, version.bundle_sha256)
    nodes = _nodes(settings) if pipeline.serving.num_gpus else ()
    taken = usage_of(client.status(), pipeline.deployment.endpoint) if pipeline.serving.num_gpus else Usage()
    spec, notices = rollout_spec(
        pipeline, version, manifest.schema, nodes, taken, decision_threshold=manifest.decision_threshold
    )
    if faults is not None:
        spec = msgspec.structs.replace(spec, version=msgspec.structs.replace(spec.version, faults=faults))
    status = client.start_rollout(spec, force=is_forced)
    return status, (*notices, fill_from_offline(settings, spec.endpoint, version, manifest.schema))


def _nodes(settings: Settings) -> tuple[NodeCapacity, ...]:
    from trainers.training.cluster_file import cluster_address, prepare_environment

    prepare_environment(settings)
    from trainers.training import ray_session

    ray_session.connect(cluster_address(settings))
    return ray_session.nodes()
