"""From a registered version to a rollout: a pure function makes the spec, and the control API gets it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from divisions.control import Placement, RolloutSpec, VersionSpec
from divisions.errors import OverCommitError
from divisions.pipeline.definition import Pipeline
from divisions.prediction_log import check_columns
from divisions.schema import FeatureSchema
from divisions.status import ControllerStatus, RolloutStatus
from divisions.versions import RegisteredVersion
from trainers.training.capacity import NodeCapacity, has_gpu


@dataclass(frozen=True, slots=True)
class Usage:
    """What the cluster serves now. With ``has_stable``, the endpoint has a version, and a new one is a canary."""

    has_stable: bool = False
    num_gpus: float = 0.0


def usage_of(status: ControllerStatus, endpoint: str) -> Usage:
    """Reads the usage from the status. Replicas of all endpoints count."""
    shares = (one.gpu.rpartition("/")[2] for one in status.replicas if "/" in one.gpu)
    return Usage(
        has_stable=any(one.endpoint == endpoint and one.stable_version for one in status.rollouts),
        num_gpus=sum(map(float, shares)),
    )


def rollout_spec(
    pipeline: Pipeline,
    version: RegisteredVersion,
    schema: FeatureSchema,
    nodes: Sequence[NodeCapacity],
    usage: Usage = Usage(),
    *,
    decision_threshold: float | None = None,
) -> tuple[RolloutSpec, tuple[str, ...]]:
    """The rollout to request, and notices about resources that the cluster lacks.

    A version that starts as a canary keeps ``canary_num_gpus`` after its promotion. Another share would need new
    replicas, which the canary phase has not tested.

    Raises:
        OverCommitError: the cluster has such GPUs, but not enough of them.
        PipelineError: ``serving.log`` hashes or leaves out a column that the log does not have.
    """
    serving = pipeline.serving
    num_gpus = serving.canary_num_gpus if usage.has_stable else serving.num_gpus
    accelerator_type, notices = serving.accelerator_type, []
    if serving.placement is Placement.IN_PROCESS:
        num_gpus = 0.0
    if num_gpus and not has_gpu(nodes, num_gpus, accelerator_type):
        wanted = accelerator_type or "GPU"
        notices.append(f"serving asks for {num_gpus:g} {wanted} per replica, the cluster has none: serving on CPUs")
        num_gpus = 0.0
    check_gpus(serving.replicas, num_gpus, accelerator_type, nodes, usage.num_gpus)
    spec = VersionSpec(
        model=version.model,
        version=version.version,
        bundle_path=str(version.bundle_path),
        bundle_sha256=version.bundle_sha256,
        schema=schema,
        replicas=serving.replicas,
        num_cpus=serving.num_cpus,
        num_gpus=num_gpus,
        accelerator_type=accelerator_type if num_gpus else None,
        max_batch=serving.max_batch,
        registry_version=version.registry_version,
        run_id=version.run_id,
        placement=serving.placement,
        engine=serving.engine,
        vram_gb=serving.vram_gb if num_gpus else None,
        online=serving.online,
        access=serving.access,
        scaling=serving.scaling if serving.placement is Placement.REPLICAS else None,
        nodes=dict(serving.nodes) if serving.placement is Placement.REPLICAS else {},
        decision_threshold=decision_threshold,
        log=serving.log,
    )
    if serving.log is not None:
        check_columns(serving.log, schema)
    rollout = RolloutSpec(
        endpoint=pipeline.deployment.endpoint,
        version=spec,
        steps_bp=pipeline.deployment.steps_bp,
        analysis=pipeline.deployment.analysis,
        rollback_policy=pipeline.validation.rollback_policy.value,
        policy=pipeline.policy,
    )
    return rollout, tuple(notices)


def check_gpus(
    replicas: int, num_gpus: float, accelerator_type: str | None, nodes: Sequence[NodeCapacity], used: float
) -> None:
    """Raises:
    OverCommitError: the GPUs in use and the replicas' shares exceed all GPUs. The message shows the sum.
    """
    if not num_gpus:
        return
    kind = accelerator_type or "GPU"
    total = sum(node.num_gpus for node in nodes if has_gpu([node], num_gpus, accelerator_type))
    asked = used + replicas * num_gpus
    # The tolerance is for rounding: ten times 0.1 is not exactly 1.
    if asked > total + 1e-6:
        raise OverCommitError(
            f"{used:g} in use + {replicas} replicas x {num_gpus:g} = {asked:g} {kind}, the cluster has {total:g}",
            remedy="lower serving.replicas, num_gpus or canary_num_gpus, or add a GPU",
        )


def read_usage(gateway_url: str, home: Path, endpoint: str) -> Usage:
    """Raises: ClusterError: the gateway does not answer."""
    from divisions.sdk.client import Client

    with Client(gateway_url, home=home) as client:
        return usage_of(client.status(), endpoint)


def start_rollout(gateway_url: str, home: Path, spec: RolloutSpec) -> RolloutStatus:
    """Raises: RolloutError, ClusterError: the gateway refuses, or does not answer."""
    from divisions.sdk.client import Client

    with Client(gateway_url, home=home) as client:
        return client.start_rollout(spec)
