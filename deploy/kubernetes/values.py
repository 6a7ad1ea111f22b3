"""Everything that may differ from one Kubernetes cluster to another, and its defaults. Pure.

docs/kubernetes.md has the table.
"""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass, fields

from divisions.errors import UsageError

GATEWAY_GROUP = "gateway"
MAX_CLUSTER_CHARS = 40
"""KubeRay takes 53 for a RayCluster and 47 for a RayJob, whose names are this one and a suffix."""
_LABEL = re.compile(r"[a-z]([a-z0-9-]*[a-z0-9])?")
_QUANTITY = re.compile(r"[0-9]+(\.[0-9]+)?(m|k|M|G|T|Ki|Mi|Gi|Ti)?")
_DIGEST = re.compile(r"[^@\s]+@sha256:[0-9a-f]{64}")


class Entry(enum.StrEnum):
    """How callers outside of the cluster reach the gateways."""

    NONE = "none"
    INGRESS = "ingress"
    GATEWAY_API = "gateway-api"


@dataclass(frozen=True, slots=True)
class Gpu:
    """A pod's part of a GPU.

    Attributes:
        product: for people and for Ray: ``T4``.
        share: of one GPU. Below 1, NVIDIA's device plugin must share GPUs by time, and ``resource`` is one such part.
        resource: what the pod asks for one of.
        node_label: with ``node_value``, nodes that have this GPU.
    """

    product: str = "T4"
    share: float = 1.0
    resource: str = "nvidia.com/gpu"
    node_label: str = "nvidia.com/gpu.product"
    node_value: str = "Tesla-T4"

    def __str__(self) -> str:
        return f"{self.product}/{self.share:g}"


@dataclass(frozen=True, slots=True)
class Group:
    """A worker group of the RayCluster. It can never be removed from a living one, so its name has no minor version.

    Attributes:
        replicas: pods at the start. Later the number that the cluster has is kept.
        cpus: of a pod, requested and not limited: a limit would stop a gateway in the middle of a request.
        memory: of a pod, requested and the limit.
    """

    name: str
    replicas: int = 0
    max_replicas: int = 10
    cpus: str = "2"
    memory: str = "4Gi"
    gpu: Gpu | None = None


@dataclass(frozen=True, slots=True)
class Values:
    """See docs/kubernetes.md for each of them."""

    namespace: str = "ml-serving"
    name: str = "divisions"
    image: str = "divisions:gpu"
    pull_secret: str = ""
    ray_version: str = "2.60.0"
    model: str = "churn-predictor-v3"
    replicas: int = 2
    max_replicas: int = 10
    canary_replicas: int = 1
    cpus: str = "2"
    memory: str = "8Gi"
    gpu: str = "T4"
    gpu_node_label: str = "nvidia.com/gpu.product"
    gpu_node_value: str = "Tesla-T4"
    canary_gpu_share: float = 0.5
    canary_gpu_resource: str = "nvidia.com/gpu.shared"
    canary_gpu_node_value: str = "Tesla-T4-SHARED"
    gateway_pods: int = 2
    gateways_per_pod: int = 1
    gateway_cpus: str = "2"
    gateway_memory: str = "2Gi"
    head_cpus: str = "2"
    head_memory: str = "8Gi"
    entry: Entry = Entry.NONE
    host: str = ""
    entry_class: str = ""
    tls_secret: str = ""
    gateway_tls_secret: str = ""
    oidc_config_map: str = ""
    callers_namespace: str = ""
    monitoring_namespace: str = "monitoring"
    operator_namespace: str = "kuberay-operator"
    redis_address: str = "redis:6379"
    artifacts: str = ""
    secret: str = "divisions"
    schedule: str = ""
    schedule_zone: str = ""
    schedule_paused: bool = False
    egress_ports: tuple[int, ...] = (443, 5432, 6379)

    def __post_init__(self) -> None:
        for name in ("namespace", "name", "model", "secret"):
            _check(name, getattr(self, name), _LABEL, "up to 40 lower-case letters, digits and '-', a letter first")
            if len(getattr(self, name)) > MAX_CLUSTER_CHARS:
                raise UsageError(f"{name} is longer than {MAX_CLUSTER_CHARS} characters", remedy="shorten it")
        for field in fields(self):
            if field.name.endswith(("cpus", "memory")):
                _check(field.name, getattr(self, field.name), _QUANTITY, "a quantity such as 2, 500m or 8Gi")
        if self.entry is not Entry.NONE and not self.host:
            raise UsageError(f"entry {self.entry} needs a host", remedy="set host to the name that callers use")
        if self.entry is Entry.GATEWAY_API and not self.entry_class:
            raise UsageError("entry gateway-api needs entry_class", remedy="set it to the name of the Gateway")
        if not 0 < self.canary_gpu_share <= 1:
            raise UsageError(f"canary_gpu_share is {self.canary_gpu_share:g}", remedy="choose a share above 0, up to 1")
        if not 0 <= self.replicas <= self.max_replicas or not 0 < self.canary_replicas <= self.max_replicas:
            raise UsageError(
                f"replicas {self.replicas} and canary_replicas {self.canary_replicas} must be within max_replicas"
                f" {self.max_replicas}, and canary_replicas at least 1",
                remedy="raise max_replicas",
            )

    @property
    def scheme(self) -> str:
        """Of the gateways' ports."""
        return "https" if self.gateway_tls_secret else "http"

    @property
    def is_pinned(self) -> bool:
        """Whether the image is named by its digest."""
        return _DIGEST.fullmatch(self.image) is not None

    @property
    def canary_group(self) -> str:
        return f"{self.model}-canary"

    @property
    def groups(self) -> tuple[Group, ...]:
        """The worker groups. The order is that of the manifests."""
        whole = Gpu(self.gpu, 1.0, "nvidia.com/gpu", self.gpu_node_label, self.gpu_node_value) if self.gpu else None
        part = whole
        if whole is not None and self.canary_gpu_share < 1:
            part = Gpu(
                self.gpu,
                self.canary_gpu_share,
                self.canary_gpu_resource,
                self.gpu_node_label,
                self.canary_gpu_node_value,
            )
        most = self.max_replicas
        return (
            Group(
                GATEWAY_GROUP, self.gateway_pods, max(most, self.gateway_pods), self.gateway_cpus, self.gateway_memory
            ),
            Group(self.model, self.replicas, most, self.cpus, self.memory, whole),
            Group(self.canary_group, 0, most, self.cpus, self.memory, part),
        )


def _check(name: str, value: str, rule: re.Pattern[str], wanted: str) -> None:
    if not rule.fullmatch(value):
        raise UsageError(f"{name} {value[:80]!r} is malformed", remedy=f"write {wanted}")
