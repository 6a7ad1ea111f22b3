"""Brings manifests onto a cluster by server-side apply, and takes away what is no longer wanted."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from deploy.kubernetes import apply_set
from deploy.kubernetes.api import Api
from deploy.kubernetes.changes import Change, Verb, changed_lines, foreign, with_live_replicas
from deploy.kubernetes.manifests import key_of
from deploy.kubernetes.pod_template import Manifest
from deploy.kubernetes.refusals import FieldConflictError, KindNotServedError, ReferenceAbsentError
from deploy.kubernetes.values import Values
from divisions.errors import ClusterError, ConflictError

TRIES = 3
_OPTIONAL = {
    "ServiceMonitor": "metrics are not scraped: the cluster has no Prometheus operator",
    "PodDisruptionBudget": "draining nodes may take several gateways at once: the cluster has no policy/v1",
    "CronJob": "nothing runs nightly: the cluster has no CronJob of batch/v1",
}
"""Kinds that a cluster may lack, and what is missing then."""
_REMEDIES = {
    "RayCluster": "install KubeRay's operator, which brings them",
    "RayJob": "install KubeRay's operator, which brings them",
    "HTTPRoute": "install the Gateway API, or set the target's entry to ingress",
}


@dataclass(frozen=True, slots=True)
class Found:
    """What an apply would do.

    Attributes:
        notices: what the cluster lacks.
        kinds: of all wanted objects, for the apply set.
    """

    changes: tuple[Change, ...]
    notices: tuple[str, ...]
    kinds: frozenset[str]

    @property
    def conflicts(self) -> tuple[Change, ...]:
        return tuple(change for change in self.changes if change.conflicts)


def compare(api: Api, values: Values, manifests: Sequence[Manifest]) -> Found:
    """What is to be done. Changes nothing; each object is asked for by a dry run, so defaults and admission count.

    Raises:
        ClusterError: the cluster lacks a kind that is needed, or the namespace.
        AccessDeniedError: we may not read, or not apply.
    """
    changes, notices, kinds = [], [], set()
    for plain in manifests:
        wanted = apply_set.as_member(plain, values)
        version, kind, name = key_of(wanted)
        try:
            live = api.get(version, kind, name)
        except KindNotServedError as error:
            if kind not in _OPTIONAL:
                raise ClusterError(
                    f"the cluster at {api.server} has no {kind} ({version})", remedy=_REMEDIES.get(kind, "update it")
                ) from error
            notices.append(_OPTIONAL[kind])
            continue
        kinds.add(apply_set.group_kind(wanted))
        change = _change(api, wanted, live, {key_of(each)[2] for each in manifests})
        if change is not None:
            changes.append(change)
    old = _unwanted(api, values, {key_of(each) for each in manifests}, kinds)
    return Found((*changes, *old), tuple(notices), frozenset(kinds))


def carry_out(api: Api, values: Values, found: Found, *, force: bool, say: Callable[[str], None]) -> None:
    """Does what `compare` has found. It may be cut off anywhere: the next comparison finds what is left.

    Raises:
        ConflictError: another manager has set fields that we set, and ``force`` is false. Nothing is applied then.
    """
    if found.conflicts and not force:
        told = "; ".join(
            f"{change.manifest['kind']} {change.manifest['metadata']['name']}: {who} has set {', '.join(fields)}"
            for change in found.conflicts
            for who, fields in (change.conflicts or {}).items()
        )
        raise ConflictError(
            f"others have changed what we deploy: {told}; nothing was applied",
            remedy="find out why, and put it into the target's values; `--force-conflicts` takes it back",
        )
    before = apply_set.kinds_of(api.get("v1", "ConfigMap", apply_set.parent_name(values)))
    api.apply(apply_set.parent(values, before | found.kinds), force=True)
    for change in found.changes:
        if change.verb is Verb.DELETE:
            api.delete(*key_of(change.manifest))
        else:
            _apply(api, change.manifest, force=force)
        say(str(change))
    if before - found.kinds:
        api.apply(apply_set.parent(values, found.kinds), force=True)


def _change(api: Api, wanted: Manifest, live: Manifest | None, names: set[str]) -> Change | None:
    if live is None:
        try:
            api.apply(wanted, dry_run=True)  # what is refused is told before anything is done
        except ReferenceAbsentError as error:
            if error.name not in names:  # a RoleBinding asks for its Role, which a dry run does not make
                raise
        return Change(Verb.CREATE, wanted)
    if wanted["kind"] == "RayCluster":
        wanted = with_live_replicas(wanted, live)
    lines = changed_lines(live, api.apply(wanted, force=True, dry_run=True))
    if not lines:
        return None
    try:
        api.apply(wanted, dry_run=True)
    except FieldConflictError as error:
        return Change(Verb.CHANGE, wanted, lines, foreign(error.fields) or None)
    return Change(Verb.CHANGE, wanted, lines)


def _apply(api: Api, manifest: Manifest, *, force: bool) -> None:
    """A RayCluster is applied to the very version that its replicas were read from: the autoscaler may change them."""
    if manifest["kind"] != "RayCluster":
        api.apply(manifest, force=force)
        return
    for attempt in range(TRIES):
        live = api.get(*key_of(manifest))
        wanted = manifest
        if live is not None:
            wanted = with_live_replicas(manifest, live)
            wanted["metadata"]["resourceVersion"] = live["metadata"]["resourceVersion"]
        try:
            _apply_over_scaler(api, wanted, force=force)
        except FieldConflictError:
            raise
        except ConflictError:
            if attempt == TRIES - 1:
                raise
        else:
            return


def _apply_over_scaler(api: Api, wanted: Manifest, *, force: bool) -> None:
    """The list of groups may be owned by our own scaling; nobody else's fields are taken without ``force``."""
    try:
        api.apply(wanted, force=force)
    except FieldConflictError as error:
        if foreign(error.fields):
            raise
        api.apply(wanted, force=True)


def _unwanted(api: Api, values: Values, wanted: set[tuple[str, str, str]], kinds: set[str]) -> list[Change]:
    """Members of the set on the cluster that are no longer wanted."""
    parent = api.get("v1", "ConfigMap", apply_set.parent_name(values))
    found = []
    for group_kind in sorted(apply_set.kinds_of(parent) | (kinds if parent else set())):
        kind, _, group = group_kind.partition(".")
        version = _VERSIONS.get(group)
        if version is None:
            continue
        members = api.list(version, kind, apply_set.selector(values))
        found += [Change(Verb.DELETE, each) for each in members if key_of(each) not in wanted]
    return found


_VERSIONS = {
    "": "v1",
    "batch": "batch/v1",
    "gateway.networking.k8s.io": "gateway.networking.k8s.io/v1",
    "monitoring.coreos.com": "monitoring.coreos.com/v1",
    "networking.k8s.io": "networking.k8s.io/v1",
    "policy": "policy/v1",
    "ray.io": "ray.io/v1",
    "rbac.authorization.k8s.io": "rbac.authorization.k8s.io/v1",
}
"""The versions in which members were written, by their group."""
