"""An API in memory, with what server-side apply does to the objects of these tests: owners, conflicts, dry runs.

A value that is no mapping is owned as a whole, as an atomic list is. Who applies a field's value as it is owns it, too.
`tests.kube` compares this with a real API server.
"""

import copy
from typing import Any

from deploy.kubernetes.api import MANAGER
from deploy.kubernetes.manifests import key_of
from deploy.kubernetes.refusals import FieldConflictError, KindNotServedError
from divisions.errors import ConflictError


def leaves(value: Any, path: tuple[str, ...] = ()) -> dict[tuple[str, ...], Any]:
    if isinstance(value, dict) and value:
        return {place: leaf for key, each in value.items() for place, leaf in leaves(each, (*path, key)).items()}
    return {path: value}


class FakeApi:
    server = "https://kube.example"

    def __init__(self, namespace="ml", missing=()):
        self.namespace = namespace
        self.missing = set(missing)
        self.objects: dict[tuple[str, str, str], dict[str, Any]] = {}
        self.owners: dict[tuple[str, str, str], dict[tuple[str, ...], frozenset[str]]] = {}
        self.writes: list[tuple[str, str, str]] = []

    def get(self, version, kind, name):
        self._served(kind)
        return copy.deepcopy(self.objects.get((version, kind, name)))

    def list(self, version, kind, labels=None):
        self._served(kind)
        wanted = (labels or {}).items()
        found = [each for key, each in self.objects.items() if key[:2] == (version, kind)]
        return [copy.deepcopy(each) for each in found if wanted <= each["metadata"].get("labels", {}).items()]

    def apply(self, manifest, *, force=False, dry_run=False, manager=MANAGER):
        self._served(manifest["kind"])
        key, live = key_of(manifest), self.objects.get(key_of(manifest))
        new = copy.deepcopy(manifest)
        new["metadata"].pop("resourceVersion", None)
        wanted = leaves(new)
        owners = dict(self.owners.get(key, {}))
        have = leaves(live) if live else {}
        fields: dict[str, tuple[str, ...]] = {}
        for place, value in wanted.items():
            others = owners.get(place, frozenset()) - {manager}
            if others and have.get(place) != value:
                fields |= {who: (*fields.get(who, ()), "." + ".".join(place)) for who in others}
        if fields and not force:
            raise FieldConflictError("conflict", fields)
        version = manifest["metadata"].get("resourceVersion")
        if live is not None and version not in {None, live["metadata"]["resourceVersion"]}:
            raise ConflictError("the object has been modified", remedy="try again")
        owners = {place: who - {manager} if place not in wanted else who for place, who in owners.items()}
        dropped = {place for place, who in owners.items() if not who}
        for place, value in wanted.items():
            kept = owners.get(place, frozenset()) if have.get(place) == value else frozenset()
            owners[place] = kept | {manager}
        result = {place: value for place, value in have.items() if place not in dropped} | wanted
        found: dict[str, Any] = {}
        for place, value in result.items():
            inner = found
            for part in place[:-1]:
                inner = inner.setdefault(part, {})
            inner[place[-1]] = copy.deepcopy(value)
        if dry_run:
            return found
        changed = result != have
        if changed:
            self.writes.append(("apply", *key[1:]))
            number = int(live["metadata"]["resourceVersion"]) + 1 if live else 1
            found["metadata"]["resourceVersion"] = str(number)
            self.objects[key] = found
        self.owners[key] = {place: who for place, who in owners.items() if who}
        return copy.deepcopy(found)

    def delete(self, version, kind, name):
        if self.objects.pop((version, kind, name), None) is not None:
            self.writes.append(("delete", kind, name))

    def patch(self, version, kind, name, operations, manager):
        """Replicas of one group, as `deploy.kubernetes.scale` writes them."""
        test, change = operations
        place = int(test["path"].split("/")[3])
        live = copy.deepcopy(self.objects[version, kind, name])
        groups = live["spec"]["workerGroupSpecs"]
        if groups[place]["groupName"] != test["value"]:
            raise ConflictError("test failed")
        groups[place]["replicas"] = change["value"]
        self.edit(live, manager)
        return live

    def edit(self, manifest, manager):
        """What ``kubectl edit`` does: it owns what it changes."""
        key = key_of(manifest)
        before, after = leaves(self.objects[key]), leaves(manifest)
        changed = {place for place, value in after.items() if before.get(place) != value}
        self.owners[key] |= dict.fromkeys(changed, frozenset({manager}))
        number = int(self.objects[key]["metadata"]["resourceVersion"]) + 1
        self.objects[key] = copy.deepcopy(manifest)
        self.objects[key]["metadata"]["resourceVersion"] = str(number)

    def _served(self, kind):
        if kind in self.missing:
            raise KindNotServedError(f"no {kind}")
