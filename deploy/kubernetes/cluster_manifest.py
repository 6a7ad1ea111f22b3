"""The RayCluster, and the Ray job that starts controller and gateways on it. Pure.

A worker group can never be removed from a living cluster, and a changed template reaches only pods that are made after
the change (``upgradeStrategy: None``; ``Recreate`` would delete every pod at once, the head included). So groups have
names without a version, and a new version is a rollout inside the cluster.
"""

from __future__ import annotations

import hashlib
import json

from deploy.kubernetes.pod_template import (
    HOME,
    OIDC,
    PIPELINE,
    SECRETS,
    TLS,
    Manifest,
    metadata,
    placed,
    ray_pod,
    resources,
)
from deploy.kubernetes.values import GATEWAY_GROUP, Group, Values

PORT, METRICS_PORT = 8000, 9101
DIVISIONS_HOME = f"{HOME}/state"
GPU_ANNOTATION = "divisions/gpu"
REDIS_PASSWORD, RAY_TOKEN = "redis_password", "auth_token"
"""Keys of the Secret; the second one is KubeRay's choice."""


def ray_cluster(values: Values) -> Manifest:
    spec: Manifest = {
        "rayVersion": values.ray_version,
        "authOptions": {"mode": "token", "secretName": values.secret},
        "upgradeStrategy": {"type": "None"},
        "gcsFaultToleranceOptions": {
            "redisAddress": values.redis_address,
            "redisPassword": {"valueFrom": {"secretKeyRef": {"name": values.secret, "key": REDIS_PASSWORD}}},
            "externalStorageNamespace": f"{values.namespace}-{values.name}",
        },
        "headGroupSpec": _head(values),
        "workerGroupSpecs": [_worker_group(values, group) for group in values.groups],
    }
    return {
        "apiVersion": "ray.io/v1",
        "kind": "RayCluster",
        "metadata": metadata(values, values.name, "cluster"),
        "spec": spec,
    }


def environment(values: Values) -> dict[str, str]:
    """The settings that are no secrets."""
    names = [f"{values.name}-gateway", f"{values.name}-gateway.{values.namespace}"]
    names += [f"{names[-1]}.svc", f"{names[-1]}.svc.cluster.local", "localhost", "127.0.0.1"]
    found = {
        "DIVISIONS_HOME": DIVISIONS_HOME,
        "DIVISIONS_HOST": "0.0.0.0",
        "DIVISIONS_PORT": str(PORT),
        "DIVISIONS_METRICS_PORT": str(METRICS_PORT),
        "DIVISIONS_GATEWAYS": str(values.gateways_per_pod),
        "DIVISIONS_ALLOWED_HOSTS": ",".join([*names, values.host] if values.host else names),
        "DIVISIONS_IMAGE": values.image,
    }
    if values.artifacts:
        found["DIVISIONS_ARTIFACTS"] = values.artifacts
    if values.gateway_tls_secret:
        found |= {"DIVISIONS_TLS_CERT": f"{TLS}/tls.crt", "DIVISIONS_TLS_KEY": f"{TLS}/tls.key"}
    if values.oidc_config_map:
        found["DIVISIONS_OIDC_FILE"] = f"{OIDC}/oidc.yaml"
    return found


def attach_job(values: Values) -> Manifest:
    """``python -m deploy.attach`` on the head, where a driver of Ray finds its raylet.

    The name has a hash of what the job is given: other settings are another job, the same ones nothing new.
    """
    command = f"python -m deploy.kubernetes.environment {SECRETS} python -m deploy.attach"
    told = json.dumps([values.image, environment(values)], sort_keys=True)
    name = f"{values.name}-{hashlib.sha256(told.encode()).hexdigest()[:6]}"
    return {
        "apiVersion": "ray.io/v1",
        "kind": "RayJob",
        "metadata": metadata(values, name, "attach"),
        "spec": {
            "clusterSelector": {"ray.io/cluster": values.name},
            "submissionMode": "HTTPMode",
            "entrypoint": command,
            "entrypointNumCpus": 0,
            "runtimeEnvYAML": json.dumps({"env_vars": environment(values)}),
            "activeDeadlineSeconds": 1800,
        },
    }


