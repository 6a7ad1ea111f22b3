"""Pods that pass the restricted Pod Security Standard: no root, no privileges, a read-only root file system. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from deploy.kubernetes.values import Group, Values

Manifest = dict[str, Any]
UID = 10_001
HOME = "/var/lib/divisions"
SECRETS = "/etc/divisions/secrets"
TLS = "/etc/divisions/tls"
OIDC = "/etc/divisions/oidc"
PIPELINE = "/etc/divisions/pipeline"
PART_OF = "app.kubernetes.io/part-of"
SHARED_MEMORY = "2Gi"
GRACE_S = 60
"""A gateway and a replica finish their requests in it."""


def labels(values: Values, component: str) -> dict[str, str]:
    return {
        "app.kubernetes.io/name": "divisions",
        "app.kubernetes.io/instance": values.name,
        "app.kubernetes.io/component": component,
        PART_OF: values.name,
    }


def metadata(values: Values, name: str, component: str, **more: Any) -> Manifest:
    return {"name": name, "namespace": values.namespace, "labels": labels(values, component), **more}


def container_security() -> Manifest:
    return {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "runAsNonRoot": True,
        "capabilities": {"drop": ["ALL"]},
    }


def pod_security() -> Manifest:
    return {
        "runAsNonRoot": True,
        "runAsUser": UID,
        "runAsGroup": 0,
        "fsGroup": 0,
        "seccompProfile": {"type": "RuntimeDefault"},
    }


def resources(cpus: str, memory: str, gpu: str = "") -> Manifest:
    """Memory and GPUs are limited to what is requested. CPUs are not limited, so a busy moment is not throttled."""
    found: Manifest = {"requests": {"cpu": cpus, "memory": memory}, "limits": {"memory": memory}}
    if gpu:
        found["requests"][gpu] = found["limits"][gpu] = "1"
    return found


def ray_pod(values: Values, component: str, container: Manifest, volumes: Sequence[Manifest] = ()) -> Manifest:
    """The template of a Ray pod: writable are only the home, ``/tmp`` and shared memory."""
    mounts = [
        {"name": "home", "mountPath": HOME},
        {"name": "tmp", "mountPath": "/tmp"},
        {"name": "shared-mem", "mountPath": "/dev/shm"},
        *container.pop("volumeMounts", []),
    ]
    spec: Manifest = {
        # Ray's pods call no Kubernetes API, so they get no credentials for it.
        "automountServiceAccountToken": False,
        "serviceAccountName": values.name,
        "securityContext": pod_security(),
        "terminationGracePeriodSeconds": GRACE_S,
        "containers": [
            {
                "image": values.image,
                "imagePullPolicy": "IfNotPresent",
                "securityContext": container_security(),
                "volumeMounts": mounts,
                **container,
            }
        ],
        "volumes": [
            {"name": "home", "emptyDir": {}},
            {"name": "tmp", "emptyDir": {}},
            {"name": "shared-mem", "emptyDir": {"medium": "Memory", "sizeLimit": SHARED_MEMORY}},
            *volumes,
        ],
    }
    if values.pull_secret:
        spec["imagePullSecrets"] = [{"name": values.pull_secret}]
    return {"metadata": {"labels": labels(values, component)}, "spec": spec}


def placed(template: Manifest, values: Values, group: Group) -> Manifest:
    """The template with the node that a group needs: its GPU, and pods spread over zones and nodes."""
    spec = template["spec"]
    selector = {"matchLabels": {"ray.io/cluster": values.name, "ray.io/group": group.name}}
    spec["topologySpreadConstraints"] = [
        {
            "maxSkew": 1,
            "topologyKey": key,
            "whenUnsatisfiable": "ScheduleAnyway",
            "labelSelector": selector,
        }
        for key in ("topology.kubernetes.io/zone", "kubernetes.io/hostname")
    ]
    if group.gpu is not None:
        spec["nodeSelector"] = {group.gpu.node_label: group.gpu.node_value}
        spec["tolerations"] = [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}]
    return template
