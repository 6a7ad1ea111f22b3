"""Model versions and training runs of the registry, as plain values."""

from __future__ import annotations

import enum
from pathlib import Path
from typing import Final

import msgspec

PRODUCTION = "production"
STAGING = "staging"
TRAINED_BY = "trained_by"
"""The fact of the lineage that names the run of a bundle, where it is not the version's own."""

TRAINER: Final = "trainer"
"""The fact of the lineage that names the principal whose run made the bundle; absent if the cluster did not know."""
REPORT: Final = "report_sha256"
"""The fact of the lineage that is the SHA-256 of the validation report, as people read it."""


class ValidationStatus(enum.StrEnum):
    """``pending``: the version's registration is not complete. Like a failed version, it is never served."""

    PENDING = "pending"
    PASSED = "passed"
    FAILED = "failed"


class RegisteredVersion(msgspec.Struct, frozen=True):
    """One version of a registered model.

    ``version`` reads ``major.registry_version``. The major number comes from the pipeline, the minor number from the
    registry. ``bundle_path`` is the bundle's address, or the path in an older record (`divisions.artifacts.local`).
    ``aliases`` are ``production`` and ``staging``. ``message`` says why validation failed.
    ``framework`` and ``size_bytes`` are empty and 0 for versions of earlier releases.
    """

    model: str
    version: str
    registry_version: int
    run_id: str
    bundle_path: Path
    bundle_sha256: str
    validation_status: ValidationStatus
    metrics: dict[str, float]
    aliases: tuple[str, ...] = ()
    is_archived: bool = False
    created_at_s: float = 0.0
    message: str = ""
    lineage: dict[str, str] = {}
    framework: str = ""
    size_bytes: int = 0

    @property
    def trained_by(self) -> str:
        """The run that has made the bundle. A version that was registered again has a run of its own."""
        return self.lineage.get(TRAINED_BY, self.run_id)


REGISTERED_FROM = "divisions.registered_from"
"""The tag of a run that trained nothing, but registered the bundle of the version that it names again."""


class RunRecord(msgspec.Struct, frozen=True):
    """A training run. ``status`` is RUNNING, FINISHED, FAILED or KILLED. ``ended_at_s`` is 0 while it runs."""

    run_id: str
    name: str
    pipeline: str
    status: str
    started_at_s: float
    ended_at_s: float
    params: dict[str, str]
    metrics: dict[str, float]
    tags: dict[str, str]
