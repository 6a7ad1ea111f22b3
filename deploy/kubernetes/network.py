"""How requests get in, and what else may not: Services, Ingress or HTTPRoute, NetworkPolicies. Pure."""

from __future__ import annotations

from typing import Any

from deploy.kubernetes.cluster_manifest import METRICS_PORT, PORT
from deploy.kubernetes.pod_template import PART_OF, Manifest, metadata
from deploy.kubernetes.values import GATEWAY_GROUP, Entry, Values

NAMESPACE = "kubernetes.io/metadata.name"
"""The label that every namespace has by itself."""
_NGINX_PROTOCOL = "nginx.ingress.kubernetes.io/backend-protocol"


def gateway_service(values: Values) -> Manifest:
    port: Manifest = {"name": values.scheme, "port": PORT, "targetPort": PORT, "protocol": "TCP"}
    if values.gateway_tls_secret:
        port["appProtocol"] = "https"
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata(values, f"{values.name}-gateway", "gateway"),
        "spec": {
            "type": "ClusterIP",
            "selector": gateway_pods(values),
            "ports": [port],
        },
    }


def metrics_service(values: Values) -> Manifest:
    """Headless: each gateway of each pod is scraped by itself."""
    ports = [
        {
            "name": f"metrics-{number}",
            "port": METRICS_PORT + number,
            "targetPort": METRICS_PORT + number,
            "protocol": "TCP",
        }
        for number in range(values.gateways_per_pod)
    ]
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata(values, f"{values.name}-metrics", "metrics"),
        "spec": {"clusterIP": "None", "selector": gateway_pods(values), "ports": ports},
    }


def gateway_pods(values: Values) -> dict[str, str]:
    """Labels that KubeRay sets itself, and that no template can override."""
    return {"ray.io/cluster": values.name, "ray.io/group": GATEWAY_GROUP}


def entry(values: Values) -> Manifest | None:
    """The way from outside, if there is one."""
    match values.entry:
        case Entry.NONE:
            return None
        case Entry.INGRESS:
            return _ingress(values)
        case Entry.GATEWAY_API:
            return _route(values)


def network_policies(values: Values) -> list[Manifest]:
    """Nothing gets in or out but what stands here."""
    ours = {"podSelector": {"matchLabels": {"ray.io/cluster": values.name}}}
    callers = _namespace(values.callers_namespace) if values.callers_namespace else {"namespaceSelector": {}}
    metrics = range(METRICS_PORT, METRICS_PORT + values.gateways_per_pod)
    dns = {"to": [_namespace("kube-system")], "ports": [*_ports(53, "UDP"), *_ports(53)]}
    out = {"ports": [port for number in values.egress_ports for port in _ports(number)]}
    return [
        _policy(values, "cluster", {"ray.io/cluster": values.name}, [{"from": [ours]}], [{"to": [ours]}, dns, out]),
        _policy(
            values,
            "gateway",
            gateway_pods(values),
            [
                {"from": [callers], "ports": _ports(PORT)},
                {
                    "from": [_namespace(values.monitoring_namespace)],
                    "ports": [port for number in metrics for port in _ports(number)],
                },
            ],
            None,
        ),
        _policy(
            values,
            "operator",
            {"ray.io/cluster": values.name, "ray.io/node-type": "head"},
            [{"from": [_namespace(values.operator_namespace)], "ports": _ports(8265)}],
            None,
        ),
        # The nightly pod reaches the API server only; its address differs from cluster to cluster.
        _policy(
            values,
            "nightly",
            {PART_OF: values.name, "app.kubernetes.io/component": "nightly"},
            [],
            [dns, {"ports": [*_ports(443), *_ports(6443)]}],
        ),
    ]


def _ingress(values: Values) -> Manifest:
    backend = {"service": {"name": f"{values.name}-gateway", "port": {"number": PORT}}}
    spec: Manifest = {
        "rules": [{"host": values.host, "http": {"paths": [{"path": "/", "pathType": "Prefix", "backend": backend}]}}]
    }
    if values.entry_class:
        spec["ingressClassName"] = values.entry_class
    if values.tls_secret:
        spec["tls"] = [{"hosts": [values.host], "secretName": values.tls_secret}]
    # Ingresses have no field for it. Other controllers read the Service's port, or annotations of their own.
    more = {"annotations": {_NGINX_PROTOCOL: "HTTPS"}} if values.gateway_tls_secret else {}
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "Ingress",
        "metadata": metadata(values, values.name, "gateway", **more),
        "spec": spec,
    }


def _route(values: Values) -> Manifest:
    return {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": metadata(values, values.name, "gateway"),
        "spec": {
            "parentRefs": [{"name": values.entry_class}],
            "hostnames": [values.host],
            "rules": [
                {
                    "matches": [{"path": {"type": "PathPrefix", "value": "/"}}],
                    "backendRefs": [{"name": f"{values.name}-gateway", "port": PORT}],
                }
            ],
        },
    }


def _policy(values: Values, name: str, pods: dict[str, str], ingress: list[Any], egress: list[Any] | None) -> Manifest:
    spec: Manifest = {"podSelector": {"matchLabels": pods}, "policyTypes": ["Ingress"], "ingress": ingress}
    if egress is not None:
        spec |= {"policyTypes": ["Ingress", "Egress"], "egress": egress}
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": metadata(values, f"{values.name}-{name}", "network"),
        "spec": spec,
    }


def _namespace(name: str) -> Manifest:
    return {"namespaceSelector": {"matchLabels": {NAMESPACE: name}}}


def _ports(number: int, protocol: str = "TCP") -> list[Manifest]:
    return [{"port": number, "protocol": protocol}]
