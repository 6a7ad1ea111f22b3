"""Images (OCI image specification 1.1, Docker's schema 2): chosen by platform, and one layer more. Pure.

The result is in the base's own format. What this module does not know of a config is kept as it is, such as Docker's
health check, which the OCI format lacks. The same input gives the same bytes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from divisions.errors import ArtifactStoreError, UsageError
from divisions.oci.manifest import MANIFEST_TYPE, Descriptor
from divisions.oci.reference import digest_of

CONFIG_TYPE: Final = "application/vnd.oci.image.config.v1+json"
LAYER_TYPE: Final = "application/vnd.oci.image.layer.v1.tar+gzip"
DOCKER_MANIFEST_TYPE: Final = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_LAYER_TYPE: Final = "application/vnd.docker.image.rootfs.diff.tar.gzip"
MAX_CONFIG_BYTES: Final = 4 << 20
SERVES: Final = "io.divisions.serves"
"""Label of images that can serve a release (`divisions.artifacts.release_folder`); its value is `FORMAT`."""
FORMAT: Final = "release.v1"
_BASE_DIGEST: Final = "org.opencontainers.image.base.digest"


class ImageManifest(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """One image: its config and its layers, lowest first."""

    config: Descriptor
    layers: tuple[Descriptor, ...]
    annotations: dict[str, str] = {}
    media_type: str = ""
    schema_version: int = 0

    @property
    def is_docker(self) -> bool:
        return self.media_type == DOCKER_MANIFEST_TYPE

    @property
    def type(self) -> str:
        return DOCKER_MANIFEST_TYPE if self.is_docker else MANIFEST_TYPE

    def to_json(self) -> bytes:
        return msgspec.json.encode(self, order="deterministic")


@dataclass(frozen=True, slots=True)
class Platform:
    """An operating system and an architecture, with a variant where there are several."""

    os: str
    architecture: str
    variant: str = ""

    def __str__(self) -> str:
        return "/".join(filter(None, (self.os, self.architecture, self.variant)))

    def takes(self, other: Platform) -> bool:
        """Whether an image for ``other`` is one for this platform; a variant counts only if it is named."""
        same = (self.os, self.architecture) == (other.os, other.architecture)
        return same and self.variant in {"", other.variant}


class _Entry(msgspec.Struct, frozen=True, rename="camel"):
    digest: str
    platform: dict[str, Any] = {}


class _Index(msgspec.Struct, frozen=True, rename="camel"):
    manifests: tuple[_Entry, ...]


@dataclass(frozen=True, slots=True)
class Layer:
    """A layer to add. ``diff_id`` is the digest of the uncompressed tar, ``created`` a time as RFC 3339 writes it."""

    digest: str
    size: int
    diff_id: str
    created: str
    comment: str


def parse_platform(text: str) -> Platform:
    """
    >>> str(parse_platform("linux/arm64/v8"))
    'linux/arm64/v8'

    Raises:
        UsageError: it is none.
    """
    parts = text.split("/")
    if not 2 <= len(parts) <= 3 or not all(parts):
        raise UsageError(f"{text!r} is no platform", remedy="write one such as linux/amd64 or linux/arm64")
    return Platform(*parts)


def choose(content: bytes, platform: Platform, where: str) -> str:
    """The digest of the image for a platform, if ``content`` is an index; empty if it is an image itself.

    Raises:
        ArtifactStoreError: it is neither, or the index has no such image.
    """
    if "manifests" not in _decoded(content, dict[str, Any], where):
        return ""
    index: _Index = _decoded(content, _Index, where)
    found = {_platform(entry.platform): entry.digest for entry in reversed(index.manifests)}
    for each, digest in reversed(found.items()):
        if platform.takes(each):
            return digest
    raise _wrong_platform(where, platform, [each for each in found if each.os != "unknown"])


def read_image(content: bytes, where: str) -> ImageManifest:
    """Raises: ArtifactStoreError: it is no image."""
    image: ImageManifest = _decoded(content, ImageManifest, where)
    return image


def read_config(content: bytes, image: ImageManifest, platform: Platform, where: str) -> dict[str, Any]:
    """The config of an image that serves releases.

    Raises:
        ArtifactStoreError: it is damaged, for another platform, or of an image that cannot serve a release.
    """
    config: dict[str, Any] = _decoded(content, dict[str, Any], where)
    found = _platform(config)
    if not platform.takes(found):
        raise _wrong_platform(where, platform, [found])
    labels = _table(config, "config").get("Labels") or {}
    if labels.get(SERVES) != FORMAT:
        raise ArtifactStoreError(
            f"{where} has no label {SERVES}={FORMAT}: it cannot serve a bundle by itself",
            remedy="name an image that was built from Dockerfile.gpu, or from such an image",
        )
    if len(_table(config, "rootfs").get("diff_ids") or []) != len(image.layers):
        raise ArtifactStoreError(f"{where} is damaged: its config has other layers", remedy="push the base again")
    return config


def add_layer(
    image: ImageManifest,
    config: Mapping[str, Any],
    layer: Layer,
    *,
    command: tuple[str, ...],
    environment: Mapping[str, str],
    labels: Mapping[str, str],
    base_digest: str,
) -> tuple[bytes, ImageManifest]:
    """The config and the manifest of an image with one layer more, which starts ``command``.

    Args:
        image: the base, and ``config`` its config (`read_config`).
        environment: variables of the container; they replace those of the base with the same name.
        labels: added to those of the base.
        base_digest: of the base's manifest, for those who want to know whether the base has a successor.
    """
    started = _table(config, "config")
    rootfs = _table(config, "rootfs")
    told = {**labels, _BASE_DIGEST: base_digest}
    kept = [each for each in started.get("Env") or [] if each.partition("=")[0] not in environment]
    variables = [*kept, *(f"{name}={value}" for name, value in environment.items())]
    new = {
        **config,
        "created": layer.created,
        "config": {
            **started,
            "Cmd": list(command),
            "Env": variables,
            "Labels": {**(started.get("Labels") or {}), **told},
        },
        "rootfs": {**rootfs, "diff_ids": [*rootfs["diff_ids"], layer.diff_id]},
    }
    if config.get("history"):  # Tools refuse a history that is shorter than the list of layers.
        entry = {"created": layer.created, "created_by": layer.comment}
        new["history"] = [*config["history"], entry]
    content = msgspec.json.encode(new, order="deterministic")
    added = Descriptor(DOCKER_LAYER_TYPE if image.is_docker else LAYER_TYPE, layer.digest, layer.size)
    manifest = ImageManifest(
        config=Descriptor(image.config.media_type, digest_of(content), len(content)),
        layers=(*image.layers, added),
        annotations={} if image.is_docker else {**image.annotations, **told},  # Docker's format has none
        media_type=image.type,
        schema_version=2,
    )
    return content, manifest


def _platform(table: Mapping[str, Any]) -> Platform:
    return Platform(*(str(table.get(name) or "") for name in ("os", "architecture", "variant")))


def _table(config: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = config.get(name)
    return found if isinstance(found, dict) else {}


def _wrong_platform(where: str, platform: Platform, found: list[Platform]) -> ArtifactStoreError:
    has = ", ".join(sorted({str(each) for each in found})) or "no platform"
    return ArtifactStoreError(f"{where} is for {has}, not for {platform}", remedy="name one of these with --platform")


def _decoded(content: bytes, kind: Any, where: str) -> Any:
    try:
        return msgspec.json.decode(content, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError, ValueError) as error:
        raise ArtifactStoreError(f"{where} is no image: {error}", remedy="check its name and its tag") from None
