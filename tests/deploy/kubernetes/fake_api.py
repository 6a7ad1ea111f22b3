"""An API in memory, with what server-side apply does to the objects of these tests: owners, conflicts, dry runs.

A value that is no mapping is owned as a whole, as an atomic list is.
"""

import copy
from typing import Any

from deploy.kubernetes.api import MANAGER, FieldConflictError, KindNotServedError
from deploy.kubernetes.manifests import key_of
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
        self.owners: dict[tuple[str, str, str], dict[tuple[str, ...], str]] = {}
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
        version = manifest["metadata"].get("resourceVersion")
        if live is not None and version not in {None, live["metadata"]["resourceVersion"]}:
            raise ConflictError("the object has been modified", remedy="try again")
        new = copy.deepcopy(manifest)
        new["metadata"].pop("resourceVersion", None)
        wanted = leaves(new)
        owners = dict(self.owners.get(key, {}))
        have = leaves(live) if live else {}
        fields: dict[str, tuple[str, ...]] = {}
        for place, value in wanted.items():
            owner = owners.get(place, manager)
            if owner != manager and have.get(place) != value:
                fields[owner] = (*fields.get(owner, ()), "." + ".".join(place))
        if fields and not force:
            raise FieldConflictError("conflict", fields)
        dropped = {place for place, owner in owners.items() if owner == manager and place not in wanted}
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
        self.owners[key] = {place: owner for place, owner in owners.items() if place not in dropped} | dict.fromkeys(
            wanted, manager
        )
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
        self.owners[key] |= dict.fromkeys(changed, manager)
        number = int(self.objects[key]["metadata"]["resourceVersion"]) + 1
        self.objects[key] = copy.deepcopy(manifest)
        self.objects[key]["metadata"]["resourceVersion"] = str(number)

    def _served(self, kind):
        if kind in self.missing:
            raise KindNotServedError(f"no {kind}")
