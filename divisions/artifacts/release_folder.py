"""A version that an image carries: its bundle, and how it is to be served. ``divisions up --release`` serves it.

    /opt/ml/model/…               the bundle, nothing else: where SageMaker, too, looks for a model
    /opt/ml/release/release.json  `ReleaseFile`: which version it is
    /opt/ml/release/pipeline.yaml the pipeline file, with the endpoint, the replicas and the rollout
    /opt/ml/release/attestations/…  signed statements about the bundle, for machines with trusted keys

The folders hide those of the layers below, so a new release can be put onto an image that has one.
"""

from __future__ import annotations

import tarfile
from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path, PurePosixPath
from types import MappingProxyType
from typing import Final

import msgspec

from divisions.artifacts.store import SUFFIX
from divisions.artifacts.tarball import packing
from divisions.attestation.envelope import MAX_BYTES
from divisions.attestation.keys import PublicKey, SigningKey
from divisions.bundle import MANIFEST, bundle_address, read_bundle
from divisions.deployment import write_private
from divisions.errors import ArtifactStoreError, BundleError, ConflictError

ROOT: Final = PurePosixPath("/opt/ml")
MODEL: Final = "model"
RELEASE: Final = "release"
RELEASE_FILE: Final = "release.json"
PIPELINE_FILE: Final = "pipeline.yaml"
STATEMENTS: Final = "attestations"
SERVED: Final = "image_releases.json"
"""In a home: the versions that it has taken from images."""
_HIDE_LOWER: Final = ".wh..wh..opq"
"""The specification's name of a file that empties a folder of what lower layers have in it."""
_NONE: Final[Mapping[str, bytes]] = MappingProxyType({})


class ReleaseFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which version the image carries. The version passed its gates, or it would not be here."""

    model: str
    version: str
    bundle_sha256: str
    run_id: str = ""

    @property
    def address(self) -> str:
        """The bundle's address."""
        return bundle_address(self.model, self.bundle_sha256)


def write_layer(
    bundle: Path, release: ReleaseFile, pipeline: bytes, target: Path, statements: Mapping[str, bytes] = _NONE
) -> str:
    """Writes a layer of an image, compressed; returns the SHA-256 of the uncompressed tar. The same bytes each time.

    Args:
        statements: signed, about the bundle, by their names.

    Raises:
        BundleError: the bundle is damaged, or ``target`` cannot be written.
    """
    manifest = read_bundle(bundle, release.bundle_sha256)
    root = str(ROOT).strip("/")
    with packing(target) as (tar, sink):
        for folder in ("opt", root):
            tar.addfile(_member(folder, is_folder=True))
        tar.addfile(_member(f"{root}/{MODEL}", is_folder=True))
        tar.addfile(_member(f"{root}/{MODEL}/{_HIDE_LOWER}"))
        for name in sorted((*manifest.files, MANIFEST)):
            path = bundle / name
            with path.open("rb") as content:
                tar.addfile(_member(f"{root}/{MODEL}/{name}", path.stat().st_size), content)
        tar.addfile(_member(f"{root}/{RELEASE}", is_folder=True))
        tar.addfile(_member(f"{root}/{RELEASE}/{_HIDE_LOWER}"))
        told = {PIPELINE_FILE: pipeline, RELEASE_FILE: msgspec.json.encode(release, order="deterministic")}
        for name, data in told.items():
            tar.addfile(_member(f"{root}/{RELEASE}/{name}", len(data)), BytesIO(data))
        if statements:
            tar.addfile(_member(f"{root}/{RELEASE}/{STATEMENTS}", is_folder=True))
        for name, data in sorted(statements.items()):
            tar.addfile(_member(f"{root}/{RELEASE}/{STATEMENTS}/{name}{SUFFIX}", len(data)), BytesIO(data))
    return sink.digest.hexdigest()


def _member(name: str, size: int = 0, *, is_folder: bool = False) -> tarfile.TarInfo:
    """A member that every user of a container may read, and none may write."""
    info = tarfile.TarInfo(name)
    info.size = size
    info.mode = 0o755 if is_folder else 0o444
    info.type = tarfile.DIRTYPE if is_folder else tarfile.REGTYPE
    return info


def read_release(folder: Path) -> ReleaseFile:
    """Reads which version a folder such as `ROOT` holds.

    Raises:
        BundleError: there is none, or the file is damaged.
    """
    path = folder / RELEASE / RELEASE_FILE
    remedy = "name the folder that `divisions models package --image` put into the image, which is /opt/ml"
    try:
        return msgspec.json.decode(path.read_bytes(), type=ReleaseFile)
    except OSError as error:
        raise BundleError(
            f"{folder} holds no release: {path} cannot be read: {error.strerror}", remedy=remedy
        ) from None
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise BundleError(f"{path} is damaged: {error}", remedy="package the version again") from None


def served_releases(home: Path) -> list[ReleaseFile]:
    """The versions that this home has taken from images, which its registry does not know."""
    try:
        return msgspec.json.decode((home / SERVED).read_bytes(), type=list[ReleaseFile])
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError):
        return []


def require_same(known: Sequence[ReleaseFile], release: ReleaseFile) -> None:
    """Refuses another bundle under a version that is known: the journal tells versions apart by their names.

    Raises:
        ConflictError: naming both bundles.
    """
    for each in known:
        if (each.model, each.version) == (release.model, release.version) and each.address != release.address:
            version = f"{release.model} {release.version}"
            raise ConflictError(
                f"{version} is {release.address} in this image, but {each.address} in this home",
                remedy="give the image a version of its own, or start it with an empty home",
            )


def remember_release(home: Path, release: ReleaseFile) -> None:
    """Adds a version to those of `served_releases`."""
    others = [each for each in served_releases(home) if each.address != release.address]
    write_private(home / SERVED, msgspec.json.encode([*others, release]))


def pipeline_of(folder: Path) -> Path:
    """The pipeline file of a release's folder."""
    return folder / RELEASE / PIPELINE_FILE


class ReleaseStore:
    """A release's folder as a store of bundles, with one bundle in it. Nothing can be written to it."""

    def __init__(self, folder: Path, release: ReleaseFile) -> None:
        self.name = str(folder / MODEL)
        self._folder = folder / MODEL
        self._statements = folder / RELEASE / STATEMENTS
        self._address = release.address

    def has(self, address: str, file: str) -> bool:
        return address == self._address and (self._folder / file).is_file()

    def read(self, address: str, file: str) -> bytes | None:
        if not self.has(address, file):
            return None
        try:
            return (self._folder / file).read_bytes()
        except OSError as error:
            raise ArtifactStoreError(f"{self._folder / file} cannot be read: {error.strerror}") from None

    def write(self, address: str, files: Sequence[Path]) -> None:
        raise self._is_fixed()

    def remove(self, address: str) -> None:
        raise self._is_fixed()

    def read_attestations(self, address: str, name: str, key: PublicKey) -> list[bytes]:
        if address != self._address:
            return []
        try:
            with (self._statements / f"{name}{SUFFIX}").open("rb") as file:
                return [file.read(MAX_BYTES + 1)]
        except OSError:
            return []

    def write_attestation(self, address: str, name: str, content: bytes, key: SigningKey) -> None:
        raise self._is_fixed()

    def _is_fixed(self) -> ArtifactStoreError:
        return ArtifactStoreError(f"{self.name} is a part of an image, nothing is written to it")
