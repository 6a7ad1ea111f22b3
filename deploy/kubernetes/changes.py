"""What an apply would change, from what the cluster has to what is wanted. Pure.

``workerGroupSpecs`` of a RayCluster is one value to Kubernetes: whoever sets one replica count owns the whole list. So
the replica counts that the cluster has are carried over. After that, the list differs only if somebody changed more.
"""

from __future__ import annotations

import copy
import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from deploy.kubernetes.json_patch import difference
from deploy.kubernetes.pod_template import Manifest
from divisions.errors import ClusterError

SCALER = "divisions-scale"
"""Our own manager of replica counts, apart from the one that applies."""
_BOOKKEEPING = ("managedFields", "resourceVersion", "generation", "creationTimestamp", "uid", "selfLink", "annotations")
_SHOWN_CHARS = 60


class Verb(enum.StrEnum):
    CREATE = "create"
    CHANGE = "change"
    DELETE = "delete"


@dataclass(frozen=True, slots=True)
class Change:
    """One object that is to be made, changed or deleted.

    Attributes:
        manifest: as it is to be applied.
        lines: what changes, for people.
        conflicts: fields that another manager has set, by the manager.
    """

    verb: Verb
    manifest: Manifest
    lines: tuple[str, ...] = ()
    conflicts: Mapping[str, tuple[str, ...]] | None = None

    def __str__(self) -> str:
        sign = {Verb.CREATE: "+", Verb.CHANGE: "~", Verb.DELETE: "-"}[self.verb]
        return f"{sign} {self.manifest['kind']} {self.manifest['metadata']['name']}"


def with_live_replicas(wanted: Manifest, live: Manifest) -> Manifest:
    """The wanted RayCluster with the replica counts that the live one has.

    Raises:
        ClusterError: a worker group is no longer wanted; it can never be removed from a living cluster.
    """
    groups = {group["groupName"]: group for group in live.get("spec", {}).get("workerGroupSpecs", [])}
    found = copy.deepcopy(wanted)
    names = [group["groupName"] for group in found["spec"]["workerGroupSpecs"]]
    if missing := sorted(set(groups) - set(names)):
        raise ClusterError(
            f"RayCluster {wanted['metadata']['name']} has the worker group {missing[0]}, which the manifests lack:"
            " KubeRay cannot remove one, and its pods would stay",
            remedy="keep the target's `model`, or deploy under another `name` beside it",
        )
    for group in found["spec"]["workerGroupSpecs"]:
        if group["groupName"] in groups:
            group["replicas"] = groups[group["groupName"]].get("replicas", group["replicas"])
    # Groups that are new come last, so that the others keep their places in the list.
    found["spec"]["workerGroupSpecs"].sort(
        key=lambda group: list(groups).index(group["groupName"]) if group["groupName"] in groups else len(groups)
    )
    return found


def changed_lines(live: Manifest, after: Manifest) -> tuple[str, ...]:
    """Lines such as ``spec.replicas: 2 → 4``, from what is there to what an apply would make of it."""
    return tuple(_line(each, _content(live)) for each in difference(_content(live), _content(after)))


def foreign(conflicts: Mapping[str, Sequence[str]]) -> dict[str, tuple[str, ...]]:
    """The conflicts with managers that are not ours."""
    return {who: tuple(fields) for who, fields in conflicts.items() if who != SCALER}


def _content(manifest: Manifest) -> Manifest:
    found = {key: value for key, value in manifest.items() if key not in {"status", "apiVersion", "kind"}}
    found["metadata"] = {key: value for key, value in manifest["metadata"].items() if key not in _BOOKKEEPING}
    return found


def _line(operation: Mapping[str, Any], live: Manifest) -> str:
    path = [part.replace("~1", "/").replace("~0", "~") for part in operation["path"].split("/")[1:]]
    place = "".join(f"[{part}]" if part.isdigit() or part == "-" else f".{part}" for part in path).lstrip(".")
    new = "nothing" if operation["op"] == "remove" else _short(operation["value"])
    return f"{place}: {'nothing' if operation['op'] == 'add' else _short(_at(live, path))} → {new}"


def _at(document: Any, path: Sequence[str]) -> Any:
    for part in path:
        document = document[int(part)] if isinstance(document, list) else document[part]
    return document


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else repr(value)
    text = " ".join(text.split())
    return text if len(text) <= _SHOWN_CHARS else f"{text[:_SHOWN_CHARS]}…"
