"""The two clusters of the tests, with the same hands on them: those of users, of administrators, and of nodes."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx2
import yaml

from deploy.kubernetes.api import Api
from deploy.kubernetes.apply import compare
from deploy.kubernetes.manifests import render
from deploy.kubernetes.values import Values
from divisions.errors import DivisionsError
from tests.deploy.kubernetes.test_manifests import PLAIN
from tests.kube.server import ADMIN, NOBODY, KubeServer
from tests.kube.stand_in import StandIn

PIPELINE = "pipeline: a"
KINDS = {"configmaps": "api/v1", "pods": "api/v1", "events": "api/v1", "services": "api/v1"}
_RBAC = "apis/rbac.authorization.k8s.io/v1"
_PATIENCE_S = 120.0

Rule = tuple[str, Sequence[str], Sequence[str]]
"""API group, resources, verbs."""


class Cluster:
    """A namespace of a cluster.

    Attributes:
        http: an administrator's own requests, with paths below the API server's address.
    """

    is_real = False

    def __init__(self, namespace: str, http: httpx2.Client) -> None:
        self.namespace = namespace
        self.values = replace(PLAIN, namespace=namespace)
        self.http = http

    def api(self, user: str = ADMIN, namespace: str = "") -> Api:
        raise NotImplementedError

    def token(self, user: str) -> str:
        raise NotImplementedError

    def grant(self, rules: Sequence[Rule]) -> str:
        """Makes a service account that may do this; returns the user."""
        raise NotImplementedError

    def path(self, plural: str, name: str = "") -> str:
        group = KINDS.get(plural) or ("apis/ray.io/v1" if plural.startswith("ray") else f"apis/{plural}")
        return f"/{group}/namespaces/{self.namespace}/{plural}{f'/{name}' if name else ''}"

    def make(self, plural: str, manifest: dict[str, Any]) -> None:
        """Makes an object; what it has for a status is written as the system does."""
        answer = self.http.post(self.path(plural), json=manifest)
        assert answer.status_code == 201, answer.text
        if "status" in manifest:
            self.write_status(plural, manifest["metadata"]["name"], manifest["status"])

    def write_status(self, plural: str, name: str, status: dict[str, Any]) -> None:
        self._merge(f"{self.path(plural, name)}/status", {"status": status}, "kubelet")

    def end_pod(self, name: str) -> None:
        """What a kubelet sends when a pod's processes have ended. Until then the pod stays, as one that is ending."""
        answer = self.http.delete(self.path("pods", name), params={"gracePeriodSeconds": 0})
        assert answer.status_code in {200, 404}, answer.text

    def edit(self, plural: str, name: str, patch: dict[str, Any], manager: str = "kubectl-edit") -> None:
        """What ``kubectl edit`` sends."""
        self._merge(self.path(plural, name), patch, manager)

    def _merge(self, path: str, patch: dict[str, Any], manager: str) -> None:
        answer = self.http.patch(
            path,
            json=patch,
            params={"fieldManager": manager},
            headers={"Content-Type": "application/merge-patch+json"},
        )
        assert answer.status_code == 200, answer.text


class RealCluster(Cluster):
    """Each process must have one of its own, ``is_new`` in the first one only."""

    is_real = True

    def __init__(self, server: KubeServer, namespace: str, *, is_new: bool = True) -> None:
        super().__init__(namespace, server.client())
        self.server = server
        if not is_new:
            return
        made = self.http.post("/api/v1/namespaces", json={"metadata": {"name": namespace}})
        assert made.status_code == 201, made.text

    def api(self, user: str = ADMIN, namespace: str = "") -> Api:
        return Api(namespace or self.namespace, kubeconfig=self.server.kubeconfig(user))

    def token(self, user: str) -> str:
        return self.server.tokens.get(user, "unknown")

    def grant(self, rules: Sequence[Rule]) -> str:
        name = f"deployer-{time.monotonic_ns()}"
        user = self.server.take_account(self.namespace, name)
        there = f"/{_RBAC}/namespaces/{self.namespace}"
        body = [{"apiGroups": [group], "resources": list(kinds), "verbs": list(verbs)} for group, kinds, verbs in rules]
        reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name}
        subjects = [{"kind": "ServiceAccount", "name": name, "namespace": self.namespace}]
        for plural, content in (
            ("roles", {"rules": body}),
            ("rolebindings", {"roleRef": reference, "subjects": subjects}),
        ):
            made = self.http.post(f"{there}/{plural}", json={"metadata": {"name": name}, **content})
            assert made.status_code == 201, made.text
        self._wait_for_grant(f"system:serviceaccount:{self.namespace}:{name}", rules[-1])
        return user

    def _wait_for_grant(self, user: str, rule: Rule) -> None:
        """The server's authorizer learns of a binding a moment later."""
        group, kinds, verbs = rule
        resource, _, sub = kinds[-1].partition("/")
        asked = {"namespace": self.namespace, "group": group, "resource": resource, "verb": verbs[-1]}
        spec = {"user": user, "resourceAttributes": {**asked, "subresource": sub}}
        deadline_s = time.monotonic() + _PATIENCE_S
        while time.monotonic() < deadline_s:
            path = "/apis/authorization.k8s.io/v1/subjectaccessreviews"
            answer = self.http.post(path, json={"spec": spec})
            if answer.json().get("status", {}).get("allowed"):
                return
            time.sleep(0.02)
        raise TimeoutError(f"{user} may still not {verbs[-1]} {kinds[-1]}")


class StandInCluster(Cluster):
    def __init__(self, namespace: str, missing: Sequence[str] = ()) -> None:
        self.stand_in = StandIn([namespace], missing)
        token = {"Authorization": f"Bearer {ADMIN}"}
        super().__init__(namespace, httpx2.Client(base_url="https://kube", transport=self.stand_in, headers=token))
        self._folder = tempfile.TemporaryDirectory()

    def api(self, user: str = ADMIN, namespace: str = "") -> Api:
        config = Path(self._folder.name) / f"{user}.yaml"
        content = {
            "current-context": "c",
            "clusters": [{"name": "c", "cluster": {"server": "https://kube"}}],
            "users": [{"name": "u", "user": {"token": user}}],
            "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
        }
        config.write_text(yaml.safe_dump(content))
        return Api(namespace or self.namespace, kubeconfig=config, transport=self.stand_in)

    def token(self, user: str) -> str:
        return user

    def grant(self, rules: Sequence[Rule]) -> str:
        name = f"{self.namespace}-deployer-{len(self.stand_in.rules)}"
        self.stand_in.rules[name] = list(rules)
        return name


def deploy_without_kuberay(server: KubeServer) -> Exception | None:
    """What a deployment meets on a server that has no resources of KubeRay."""
    values = Values(namespace="default", image=PLAIN.image)
    try:
        with Api("default", kubeconfig=server.kubeconfig()) as api:
            compare(api, values, render(values, PIPELINE))
    except DivisionsError as error:
        return error
    return None


__all__ = ["NOBODY", "PIPELINE", "Cluster", "RealCluster", "StandInCluster", "deploy_without_kuberay"]
