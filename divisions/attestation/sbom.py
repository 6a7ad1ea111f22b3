"""What is in a bundle, as CycloneDX 1.6: the model, its files, and the libraries that made it. Pure.

https://cyclonedx.org/docs/1.6/json. The writer is ours: the part of the standard that a bundle needs is this page.
"""

from __future__ import annotations

import uuid
from typing import Any, Final

import msgspec

from divisions.attestation.facts import BundleFacts
from divisions.attestation.provenance import package_url

PREDICATE_TYPE: Final = "https://cyclonedx.org/bom"
_NAMESPACE: Final = uuid.UUID("6ba7b812-9dad-11d1-80b4-00c04fd430c8")  # of OIDs (RFC 9562); any fixed one would do


def bill_of_materials(facts: BundleFacts) -> dict[str, Any]:
    """The document. It depends on the bundle and its run only, so it has no time and no number of its own."""
    manifest, sha256 = facts.manifest, facts.sha256
    files = [_file(name, digest) for name, digest in sorted(manifest.files.items())]
    libraries = [_library(name, version) for name, version in sorted(facts.packages.items())]
    model = {
        "type": "machine-learning-model",
        "bom-ref": "model",
        "name": manifest.model,
        "version": sha256[:16],
        "hashes": [{"alg": "SHA-256", "content": sha256}],
        "modelCard": _card(facts),
    }
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.uuid5(_NAMESPACE, sha256)}",
        "version": 1,
        "metadata": {
            **({"timestamp": facts.created_at} if facts.created_at else {}),
            "component": model,
            "tools": _tools(facts),
        },
        "components": [*files, *libraries],
        "dependencies": [{"ref": "model", "dependsOn": [each["bom-ref"] for each in (*files, *libraries)]}],
    }


def to_json(document: dict[str, Any]) -> bytes:
    """The same bytes for the same document."""
    return msgspec.json.encode(document, order="deterministic")


def _card(facts: BundleFacts) -> dict[str, Any]:
    manifest = facts.manifest
    uri = facts.input_uri
    parameters: dict[str, Any] = {
        "task": "binary classification",
        "inputs": [{"format": f"float32[N, {manifest.schema.num_columns}]"}],
        "outputs": [{"format": "float32[N]"}],
    }
    if uri:
        parameters["datasets"] = [{"type": "dataset", "name": uri}]
    metrics = [{"type": name, "value": f"{value:.6g}"} for name, value in sorted(manifest.metrics.items())]
    return {"modelParameters": parameters, "quantitativeAnalysis": {"performanceMetrics": metrics}}


def _tools(facts: BundleFacts) -> dict[str, Any]:
    components = [{"type": "application", "name": "divisions", "version": facts.lineage.get("code", "unknown")}]
    if python := facts.lineage.get("python"):
        components.append({"type": "platform", "name": "python", "version": python})
    if framework := facts.manifest.framework:
        components.append({"type": "framework", "name": framework})
    return {"components": components}


def _file(name: str, sha256: str) -> dict[str, Any]:
    return {
        "type": "file",
        "bom-ref": f"file:{name}",
        "name": name,
        "hashes": [{"alg": "SHA-256", "content": sha256}],
    }


def _library(name: str, version: str) -> dict[str, Any]:
    url = package_url(name, version)
    return {"type": "library", "bom-ref": url, "name": name, "version": version, "purl": url, "scope": "excluded"}
