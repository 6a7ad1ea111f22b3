"""A cluster's API: objects in and out as dictionaries, and errors that name what may not be done and by whom.

It adapts `lightkube`, which is imported only here and only when a cluster is opened. Watches are not used: lightkube's
never ends, and a silent one blocks its thread.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from msgspec import MsgspecError
from yaml import YAMLError

from deploy.kubernetes.pod_template import Manifest
from deploy.kubernetes.refusals import AbsentError, KindNotServedError, refusal
from divisions.errors import AccessDeniedError, ClusterError, UsageError

MANAGER = "divisions"
PLURALS = {
    "ConfigMap": "configmaps",
    "CronJob": "cronjobs",
    "Event": "events",
    "HTTPRoute": "httproutes",
    "Ingress": "ingresses",
    "NetworkPolicy": "networkpolicies",
    "Pod": "pods",
    "PodDisruptionBudget": "poddisruptionbudgets",
    "RayCluster": "rayclusters",
    "RayJob": "rayjobs",
    "Role": "roles",
    "RoleBinding": "rolebindings",
    "Service": "services",
    "ServiceAccount": "serviceaccounts",
    "ServiceMonitor": "servicemonitors",
}
_BAD_FILE = (OSError, LookupError, TypeError, ValueError, AttributeError, AssertionError, YAMLError, MsgspecError)
"""What lightkube raises for a kubeconfig that is malformed; it does not check the file as a whole."""


class Api:
    """One namespace of one cluster.

    Args:
        context: of the kubeconfig; empty for the current one.
        kubeconfig: None for that of ``KUBECONFIG``, of the pod's service account, or of the user's folder.
        transport: of httpx2, in place of the network.

    Raises:
        UsageError: the kubeconfig, or the context in it, cannot be used.
    """

    def __init__(
        self, namespace: str, context: str = "", kubeconfig: Path | None = None, transport: Any = None
    ) -> None:
        self.namespace = namespace
        self._lightkube = _lightkube()
        try:
            config = self._lightkube.KubeConfig
            found = config.from_file(kubeconfig) if kubeconfig else config.from_env()
            single = found.get(context or None)
            self.server = str(single.cluster.server)
            self._client = self._lightkube.Client(
                single, namespace=namespace, field_manager=MANAGER, transport=transport
            )
        except (self._lightkube.ConfigError, *_BAD_FILE) as error:
            raise UsageError(
                f"the kubeconfig cannot be used: {_told(error)}",
                remedy="check KUBECONFIG and the target's context; `kubectl config get-contexts` lists them",
            ) from None

    def __enter__(self) -> Api:
        return self

    def __exit__(self, *error: object) -> None:
        self._client.close()

    def get(self, version: str, kind: str, name: str) -> Manifest | None:
        """The object; None if there is none.

        Raises:
            KindNotServedError: the cluster does not know the kind.
        """
        try:
            with self._told("get", kind, name):
                return _plain(self._client.get(self._kind(version, kind), name))
        except AbsentError:
            return None

    def list(self, version: str, kind: str, labels: Mapping[str, str] | None = None) -> list[Manifest]:
        with self._told("list", kind, ""):
            found = self._client.list(self._kind(version, kind), labels=dict(labels) if labels else None)
            return [{"apiVersion": version, "kind": kind, **_plain(each)} for each in found]

    def apply(self, manifest: Manifest, *, force: bool = False, dry_run: bool = False) -> Manifest:
        """Server-side apply. With ``metadata.resourceVersion``, only if the object is still that one.

        Raises:
            FieldConflictError: another manager has set a field.
            ConflictError: the object is another one by now.
        """
        kind, name = manifest["kind"], manifest["metadata"]["name"]
        with self._told("patch", kind, name):
            made = self._kind(manifest["apiVersion"], kind)(manifest)
            return _plain(self._client.apply(made, field_manager=MANAGER, force=force, dry_run=dry_run))

    def create(self, manifest: Manifest) -> Manifest:
        """Raises: ConflictError: there is one already."""
        kind = manifest["kind"]
        with self._told("create", kind, manifest["metadata"]["name"]):
            return _plain(self._client.create(self._kind(manifest["apiVersion"], kind)(manifest)))

    def delete(self, version: str, kind: str, name: str) -> None:
        """Deletes the object, if it is there."""
        with contextlib.suppress(AbsentError), self._told("delete", kind, name):
            self._client.delete(self._kind(version, kind), name)

    def patch(
        self, version: str, kind: str, name: str, operations: Sequence[Mapping[str, Any]], manager: str
    ) -> Manifest:
        """A JSON patch.

        Raises:
            ClusterError: there is no such object.
            ConflictError: a ``test`` of the patch failed.
        """
        with self._told("patch", kind, name):
            patch_type = self._lightkube.PatchType.JSON
            found = self._client.patch(
                self._kind(version, kind), name, list(operations), patch_type=patch_type, field_manager=manager
            )
            return _plain(found)

    def _kind(self, version: str, kind: str) -> Any:
        group, _, number = version.rpartition("/")
        info = self._lightkube.create_api_info(group, number, kind, PLURALS[kind])
        return type(kind, (self._lightkube.Resource,), {"_api_info": info})

    @contextlib.contextmanager
    def _told(self, verb: str, kind: str, name: str) -> Iterator[None]:
        try:
            yield
        except self._lightkube.ApiError as error:
            raise refusal(error.status, verb, kind, PLURALS[kind], name, self.namespace) from None
        except self._lightkube.HTTPStatusError as error:  # no answer of the API itself: the path is unknown, or a proxy
            if error.response.status_code == 404:
                raise KindNotServedError(f"the cluster at {self.server} does not know the kind {kind}") from None
            raise ClusterError(
                f"the cluster at {self.server} answers {error.response.status_code}", remedy="check its address"
            ) from None
        except self._lightkube.HTTPError as error:
            raise ClusterError(
                f"the Kubernetes API at {self.server} does not answer: {_told(error)}",
                remedy="check the network, and the target's context",
            ) from None
        except self._lightkube.ConfigError as error:
            raise AccessDeniedError(
                f"no credentials for {self.server}: {_told(error)}",
                remedy="log in again, as kubectl would need it, too",
            ) from None


def _plain(found: Any) -> Manifest:
    return dict(found.to_dict())


def _told(error: Exception) -> str:
    return " ".join(f"{error}".split())[:200] or type(error).__name__


def _lightkube() -> ModuleType:
    """The names of lightkube and its HTTP client that are used here.

    Raises:
        UsageError: it is not installed.
    """
    try:
        from deploy.kubernetes import adapted_lightkube
    except ImportError as error:
        raise UsageError(
            f"targets of kind kubernetes need the package lightkube ({error})",
            remedy="pip install 'divisions[kubernetes]'",
        ) from None
    return adapted_lightkube