def _head(values: Values) -> Manifest:
    container = _ray_container("ray-head", resources(values.head_cpus, values.head_memory))
    container["ports"] = [
        {"name": "gcs-server", "containerPort": 6379, "protocol": "TCP"},
        {"name": "dashboard", "containerPort": 8265, "protocol": "TCP"},
        {"name": "client", "containerPort": 10001, "protocol": "TCP"},
    ]
    container["volumeMounts"] = [
        {"name": "secrets", "mountPath": SECRETS, "readOnly": True},
        {"name": "pipeline", "mountPath": PIPELINE, "readOnly": True},
    ]
    volumes = [
        {"name": "secrets", "secret": {"secretName": values.secret, "defaultMode": 0o440}},
        {"name": "pipeline", "configMap": {"name": f"{values.name}-pipeline"}},
    ]
    # Tasks and replicas stay off the head: it holds the cluster's memory of itself.
    return {
        "rayStartParams": {"num-cpus": "0", "dashboard-host": "0.0.0.0"},
        "serviceType": "ClusterIP",
        "template": ray_pod(values, "head", container, volumes),
    }


def _worker_group(values: Values, group: Group) -> Manifest:
    gpu = group.gpu.resource if group.gpu else ""
    container = _ray_container("ray-worker", resources(group.cpus, group.memory, gpu))
    found: Manifest = {
        "groupName": group.name,
        "replicas": group.replicas,
        "minReplicas": 0,
        "maxReplicas": group.max_replicas,
        "rayStartParams": {"num-gpus": "1"} if group.gpu else {},
    }
    if group.name == GATEWAY_GROUP:
        found["resources"] = {"divisions_gateway": str(values.gateways_per_pod)}
        container |= _gateway_ports(values)
    files = _gateway_files(values) if group.name == GATEWAY_GROUP else {}
    if files:
        container["volumeMounts"] = [
            {"name": name, "mountPath": path, "readOnly": True} for name, (path, _) in files.items()
        ]
    volumes: list[Manifest] = [{"name": name, **volume} for name, (_, volume) in files.items()]
    component = "gateway" if group.name == GATEWAY_GROUP else "replica"
    template = placed(ray_pod(values, component, container, volumes), values, group)
    if group.gpu is not None:
        template["metadata"]["annotations"] = {GPU_ANNOTATION: str(group.gpu)}
    if group.name == GATEWAY_GROUP:
        # One gateway pod on each node: two on one node would be lost together.
        same = {"matchLabels": {"ray.io/cluster": values.name, "ray.io/group": GATEWAY_GROUP}}
        term = {"topologyKey": "kubernetes.io/hostname", "labelSelector": same}
        template["spec"]["affinity"] = {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}
    found["template"] = template
    return found


def _gateway_files(values: Values) -> dict[str, tuple[str, Manifest]]:
    """What gateways alone have mounted: by the volume's name, where, and what."""
    found: dict[str, tuple[str, Manifest]] = {}
    if values.gateway_tls_secret:
        # The kubelet changes the files when the Secret changes, and gateways follow their files.
        found["tls"] = (TLS, {"secret": {"secretName": values.gateway_tls_secret, "defaultMode": 0o440}})
    if values.oidc_config_map:
        # The authority and a token of the API server are for its public keys, if it is one of the issuers. The token
        # may do nothing else: the pods' service account has no role.
        sources: list[Manifest] = [
            {"configMap": {"name": values.oidc_config_map, "items": [{"key": "oidc.yaml", "path": "oidc.yaml"}]}},
            {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
            {"serviceAccountToken": {"path": "token", "expirationSeconds": 3600}},
        ]
        found["oidc"] = (OIDC, {"projected": {"sources": sources, "defaultMode": 0o440}})
    return found


def _ray_container(name: str, wanted: Manifest) -> Manifest:
    """Of the settings, a node has only its home. The others come with the job, so that they need no new pods."""
    variables = {"DIVISIONS_HOME": DIVISIONS_HOME, "HOME": HOME}
    return {
        "name": name,
        "env": [{"name": key, "value": value} for key, value in variables.items()],
        "resources": wanted,
    }


def _gateway_ports(values: Values) -> Manifest:
    """A gateway pod is ready when its gateways answer. A probe may name any Host for ``/readyz``."""
    metrics = [
        {"name": f"metrics-{number}", "containerPort": METRICS_PORT + number, "protocol": "TCP"}
        for number in range(values.gateways_per_pod)
    ]
    probe = {"path": "/readyz", "port": PORT, "scheme": values.scheme.upper()}
    return {
        "ports": [{"name": "http", "containerPort": PORT, "protocol": "TCP"}, *metrics],
        "readinessProbe": {"httpGet": probe, "periodSeconds": 2, "timeoutSeconds": 2, "failureThreshold": 3},
    }
