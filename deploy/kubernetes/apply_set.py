"""The objects that belong to a deployment, so that what is no longer wanted is found: an apply set (KEP 3659). Pure.

A ConfigMap is the set's parent. It names the kinds of the members, and each member has the set's id as a label. kubectl
and other tools understand both.
"""

from __future__ import annotations

import base64
import copy
import hashlib
from collections.abc import Iterable

from deploy.kubernetes.manifests import key_of
from deploy.kubernetes.pod_template import Manifest, metadata
from deploy.kubernetes.values import Values
from divisions import __version__

PREFIX = "applyset.kubernetes.io"
ID, PART_OF = f"{PREFIX}/id", f"{PREFIX}/part-of"
TOOLING, KINDS = f"{PREFIX}/tooling", f"{PREFIX}/contains-group-kinds"


def set_id(name: str, namespace: str) -> str:
    """As the specification computes it, of a ConfigMap.

    >>> set_id("divisions-set", "ml-serving")
    'applyset-ySFm4Q4pivPqye1BUNQqVcjMj1jLNCl0_uymkCK_sjs-v1'
    """
    digest = hashlib.sha256(f"{name}.{namespace}.ConfigMap.".encode()).digest()
    return f"applyset-{base64.urlsafe_b64encode(digest).decode().rstrip('=')}-v1"


def parent_name(values: Values) -> str:
    return f"{values.name}-set"


def parent(values: Values, kinds: Iterable[str]) -> Manifest:
    """The set's parent.

    Args:
        kinds: of the members, as ``Kind.group``.
    """
    name = parent_name(values)
    found = metadata(values, name, "set")
    found["labels"][ID] = set_id(name, values.namespace)
    found["annotations"] = {TOOLING: f"divisions/v{__version__}", KINDS: ",".join(sorted(set(kinds)))}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": found}


def as_member(manifest: Manifest, values: Values) -> Manifest:
    found = copy.deepcopy(manifest)
    found["metadata"].setdefault("labels", {})[PART_OF] = set_id(parent_name(values), values.namespace)
    return found


def selector(values: Values) -> dict[str, str]:
    """The label of the members."""
    return {PART_OF: set_id(parent_name(values), values.namespace)}


def group_kind(manifest: Manifest) -> str:
    """``Role.rbac.authorization.k8s.io``; without a group, the kind alone."""
    version, kind, _ = key_of(manifest)
    group = version.rpartition("/")[0]
    return f"{kind}.{group}" if group else kind


def kinds_of(parent_object: Manifest | None) -> set[str]:
    """The kinds that a parent on the cluster names."""
    text = ((parent_object or {}).get("metadata", {}).get("annotations") or {}).get(KINDS, "")
    return {each for each in text.split(",") if each}
