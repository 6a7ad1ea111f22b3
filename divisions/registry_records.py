"""The tags of a registered version, and the plain values made from MLflow's records. Pure.

==============================  ====================================================================
on a version
==============================  ====================================================================
tag ``divisions.version``       its label, such as ``3.2``
tag ``validation_status``       pending, passed or failed
tag ``archived``                ``true`` after another version has replaced it in production
tag ``divisions.bundle_*``      address and SHA-256 of its bundle; older versions have a path for the address
tag ``divisions.framework``     what has made the graph; absent in older versions, as is ``divisions.bytes``
tag ``divisions.bytes``         the size of its bundle
==============================  ====================================================================

A tracking server may be shared. Versions without ``divisions.bundle_sha256`` are other tools' versions
(`divisions.foreign_models`).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from divisions.versions import PRODUCTION, RegisteredVersion, RunRecord, ValidationStatus

LABEL: Final = "divisions.version"
STATUS: Final = "validation_status"
ARCHIVED: Final = "archived"
_MAJOR = "divisions.major"
_BUNDLE_PATH = "divisions.bundle_path"
_BUNDLE_SHA256 = "divisions.bundle_sha256"
_FRAMEWORK = "divisions.framework"
_SIZE = "divisions.bytes"
_MESSAGE = "validation_message"
_METRIC = "metric."
_LINEAGE = "lineage."
_MAX_TAG_CHARS = 5_000
"""MLflow's limit for the value of a version's tag."""


@dataclass(frozen=True, slots=True)
class VersionRecord:
    """A model version as MLflow stores it. ``aliases`` are those that point to it; ``storage`` is where it lies."""

    name: str
    version: int
    run_id: str
    created_at_ms: int
    tags: Mapping[str, str]
    aliases: tuple[str, ...] = ()
    storage: str = field(default="", compare=False)


def pending_tags(
    major: int,
    address: str,
    bundle_sha256: str,
    metrics: Mapping[str, float],
    message: str,
    lineage: Mapping[str, str],
    framework: str = "",
    size_bytes: int = 0,
) -> dict[str, str]:
    """The tags of a new version, whose status is still ``pending``."""
    return {
        _MAJOR: str(major),
        _BUNDLE_PATH: address,
        _BUNDLE_SHA256: bundle_sha256,
        STATUS: ValidationStatus.PENDING.value,
        _MESSAGE: message[:_MAX_TAG_CHARS],
        _FRAMEWORK: framework[:_MAX_TAG_CHARS],
        _SIZE: str(size_bytes),
        **{_METRIC + name: repr(float(value)) for name, value in metrics.items() if math.isfinite(value)},
        **{_LINEAGE + name: value[:_MAX_TAG_CHARS] for name, value in lineage.items()},
    }


def is_foreign(record: VersionRecord) -> bool:
    """Whether another tool has registered it."""
    return _BUNDLE_SHA256 not in record.tags


def registered_version(record: VersionRecord) -> RegisteredVersion | None:
    """The version as a plain value; None if another tool has registered it."""
    tags = record.tags
    if is_foreign(record):
        return None
    return RegisteredVersion(
        model=record.name,
        version=tags.get(LABEL) or f"{tags.get(_MAJOR, '0')}.{record.version}",
        registry_version=record.version,
        run_id=record.run_id,
        bundle_path=Path(tags.get(_BUNDLE_PATH, "")),
        bundle_sha256=tags[_BUNDLE_SHA256],
        validation_status=ValidationStatus(tags.get(STATUS, ValidationStatus.PENDING)),
        metrics={name.removeprefix(_METRIC): float(v) for name, v in tags.items() if name.startswith(_METRIC)},
        aliases=tuple(sorted(record.aliases)),
        is_archived=tags.get(ARCHIVED) == "true",
        created_at_s=record.created_at_ms / 1000,
        message=tags.get(_MESSAGE, ""),
        lineage={name.removeprefix(_LINEAGE): v for name, v in tags.items() if name.startswith(_LINEAGE)},
        framework=tags.get(_FRAMEWORK, ""),
        size_bytes=int(tags.get(_SIZE, "0")),
    )


def run_record(
    run_id: str,
    name: str | None,
    status: str,
    start_ms: int | None,
    end_ms: int | None,
    params: Mapping[str, str],
    metrics: Mapping[str, float],
    tags: Mapping[str, str],
) -> RunRecord:
    """The run as a plain value, without MLflow's own tags."""
    return RunRecord(
        run_id=run_id,
        name=name or "",
        pipeline=tags.get("divisions.pipeline", ""),
        status=status,
        started_at_s=(start_ms or 0) / 1000,
        ended_at_s=(end_ms or 0) / 1000,
        params=dict(params),
        metrics=dict(metrics),
        tags={name: value for name, value in tags.items() if not name.startswith("mlflow.")},
    )


def newest_candidate(versions: Sequence[RegisteredVersion]) -> RegisteredVersion | None:
    """The newest version that passed and is neither in production nor archived; None if there is none.

    Args:
        versions: a model's versions, newest first.
    """
    for version in versions:
        is_candidate = version.validation_status is ValidationStatus.PASSED and not version.is_archived
        if is_candidate and PRODUCTION not in version.aliases:
            return version
    return None


def best_epoch(losses: Iterable[tuple[int, float]]) -> int | None:
    """The epoch whose weights a run has kept: the first with the lowest validation loss. None without epochs.

    >>> best_epoch([(5, 0.4), (10, 0.3), (15, 0.3)])
    10
    """
    return min(losses, key=lambda each: (each[1], each[0]), default=(None, 0.0))[0]
