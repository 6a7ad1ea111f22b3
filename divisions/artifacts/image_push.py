"""A runnable image of one version, made without an engine: the release as a layer on a base that is in a registry.

The layers of the base are mounted from its repository where base and image are in one registry, and copied otherwise.
The manifest comes last: a push that was cut off leaves no image, and is simply done again.
"""

from __future__ import annotations

import hashlib
import io
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from divisions.artifacts.image_signing import sign_image, verify_image
from divisions.artifacts.release_folder import ROOT, ReleaseFile, write_layer
from divisions.attestation.keys import PublicKey, SigningKey
from divisions.bundle import read_bundle
from divisions.errors import ArtifactStoreError, UsageError
from divisions.oci.ecr import creator
from divisions.oci.image import (
    MAX_CONFIG_BYTES,
    ImageManifest,
    Layer,
    Platform,
    add_layer,
    choose,
    read_config,
    read_image,
)
from divisions.oci.login import Credentials
from divisions.oci.reference import Reference, digest_of
from divisions.oci.registry import RegistryClient

COMMAND: Final = ("divisions", "up", "--foreground", "--release", str(ROOT))
_EPOCH: Final = "1970-01-01T00:00:00Z"


@dataclass(frozen=True, slots=True)
class ImageRequest:
    """What to make: ``bundle`` is the folder of the version's bundle, ``pipeline`` its pipeline file's bytes.
    ``endpoint`` is what the pipeline file calls its endpoint. ``statements`` are those about the bundle, signed;
    ``key`` signs the image, if there is one, and with ``trusted`` keys one of them must have signed the base.
    ``created_at`` is when the bundle was made (ISO 8601), for those that do not say it themselves."""

    base: Reference
    target: Reference
    platform: Platform
    release: ReleaseFile
    bundle: Path
    pipeline: bytes
    endpoint: str
    statements: Mapping[str, bytes] = field(default_factory=dict)
    key: SigningKey | None = None
    trusted: tuple[PublicKey, ...] = ()
    created_at: str = ""


@dataclass(frozen=True, slots=True)
class PushedImage:
    """``digest`` names the image, whatever becomes of ``tag``. ``num_bytes`` are those of the one new layer."""

    image: str
    tag: str
    digest: str
    base: str
    layer: str
    num_bytes: int
    signed_by: str = ""


def push_image(
    request: ImageRequest, credentials: Callable[[str], Credentials | None], say: Callable[[str], None]
) -> PushedImage:
    """Puts the release onto the base, and pushes the result.

    Args:
        credentials: those for a registry, by its host.
        say: is told what is done, a line each.

    Raises:
        UsageError: the target names a digest, which comes from the content.
        BundleError: the bundle is damaged, there is no room for the layer, or no trusted key has signed the base.
        ArtifactStoreError: a registry does not answer or refuses, or the base is none that can serve a release.
    """
    if request.target.digest:
        raise UsageError(
            f"{request.target} names a digest", remedy="name a tag, or nothing: the content has the digest"
        )
    base, target = request.base.repository, request.target.repository
    is_near = base.origin == target.origin
    source = RegistryClient(base, lambda: credentials(base.host))
    near = base.path if is_near else ""
    sink = RegistryClient(target, lambda: credentials(target.host), create=creator(target), mounts_from=near)
    with source, sink, tempfile.TemporaryDirectory(prefix="divisions-image-") as folder:
        workspace = Path(folder)
        image, config, base_digest = _pull_base(source, request, workspace)
        if request.trusted:
            say(f"the base is signed by {verify_image(source, base_digest, request.trusted)}")
        say(f"the base is {base}@{base_digest}, {len(image.layers)} layers for {request.platform}")
        layer = _push_layer(sink, request, workspace)
        say(f"{request.release.model} {request.release.version} is a layer of {layer.size:,} bytes")
        say(_move_layers(source, sink, image, workspace))
        content, manifest = add_layer(
            image,
            config,
            layer,
            command=COMMAND,
            environment=_environment(request.release, request.endpoint),
            labels=_labels(request),
            base_digest=base_digest,
        )
        sink.push_blob(manifest.config.digest, manifest.config.size, lambda: io.BytesIO(content))
        tag = request.target.tag or request.release.version
        digest = digest_of(manifest.to_json())
        if sink.pull_manifest(tag) != manifest.to_json():  # A registry may refuse to write a tag twice.
            sink.push_manifest(manifest.to_json(), manifest.type, tag)
        signer = str(request.key.public) if request.key else ""
        if request.key:
            sign_image(sink, digest, request.key)
            say(f"signed by {signer}")
    return PushedImage(f"{target}@{digest}", tag, digest, f"{base}@{base_digest}", layer.digest, layer.size, signer)


