"""Writes a bundle: first into a draft folder, then one rename, so that readers never find an unfinished bundle."""

from __future__ import annotations

import contextlib
import hashlib
import math
import os
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec

from divisions.bundle import FORMAT, Decision, Manifest, read_bundle, write_manifest
from divisions.errors import BundleError
from divisions.schema import FeatureSchema


@dataclass(frozen=True, slots=True)
class BundleIdentity:
    """The names in a bundle's manifest. A run's own facts are not among them: its twin must give the same bytes."""

    model: str
    pipeline: str
    framework: str


@dataclass(frozen=True, slots=True)
class WrittenBundle:
    """``mended`` says what was wrong with a bundle of the same content that was there before; else it is empty."""

    path: Path
    sha256: str
    manifest: Manifest
    mended: str = ""


def write_bundle(
    bundles: Path,
    identity: BundleIdentity,
    schema: FeatureSchema,
    metrics: Mapping[str, float],
    contents: Mapping[str, bytes],
    decision: Decision | msgspec.UnsetType = msgspec.UNSET,
) -> WrittenBundle:
    """Writes ``<bundles>/<model>/<first 16 digits of the SHA-256>/``.

    Writing the same bundle again changes nothing and returns the same result. One that was damaged since is replaced.

    Args:
        contents: every file except the manifest, by name.

    Raises:
        BundleError: the disk fails.
    """
    manifest = Manifest(
        model=identity.model,
        pipeline=identity.pipeline,
        run_id="",
        created_at="",
        schema=schema,
        # JSON has no NaN. A NaN metric is left out; readers treat an absent metric as unknown.
        metrics={name: value for name, value in metrics.items() if math.isfinite(value)},
        files={name: hashlib.sha256(data).hexdigest() for name, data in contents.items()},
        framework=identity.framework,
        format_version=FORMAT,
        decision=decision,
    )
    place = bundles / identity.model / manifest.sha256[:16]
    mended = ""
    if place.exists():
        try:
            read_bundle(place, manifest.sha256)
            with contextlib.suppress(OSError):
                os.utime(place)  # the cache keeps what was used lately
            return WrittenBundle(place, manifest.sha256, manifest)
        except BundleError as error:
            mended = error.message
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(prefix=".draft-", dir=place.parent))
        try:
            for name, data in contents.items():
                _write_durably(draft / name, data)
            write_manifest(draft, manifest)
            if mended:
                _put_aside(place)
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
    return WrittenBundle(place, manifest.sha256, manifest, mended)


def _put_aside(damaged: Path) -> None:
    aside = Path(tempfile.mkdtemp(prefix=".draft-", dir=damaged.parent))
    with contextlib.suppress(FileNotFoundError):  # another process has done so
        damaged.rename(aside / "damaged")
    shutil.rmtree(aside, ignore_errors=True)


def _write_durably(path: Path, data: bytes) -> None:
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
