"""Where a bundle comes from, as SLSA provenance v1: run, data, code and environment. Pure.

https://slsa.dev/spec/v1.0/provenance. Divisions signs what the run has noted of itself; it claims no SLSA level.
"""

from __future__ import annotations

import datetime as dt
import hashlib
from typing import Any, Final
from urllib.parse import quote

from divisions.attestation.facts import BundleFacts

PREDICATE_TYPE: Final = "https://slsa.dev/provenance/v1"
BUILD_TYPE: Final = "urn:divisions:training:v1"
BUILDER: Final = "urn:divisions:trainers"


def provenance(facts: BundleFacts, sbom: bytes) -> dict[str, Any]:
    """The predicate.

    Args:
        sbom: the bill of materials; its digest makes it a part of what is signed here.
    """
    manifest, lineage = facts.manifest, facts.lineage
    data = {
        "uri": facts.input_uri,
        "partition": lineage.get("partition", ""),
    }
    metadata = {"invocationId": facts.run_id}
    if facts.started_at_s:
        metadata["startedOn"] = _time(facts.started_at_s)
    return {
        "buildDefinition": {
            "buildType": BUILD_TYPE,
            "externalParameters": {"pipeline": manifest.pipeline, "data": _given(data)},
            "internalParameters": {"hyperparameters": dict(facts.params)},
            "resolvedDependencies": _dependencies(facts),
        },
        "runDetails": {
            "builder": {"id": BUILDER, "version": _given({"divisions": lineage.get("code", "")})},
            "metadata": metadata,
            "byproducts": [{"name": "bom.cdx.json", "digest": {"sha256": _sha256(sbom)}}],
        },
    }


def _dependencies(facts: BundleFacts) -> list[dict[str, Any]]:
    lineage = facts.lineage
    found: list[dict[str, Any]] = []
    if digest := lineage.get("data_sha256"):
        annotations = {
            name: lineage[name] for name in ("partition", "rows_read", "rows_quarantined") if name in lineage
        }
        found.append(
            {
                "name": "prepared data",
                "uri": facts.input_uri,
                "digest": {"sha256": digest},
                "annotations": annotations,
            }
        )
    if digest := lineage.get("pipeline_sha256"):
        found.append({"name": "pipeline file", "digest": {"sha256": digest}})
    if commit := lineage.get("git_commit"):
        found.append({"name": "repository of the pipeline file", "digest": {"gitCommit": commit}})
    if python := lineage.get("python"):
        found.append({"name": "python", "annotations": {"version": python}})
    found += [{"name": name, "uri": package_url(name, version)} for name, version in sorted(facts.packages.items())]
    return found


def package_url(name: str, version: str) -> str:
    """The address of a Python package (purl).

    >>> package_url("torch", "2.6.0+cpu")
    'pkg:pypi/torch@2.6.0%2Bcpu'
    """
    return f"pkg:pypi/{name.lower().replace('_', '-')}@{quote(version, safe='.-_~')}"


def _given(values: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in values.items() if value}


def _time(at_s: float) -> str:
    return dt.datetime.fromtimestamp(int(at_s), dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
