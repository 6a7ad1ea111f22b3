"""A cluster's API: objects in and out as dictionaries, and errors that name what may not be done and by whom.

It adapts `lightkube`, which is imported only here and only when a cluster is opened. Watches are not used: lightkube's
never ends, and a silent one blocks its thread.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from msgspec import MsgspecError
from yaml import YAMLError

from deploy.kubernetes.pod_template import Manifest
from divisions.errors import AccessDeniedError, ClusterError, ConflictError, UsageError

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
_FORBIDDEN = re.compile(r'User "(?P<who>[^"]*)" cannot (?P<verb>\S+) resource "(?P<what>[^"]*)"')
_BAD_FILE = (OSError, LookupError, TypeError, ValueError, AttributeError, AssertionError, YAMLError, MsgspecError)
"""What lightkube raises for a kubeconfig that is malformed; it does not check the file as a whole."""
_CONFLICT = re.compile(r'conflict with "(?P<who>[^"]*)"')


class KindNotServedError(ClusterError):
    """The cluster does not know this kind."""


class FieldConflictError(ConflictError):
    """Others have changed fields that we set. ``fields`` has them by their managers."""

    def __init__(self, message: str, fields: Mapping[str, tuple[str, ...]]) -> None:
        super().__init__(message, remedy="find out why; `--force-conflicts` takes them back")
        self.fields = fields


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
        except _AbsentError:
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
        with contextlib.suppress(_AbsentError), self._told("delete", kind, name):
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
            raise _refusal(error.status, verb, kind, name, self.namespace) from None
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


class _AbsentError(ClusterError):
    """There is no such object."""


def _refusal(status: Any, verb: str, kind: str, name: str, namespace: str) -> Exception:
    """The error that a Status of the API means. Pure."""
    message, code = str(status.message or ""), int(status.code or 0)
    what = f"{kind} {name}".strip()
    details = status.details
    if code == 401:
        return AccessDeniedError(f"the cluster refuses our credentials for {what}", remedy="log in again")
    if code == 403:
        found = _FORBIDDEN.search(message)
        if found is None:
            return ClusterError(f"the cluster refuses to {verb} {what}: {message}", remedy="mend what it says")
        return AccessDeniedError(
            f"{found['who']} may not {found['verb']} {found['what']} in the namespace {namespace}",
            remedy="ask for a RoleBinding to the Role of deployers; see docs/kubernetes.md",
        )
    if code == 404:
        if details is not None and details.kind == "namespaces":
            return ClusterError(
                f"there is no namespace {namespace}", remedy=f"make it: kubectl create namespace {namespace}"
            )
        if details is None or not details.name:  # of the group, the cluster serves other versions or kinds only
            return KindNotServedError(f"the cluster does not know the kind {kind}")
        return _AbsentError(f"there is no {what} in the namespace {namespace}")
    if code == 409:
        fields: dict[str, tuple[str, ...]] = {}
        for cause in (details.causes if details is not None else None) or ():
            who = _CONFLICT.search(cause.message or "")
            if who is not None:
                fields[who["who"]] = (*fields.get(who["who"], ()), str(cause.field))
        if fields:
            told = "; ".join(f"{who} has set {', '.join(places)}" for who, places in fields.items())
            return FieldConflictError(f"{what}: {told}", fields)
        return ConflictError(f"{what} has just been changed by another: {message}", remedy="try again")
    if code == 422 and "test failed" in message.lower():
        return ConflictError(f"{what} has just been changed by another", remedy="try again")
    return ClusterError(f"the cluster refuses {what}: {message}", remedy="mend what it says")


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
