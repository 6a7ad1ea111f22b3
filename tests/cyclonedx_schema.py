"""The schema of CycloneDX 1.6, in the strict form that its own library carries."""

from __future__ import annotations

import importlib.resources
import json

from jsonschema import Draft7Validator
from referencing import Registry, Resource


def validator() -> Draft7Validator:
    folder = importlib.resources.files("cyclonedx.schema._res")
    parts = [json.loads((folder / f"{name}.SNAPSHOT.schema.json").read_text()) for name in ("spdx", "jsf-0.82")]
    registry = Registry().with_resources([(part["$id"], Resource.from_contents(part)) for part in parts])
    return Draft7Validator(json.loads((folder / "bom-1.6.SNAPSHOT.schema.json").read_text()), registry=registry)
