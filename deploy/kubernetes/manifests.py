"""All objects of a deployment, from its `Values`, in the order of applying. Pure: same values, same objects.

Secrets are not among them: they come from whatever the cluster keeps secrets with.
"""

from __future__ import annotations

from deploy import dashboards
from deploy.kubernetes import access, cluster_manifest, network, schedule
from deploy.kubernetes.pod_template import Manifest, metadata
from deploy.kubernetes.values import Values


def render(values: Values, pipeline: str) -> list[Manifest]:
    """The objects.

    Args:
        pipeline: the text of the pipeline file, which the nightly run reads.
    """
    found = [
        *access.service_accounts(values),
        *access.roles(values),
        schedule.pipeline_map(values, pipeline),
        *network.network_policies(values),
        network.gateway_service(values),
        network.metrics_service(values),
        disruption_budget(values),
        service_monitor(values),
        dashboards_map(values),
        cluster_manifest.ray_cluster(values),
        cluster_manifest.attach_job(values),
        schedule.cron_job(values),
    ]
    way_in = network.entry(values)
    return [*found, way_in] if way_in else found


def disruption_budget(values: Values) -> Manifest:
    """Nodes are drained one at a time, as far as gateways go."""
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": metadata(values, f"{values.name}-gateway", "gateway"),
        "spec": {"maxUnavailable": 1, "selector": {"matchLabels": network.gateway_pods(values)}},
    }


def service_monitor(values: Values) -> Manifest:
    # A certificate names the Service, and Prometheus asks pods by their addresses.
    tls: Manifest = {"scheme": "https", "tlsConfig": {"insecureSkipVerify": True}} if values.gateway_tls_secret else {}
    labels = metadata(values, "", "metrics")["labels"]
    return {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "ServiceMonitor",
        "metadata": metadata(values, values.name, "metrics"),
        "spec": {
            "selector": {"matchLabels": labels},
            "endpoints": [
                {"port": f"metrics-{number}", "path": "/metrics", "interval": "15s", **tls}
                for number in range(values.gateways_per_pod)
            ],
        },
    }


def dashboards_map(values: Values) -> Manifest:
    """Grafana's sidecar finds dashboards by the label."""
    found = metadata(values, f"{values.name}-dashboards", "metrics")
    found["labels"] = {**found["labels"], "grafana_dashboard": "1"}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": found, "data": dashboards.texts()}


def namespace(values: Values) -> Manifest:
    """The namespace, which refuses pods that are not restricted. Administrators make it; ``deploy`` does not."""
    policy = "pod-security.kubernetes.io"
    return {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {
            "name": values.namespace,
            "labels": {f"{policy}/enforce": "restricted", f"{policy}/warn": "restricted"},
        },
    }


def key_of(manifest: Manifest) -> tuple[str, str, str]:
    """What tells an object from others of its namespace: API version, kind, name."""
    return manifest["apiVersion"], manifest["kind"], manifest["metadata"]["name"]
