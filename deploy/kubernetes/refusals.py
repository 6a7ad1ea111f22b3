"""What a Status of the Kubernetes API means: an error that names the culprit. Pure.

The messages are those of a real API server; `tests/kube` has the cases.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from divisions.errors import AccessDeniedError, ClusterError, ConflictError

_FORBIDDEN = re.compile(r'User "(?P<who>[^"]*)" cannot (?P<verb>\S+) resource "(?P<what>[^"]*)"')
_GRANTED = re.compile(r'user "(?P<who>[^"]*)".* is attempting to grant RBAC permissions not currently held:')
_RIGHT = re.compile(r"Resources:\[(?P<what>[^\]]*)\].*Verbs:\[(?P<verbs>[^\]]*)\]")
_CONFLICT = re.compile(r'conflict with "(?P<who>[^"]*)"')
_ROLE = "ask for a RoleBinding to the Role of deployers; see docs/kubernetes.md"


class KindNotServedError(ClusterError):
    """The cluster does not know this kind."""


class AbsentError(ClusterError):
    """There is no such object."""


class ReferenceAbsentError(ClusterError):
    """An object cannot be written, because it refers to another that is not there. ``name`` is the other's."""

    def __init__(self, message: str, name: str) -> None:
        super().__init__(message, remedy="make that first")
        self.name = name


class FieldConflictError(ConflictError):
    """Others have changed fields that we set. ``fields`` has them by their managers."""

    def __init__(self, message: str, fields: Mapping[str, tuple[str, ...]]) -> None:
        super().__init__(message, remedy="find out why; `--force-conflicts` takes them back")
        self.fields = fields


def refusal(status: Any, verb: str, kind: str, plural: str, name: str, namespace: str) -> Exception:
    """The error that a Status of the API means.

    Args:
        status: lightkube's, with ``code``, ``message`` and ``details``.
        verb: what was asked for; ``patch`` may also create, if it applies.
        plural: of the kind.
    """
    message, code, details = str(status.message or ""), int(status.code or 0), status.details
    what = f"{kind} {name}".strip()
    match code:
        case 401:
            return AccessDeniedError(f"the cluster refuses our credentials for {what}", remedy="log in again")
        case 403:
            return _forbidden(message, verb, what, plural, namespace)
        case 404 if details is not None and details.kind == "namespaces":
            return ClusterError(
                f"there is no namespace {namespace}", remedy=f"make it: kubectl create namespace {namespace}"
            )
        case 404 if details is None or not details.name:  # of the group, the cluster has other versions or kinds only
            return KindNotServedError(f"the cluster does not know the kind {kind}")
        case 404 if (details.kind, details.name) != (plural, name):
            told = f"{what} refers to {details.name} of {details.kind}, which is not in the namespace {namespace}"
            return ReferenceAbsentError(told, details.name)
        case 404:
            return AbsentError(f"there is no {what} in the namespace {namespace}")
        case 409:
            return _conflict(message, details, what)
        case 422 if details is None or not details.name:  # a patch, not an object; the API says no more than that
            return ConflictError(f"{what} has just been changed by another", remedy="try again")
    return ClusterError(f"the cluster refuses {what}: {message}", remedy="mend what it says")


def _forbidden(message: str, verb: str, what: str, plural: str, namespace: str) -> Exception:
    if found := _FORBIDDEN.search(message):
        told = f"{found['who']} may not {found['verb']} {found['what']} in the namespace {namespace}"
        return AccessDeniedError(told, remedy=_ROLE)
    if found := _GRANTED.search(message):
        rights = ", ".join(
            f"{right['verbs']} {right['what']}".replace('"', "") for right in _RIGHT.finditer(message[found.end() :])
        )
        told = f"{found['who']} may not grant with {what} what they may not do themselves: {rights}"
        return AccessDeniedError(told, remedy=_ROLE)
    if verb == "patch" and message.rstrip().endswith("is forbidden:"):  # an apply that would create, without a reason
        return AccessDeniedError(f"we may not create {plural} in the namespace {namespace}", remedy=_ROLE)
    return ClusterError(f"the cluster refuses to {verb} {what}: {message}", remedy="mend what it says")


def _conflict(message: str, details: Any, what: str) -> Exception:
    fields: dict[str, tuple[str, ...]] = {}
    for cause in (details.causes if details is not None else None) or ():
        who = _CONFLICT.search(cause.message or "")
        if who is not None:
            fields[who["who"]] = (*fields.get(who["who"], ()), str(cause.field))
    if fields:
        told = "; ".join(f"{who} has set {', '.join(places)}" for who, places in fields.items())
        return FieldConflictError(f"{what}: {told}", fields)
    return ConflictError(f"{what} has just been changed by another: {message}", remedy="try again")