def _pull_base(
    source: RegistryClient, request: ImageRequest, workspace: Path
) -> tuple[ImageManifest, dict[str, Any], str]:
    where = str(request.base)
    content = _manifest(source, request.base.digest or request.base.tag or "latest", where)
    if chosen := choose(content, request.platform, where):
        content = _manifest(source, chosen, where)
    image = read_image(content, where)
    if image.config.size > MAX_CONFIG_BYTES:
        raise ArtifactStoreError(
            f"the config of {where} is over {MAX_CONFIG_BYTES:,} bytes", remedy="name another base"
        )
    path = workspace / "config.json"
    source.pull_blob(image.config.digest, image.config.size, path)
    return image, read_config(path.read_bytes(), image, request.platform, where), digest_of(content)


def _manifest(source: RegistryClient, name: str, where: str) -> bytes:
    content = source.pull_manifest(name)
    if content is None:
        raise ArtifactStoreError(f"there is no image {where} ({name})", remedy="push the base first, or check its name")
    return content


def _push_layer(sink: RegistryClient, request: ImageRequest, workspace: Path) -> Layer:
    path = workspace / "layer.tar.gz"
    diff_id = write_layer(request.bundle, request.release, request.pipeline, path, request.statements)
    with path.open("rb") as packed:
        digest = f"sha256:{hashlib.file_digest(packed, 'sha256').hexdigest()}"
    size = path.stat().st_size
    sink.push_blob(digest, size, lambda: path.open("rb"))
    manifest = read_bundle(request.bundle, request.release.bundle_sha256)
    created = _rfc3339(manifest.created_at or request.created_at)
    named = f"divisions models package {request.release.model} {request.release.version} --image"
    return Layer(digest, size, f"sha256:{diff_id}", created, named)


def _move_layers(source: RegistryClient, sink: RegistryClient, image: ImageManifest, workspace: Path) -> str:
    is_same = source.repository == sink.repository
    is_near = source.repository.origin == sink.repository.origin
    path = workspace / "base-layer"
    counts = {"there already": 0, "mounted": 0, "copied": 0}
    for each in {layer.digest: layer for layer in image.layers}.values():  # an image may have one layer twice
        if is_same or sink.has_blob(each.digest):
            counts["there already"] += 1
        elif is_near and sink.mount_blob(each.digest):
            counts["mounted"] += 1
        else:
            source.pull_blob(each.digest, each.size, path)
            sink.push_blob(each.digest, each.size, lambda: path.open("rb"))
            path.unlink()
            counts["copied"] += 1
    told = ", ".join(f"{count} {how}" for how, count in counts.items() if count)
    return f"the base's layers: {told or 'none'}"


def _environment(release: ReleaseFile, endpoint: str) -> dict[str, str]:
    """Names for `divisions serve`, which knows no pipeline file; and the only bundle that it may serve."""
    return {
        "DIVISIONS_SERVE_ENDPOINT": endpoint,
        "DIVISIONS_SERVE_VERSION": release.version,
        "DIVISIONS_SERVE_SHA256": release.bundle_sha256,
    }


def _labels(request: ImageRequest) -> dict[str, str]:
    release = request.release
    return {
        "io.divisions.bundle.sha256": release.bundle_sha256,
        "io.divisions.model": release.model,
        "io.divisions.model.version": release.version,
        "org.opencontainers.image.title": release.model,
        "org.opencontainers.image.version": release.version,
        "org.opencontainers.image.description": f"{release.model} {release.version}, served by Divisions",
        "org.opencontainers.image.base.name": str(request.base.repository),
    }


def _rfc3339(text: str) -> str:
    """A time of a bundle as images write it; the epoch if it has none, because other tools refuse what is no time."""
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        return _EPOCH
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ") if at.tzinfo else _EPOCH
