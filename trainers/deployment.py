"""From a registered version to a rollout: the spec is pure, the wish goes to the control API."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from divisions.control import ControllerStatus, Placement, RolloutSpec, RolloutStatus, VersionSpec
from divisions.errors import OverCommitError
from divisions.pipeline.definition import Pipeline
from divisions.schema import FeatureSchema
from divisions.versions import RegisteredVersion
from trainers.training.capacity import NodeCapacity, has_gpu


@dataclass(frozen=True, slots=True)
class Occupied:
    """What the cluster serves already. ``has_stable``: the endpoint has a version, so that another is a canary."""

    has_stable: bool = False
    num_gpus: float = 0.0


def occupied(status: ControllerStatus, endpoint: str) -> Occupied:
    """Reads it from ``divisions status``: GPUs of all replicas that there are, whatever they serve."""
    shares = (one.gpu.rpartition("/")[2] for one in status.replicas if "/" in one.gpu)
    return Occupied(
        has_stable=any(one.endpoint == endpoint and one.stable_version for one in status.rollouts),
        num_gpus=sum(map(float, shares)),
    )


def rollout_spec(
    pipeline: Pipeline,
    version: RegisteredVersion,
    schema: FeatureSchema,
    nodes: Sequence[NodeCapacity],
    taken: Occupied = Occupied(),
) -> tuple[RolloutSpec, tuple[str, ...]]:
    """What to wish for, and notices about what the cluster cannot give.

    A version that starts as a canary gets ``canary_num_gpus`` for good: what was judged is what serves, and another
    share at promotion would put replicas that nobody has judged in front of all traffic.

    Raises:
        OverCommitError: the cluster has such GPUs, but not so many.
    """
    serving = pipeline.serving
    num_gpus = serving.canary_num_gpus if taken.has_stable else serving.num_gpus
    accelerator_type, notices = serving.accelerator_type, []
    if serving.placement is Placement.IN_PROCESS:
        num_gpus = 0.0
    if num_gpus and not has_gpu(nodes, num_gpus, accelerator_type):
        wanted = accelerator_type or "GPU"
        notices.append(f"serving asks for {num_gpus:g} {wanted} per replica, the cluster has none: serving on CPUs")
        num_gpus = 0.0
    check_gpus(serving.replicas, num_gpus, accelerator_type, nodes, taken.num_gpus)
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
    )
    rollout = RolloutSpec(
        endpoint=pipeline.deployment.endpoint,
        version=spec,
        steps_bp=pipeline.deployment.steps_bp,
        analysis=pipeline.deployment.analysis,
        rollback_policy=pipeline.validation.rollback_policy.value,
    )
    return rollout, tuple(notices)


def check_gpus(
    replicas: int, num_gpus: float, accelerator_type: str | None, nodes: Sequence[NodeCapacity], taken: float
) -> None:
    """Raises:
    OverCommitError: with what others have, the replicas' shares are more than all GPUs; its message shows the sum.
    """
    if not num_gpus:
        return
    kind = accelerator_type or "GPU"
    total = sum(node.num_gpus for node in nodes if has_gpu([node], num_gpus, accelerator_type))
    asked = taken + replicas * num_gpus
    # Fractions such as 0.1 add up to a little more than they should.
    if asked > total + 1e-6:
        raise OverCommitError(
            f"{taken:g} in use + {replicas} replicas x {num_gpus:g} = {asked:g} {kind}, the cluster has {total:g}",
            remedy="lower serving.replicas, num_gpus or canary_num_gpus, or add a GPU",
        )


def read_occupied(gateway_url: str, home: Path, endpoint: str) -> Occupied:
    """Raises: ClusterError: the gateway does not answer."""
    from divisions.sdk.client import Client

    with Client(gateway_url, home=home) as client:
        return occupied(client.status(), endpoint)


def start_rollout(gateway_url: str, home: Path, spec: RolloutSpec) -> RolloutStatus:
    """Raises: RolloutError, ClusterError: the gateway refuses, or does not answer."""
    from divisions.sdk.client import Client

    with Client(gateway_url, home=home) as client:
        return client.start_rollout(spec)
