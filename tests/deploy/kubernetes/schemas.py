"""Objects against the schemas that Kubernetes and KubeRay publish; an unknown field is an error.

An API server drops unknown fields of custom resources without a word.
"""

import copy
import functools
import lzma
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import yaml

CRDS = Path(__file__).parent / "crds"
KUBERNETES = "1.37"
OTHERS = {"HTTPRoute", "ServiceMonitor"}
"""Kinds of other projects, whose schemas are not here."""


@functools.cache
def crd(kind: str) -> dict[str, Any]:
    text = lzma.decompress((CRDS / f"ray.io_{kind.lower()}s.yaml.xz").read_bytes())
    return yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))


def check(manifest: dict[str, Any]) -> None:
    """Raises: AssertionError, with the place."""
    if manifest["kind"] in OTHERS:
        return
    if manifest["apiVersion"].startswith("ray.io/"):
        errors = list(validator(manifest["kind"]).iter_errors(manifest))
        assert not errors, [f"{error.json_path}: {error.message[:200]}" for error in errors]
        return
    try:
        kubernetes_validate.validate(manifest, KUBERNETES, strict=True)
    except kubernetes_validate.ValidationError as error:
        raise AssertionError(f"{manifest['kind']} {manifest['metadata']['name']}: {error.message}") from None


@functools.cache
def validator(kind: str) -> jsonschema.Draft7Validator:
    version = next(each for each in crd(kind)["spec"]["versions"] if each["name"] == "v1")
    schema = version["schema"]["openAPIV3Schema"]
    schema = copy.deepcopy(schema)  # `crd` gives every caller the same
    closed(schema)
    schema["properties"]["metadata"] = {"type": "object"}
    return jsonschema.Draft7Validator(schema)


def closed(schema: Any) -> None:
    """Makes what a schema does not name an error, and a quantity a text or a number."""
    if isinstance(schema, list):
        for each in schema:
            closed(each)
    if not isinstance(schema, dict):
        return
    if "properties" in schema and schema.get("type") == "object":
        schema.setdefault("additionalProperties", False)
    for each in schema.values():
        closed(each)
