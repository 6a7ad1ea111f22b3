"""Image manifests of artifacts (OCI image specification 1.1): written the same for the same content. Pure."""

from __future__ import annotations

from typing import Final, TypeVar

import msgspec

from divisions.errors import ArtifactStoreError
from divisions.oci.reference import digest_of, is_digest

T = TypeVar("T")

MANIFEST_TYPE: Final = "application/vnd.oci.image.manifest.v1+json"
INDEX_TYPE: Final = "application/vnd.oci.image.index.v1+json"
EMPTY_TYPE: Final = "application/vnd.oci.empty.v1+json"
EMPTY: Final = b"{}"
"""The config of an artifact that needs none."""
TITLE: Final = "org.opencontainers.image.title"
MAX_MANIFEST_BYTES: Final = 4 << 20
"""The specification lets registries refuse larger ones."""


class Descriptor(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """What a blob is, how long it is, and its SHA-256."""

    media_type: str
    digest: str
    size: int
    annotations: dict[str, str] = {}
    artifact_type: str = ""
    """Of the entries of an index only."""

    def __post_init__(self) -> None:
        if not is_digest(self.digest) or self.size < 0:
            raise ValueError("a descriptor needs a sha256 digest and a size")


EMPTY_CONFIG: Final = Descriptor(EMPTY_TYPE, digest_of(EMPTY), len(EMPTY))


class ArtifactManifest(msgspec.Struct, frozen=True, rename="camel"):
    """One artifact: its type and its blobs. ``subject`` is the manifest that it says something about."""

    artifact_type: str
    layers: tuple[Descriptor, ...]
    annotations: dict[str, str] = {}
    config: Descriptor = EMPTY_CONFIG
    schema_version: int = 2
    media_type: str = MANIFEST_TYPE
    subject: Descriptor | msgspec.UnsetType = msgspec.UNSET

    def to_json(self) -> bytes:
        """The bytes that are pushed, and whose digest names the artifact."""
        return msgspec.json.encode(self, order="deterministic")


def read_manifest(content: bytes, where: str) -> ArtifactManifest:
    """Reads an artifact's manifest.

    Raises:
        ArtifactStoreError: it is none.
    """
    remedy = "check that nothing else was pushed to this tag"
    return _decoded(content, ArtifactManifest, f"{where} is no artifact", remedy)


class Index(msgspec.Struct, frozen=True, rename="camel"):
    """A list of manifests: what a registry answers when it is asked for referrers."""

    manifests: tuple[Descriptor, ...] = ()
    schema_version: int = 2
    media_type: str = INDEX_TYPE

    def to_json(self) -> bytes:
        return msgspec.json.encode(self, order="deterministic")


class _RawIndex(msgspec.Struct, frozen=True):
    manifests: tuple[msgspec.Raw, ...]


class _Typed(msgspec.Struct, frozen=True, rename="camel"):
    media_type: str = ""


def read_entries(content: bytes, where: str) -> tuple[Descriptor, ...]:
    """The entries of a list of manifests. Anybody who may push can have odd ones listed: they are left out.

    Raises:
        ArtifactStoreError: it is none.
    """
    found = _decoded(content, _RawIndex, f"{where} is no list of manifests", "check that the registry speaks OCI 1.1")
    return tuple(each for raw in found.manifests if (each := _entry(raw)) is not None)


def _entry(raw: msgspec.Raw) -> Descriptor | None:
    try:
        return msgspec.json.decode(raw, type=Descriptor)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None


def media_type_of(content: bytes) -> str:
    """What a manifest says that it is; empty if it says nothing."""
    try:
        return msgspec.json.decode(content, type=_Typed).media_type
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return ""


def _decoded(content: bytes, kind: type[T], what: str, remedy: str) -> T:
    try:
        return msgspec.json.decode(content, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise ArtifactStoreError(f"{what}: {error}", remedy=remedy) from None
