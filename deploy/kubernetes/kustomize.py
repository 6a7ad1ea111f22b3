"""A kustomize base and its overlays, as files. An overlay patches the base into the objects of its values. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import yaml

from deploy.kubernetes.json_patch import difference
from deploy.kubernetes.manifests import key_of, namespace, render
from deploy.kubernetes.pod_template import Manifest
from deploy.kubernetes.values import Values
from divisions.errors import UsageError

BASE_IMAGE = "divisions"
"""The image's name in the base. ``images:`` of an overlay must name it as the base does. Otherwise kustomize replaces
nothing, and does not say so."""


def files(base: Values, overlays: Mapping[str, Values], pipeline: str) -> dict[str, str]:
    """The files' texts by their paths.

    Raises:
        UsageError: an overlay's image has no digest, or its objects have other names than the base's.
    """
    plain = render(replace(base, image=BASE_IMAGE), pipeline)
    found = {f"base/{file_of(each)}": _yaml(each) for each in plain}
    found["base/kustomization.yaml"] = _kustomization({"resources": [file_of(each) for each in plain]})
    for name, values in overlays.items():
        folder = f"overlays/{name}"
        for path, text in _overlay(plain, name, values, pipeline).items():
            found[f"{folder}/{path}"] = text
    return found


def file_of(manifest: Manifest) -> str:
    _, kind, name = key_of(manifest)
    return f"{kind.lower()}-{name}.yaml"


def _overlay(plain: list[Manifest], name: str, values: Values, pipeline: str) -> dict[str, str]:
    if not values.is_pinned:
        raise UsageError(
            f"the image of {name}, {values.image!r}, has no digest: what runs could change without a deployment",
            remedy="write it as registry/repository@sha256:…",
        )
    before = {_without_suffix(each): each for each in plain}
    after = render(values, pipeline)
    if missing := sorted(set(before) - {_without_suffix(each) for each in after}):
        raise UsageError(
            f"the overlay {name} lacks objects of the base: {', '.join(' '.join(each) for each in missing)}",
            remedy="give all overlays the same name",
        )
    found: dict[str, str] = {"namespace.yaml": _yaml(namespace(values))}
    resources, patches = ["../../base", "namespace.yaml"], []
    for manifest in after:
        old = before.get(_without_suffix(manifest))
        if old is None:
            resources.append(file_of(manifest))
            found[file_of(manifest)] = _yaml(manifest)
        elif changes := difference(_moved(old, values), manifest):
            path = f"patch-{file_of(old)}"
            found[path] = yaml.safe_dump(changes, sort_keys=False, allow_unicode=True, width=120)
            version, kind, old_name = key_of(old)
            group, _, number = version.rpartition("/")
            target = {"version": number, "kind": kind, "name": old_name} | ({"group": group} if group else {})
            patches.append({"path": path, "target": target, "options": {"allowNameChange": True}})
    image, _, digest = values.image.partition("@")
    found["kustomization.yaml"] = _kustomization(
        {
            "namespace": values.namespace,
            "images": [{"name": BASE_IMAGE, "newName": image, "digest": digest}],
            "resources": resources,
            "patches": patches,
        }
    )
    return found


def _moved(manifest: Manifest, values: Values) -> Manifest:
    """The object as ``namespace:`` and ``images:`` of kustomize change it."""
    return {key: _moved_value(key, value, values) for key, value in manifest.items()}


def _moved_value(key: str, value: Any, values: Values) -> Any:
    if isinstance(value, dict):
        return _moved(value, values)
    if isinstance(value, list):
        return [_moved_value("", each, values) for each in value]
    if key == "namespace":
        return values.namespace
    return values.image if key == "image" else value


def _without_suffix(manifest: Manifest) -> tuple[str, str, str]:
    """The key, without the hash in the name of the attaching job."""
    version, kind, name = key_of(manifest)
    return (version, kind, name.rpartition("-")[0]) if kind == "RayJob" else (version, kind, name)


def _kustomization(content: Manifest) -> str:
    return _yaml({"apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization", **content})


def _yaml(manifest: Manifest) -> str:
    return yaml.safe_dump(manifest, sort_keys=False, allow_unicode=True, width=120)
