"""Writes a bundle: first into a draft folder, then one rename, so that readers never find an unfinished bundle."""

from __future__ import annotations

import hashlib
import math
import os
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec

from divisions.bundle import Decision, Manifest, read_bundle, write_manifest
from divisions.errors import BundleError
from divisions.schema import FeatureSchema


@dataclass(frozen=True, slots=True)
class BundleIdentity:
    """The origin of a bundle, for its manifest. ``created_at`` is ISO 8601 in UTC."""

    model: str
    pipeline: str
    run_id: str
    created_at: str
    input_uri: str
    framework: str


@dataclass(frozen=True, slots=True)
class WrittenBundle:
    path: Path
    sha256: str
    manifest: Manifest


def write_bundle(
    bundles: Path,
    identity: BundleIdentity,
    schema: FeatureSchema,
    metrics: Mapping[str, float],
    contents: Mapping[str, bytes],
    decision: Decision | msgspec.UnsetType = msgspec.UNSET,
) -> WrittenBundle:
    """Writes ``<bundles>/<model>/<first 16 digits of the SHA-256>/``.

    Writing the same bundle again changes nothing and returns the same result.

    Args:
        contents: every file except the manifest, by name.

    Raises:
        BundleError: the disk fails, or the folder already holds another bundle.
    """
    manifest = Manifest(
        model=identity.model,
        pipeline=identity.pipeline,
        run_id=identity.run_id,
        created_at=identity.created_at,
        schema=schema,
        # JSON has no NaN. A NaN metric is left out; readers treat an absent metric as unknown.
        metrics={name: value for name, value in metrics.items() if math.isfinite(value)},
        files={name: hashlib.sha256(data).hexdigest() for name, data in contents.items()},
        input_uri=identity.input_uri,
        framework=identity.framework,
        decision=decision,
    )
    place = bundles / identity.model / manifest.sha256[:16]
    if place.exists():
        read_bundle(place, manifest.sha256)
        return WrittenBundle(place, manifest.sha256, manifest)
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(prefix=".draft-", dir=place.parent))
        try:
            for name, data in contents.items():
                _write_durably(draft / name, data)
            write_manifest(draft, manifest)
            draft.rename(place)
        except BaseException:
            shutil.rmtree(draft, ignore_errors=True)
            raise
    except OSError as error:
        if place.exists():  # another process wrote the same bundle at the same time
            read_bundle(place, manifest.sha256)
        else:
            raise BundleError(
                f"bundle {place} cannot be written: {error.strerror}", remedy="check the disk's space and permissions"
            ) from error
    return WrittenBundle(place, manifest.sha256, manifest)


def _write_durably(path: Path, data: bytes) -> None:
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
