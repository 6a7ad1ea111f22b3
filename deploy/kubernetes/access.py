"""Who may do what at the Kubernetes API: Ray's pods nothing, the nightly job a little; a Role for deployers. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from deploy.kubernetes.pod_template import Manifest, metadata
from deploy.kubernetes.values import Values

APPLY = ("get", "list", "create", "patch", "delete")
DEPLOYER_RULES: tuple[tuple[str, tuple[str, ...], tuple[str, ...]], ...] = (
    ("", ("configmaps", "services", "serviceaccounts"), APPLY),
    ("batch", ("cronjobs",), APPLY),
    ("gateway.networking.k8s.io", ("httproutes",), APPLY),
    ("monitoring.coreos.com", ("servicemonitors",), APPLY),
    ("networking.k8s.io", ("ingresses", "networkpolicies"), APPLY),
    ("policy", ("poddisruptionbudgets",), APPLY),
    ("rbac.authorization.k8s.io", ("roles", "rolebindings"), APPLY),
    ("ray.io", ("rayclusters", "rayjobs"), APPLY),
    ("", ("pods", "events"), ("get", "list")),
    ("", ("pods/portforward",), ("create",)),
)
"""What ``divisions deploy`` does, by group: nothing on Secrets. It may grant only what it has itself."""


def service_accounts(values: Values) -> list[Manifest]:
    return [
        {
            "apiVersion": "v1",
            "kind": "ServiceAccount",
            "metadata": metadata(values, name, "access"),
            "automountServiceAccountToken": False,
        }
        for name in (values.name, f"{values.name}-nightly")
    ]


def roles(values: Values) -> list[Manifest]:
    """The nightly job's Role and its binding, and a Role to bind to the people who deploy."""
    nightly = f"{values.name}-nightly"
    account = {"kind": "ServiceAccount", "name": nightly, "namespace": values.namespace}
    return [
        _role(values, nightly, [("ray.io", ("rayjobs",), ("create", "get", "list", "delete"))]),
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "RoleBinding",
            "metadata": metadata(values, nightly, "access"),
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": nightly},
            "subjects": [account],
        },
        _role(values, f"{values.name}-deployer", DEPLOYER_RULES),
    ]


def _role(values: Values, name: str, rules: Sequence[tuple[str, tuple[str, ...], tuple[str, ...]]]) -> Manifest:
    return {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "Role",
        "metadata": metadata(values, name, "access"),
        "rules": [
            {"apiGroups": [group], "resources": list(kinds), "verbs": list(verbs)} for group, kinds, verbs in rules
        ],
    }
