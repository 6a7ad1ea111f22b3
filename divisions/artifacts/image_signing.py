"""Signs images in a registry, and checks them: for us as bundles are, and for container engines as cosign does.

    referrer of the manifest    a statement (DSSE) with a proof, as `divisions.artifacts.oci_attestations` has them
    tag sha256-<digest>.sig     documents that engines check against a policy, each with its signature

What is signed is the digest of a manifest, and so every byte of the image.
"""

from __future__ import annotations

import base64
import io
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from divisions.artifacts.attestations import attestation_name
from divisions.artifacts.oci_attestations import pull_attestations, push_attestation
from divisions.attestation.envelope import open_envelope, seal
from divisions.attestation.image import (
    PREDICATE_TYPE,
    SIGNATURE,
    SIMPLE_SIGNING,
    image_statement,
    signature_tag,
    simple_signing,
)
from divisions.attestation.keys import PublicKey, SigningKey
from divisions.attestation.statement import read_statement
from divisions.errors import ArtifactStoreError, BundleError
from divisions.oci.image import CONFIG_TYPE, MAX_CONFIG_BYTES, ImageManifest, read_image
from divisions.oci.manifest import MANIFEST_TYPE, Descriptor
from divisions.oci.reference import digest_of
from divisions.oci.registry import RegistryClient

KIND: Final = "image"
_CHECK: Final = "check its name and its digest"
_RESIGN: Final = "sign it with one (divisions images sign), or add its key to DIVISIONS_TRUSTED_KEYS"


def sign_image(client: RegistryClient, digest: str, key: SigningKey) -> bool:
    """Signs the image or index with this digest; returns whether anything was written. Twice gives the same bytes.

    Raises:
        ArtifactStoreError: there is no such image, or the registry does not answer, or refuses.
    """
    repository = str(client.repository)
    statement = seal(image_statement(repository, digest, _labels(client, digest)), key)
    name = attestation_name(KIND, key.public)
    is_new = statement not in pull_attestations(client, digest, name, key.public)
    if is_new:
        push_attestation(client, digest, name, statement, key)
    return _sign_for_engines(client, digest, key) or is_new


def verify_image(client: RegistryClient, digest: str, trusted: Sequence[PublicKey]) -> PublicKey:
    """The trusted key that has signed the image with this digest.

    Raises:
        BundleError: none has; or the registry does not answer, or refuses.
    """
    where = f"image {client.repository}@{digest}"
    refusal: BundleError | None = None
    for key in trusted:
        try:
            found = pull_attestations(client, digest, attestation_name(KIND, key), key)
        except ArtifactStoreError as error:
            raise BundleError(
                f"the signature of {where} cannot be read: {error.message}", remedy=error.remedy
            ) from None
        for content in found:
            try:
                payload = open_envelope(content, (key,), f"the statement about {where}")
                read_statement(payload, digest.removeprefix("sha256:"), PREDICATE_TYPE, f"the statement about {where}")
            except BundleError as error:
                refusal = error
                continue
            return key
    raise refusal or BundleError(f"{where} is signed by no trusted key", remedy=_RESIGN)


def _labels(client: RegistryClient, digest: str) -> dict[str, str]:
    """Those of an image's config; an index has none."""
    content = client.pull_manifest(digest)
    if content is None:
        raise ArtifactStoreError(f"there is no image {client.repository}@{digest}", remedy=_CHECK)
    where = f"{client.repository}@{digest}"
    if "manifests" in _decoded(content, where):
        return {}
    config = read_image(content, where).config
    if config.size > MAX_CONFIG_BYTES:
        raise ArtifactStoreError(f"the config of {where} is over {MAX_CONFIG_BYTES:,} bytes", remedy=_CHECK)
    with tempfile.TemporaryDirectory(prefix="divisions-pull-") as folder:
        path = Path(folder) / "config"
        client.pull_blob(config.digest, config.size, path)
        found = _decoded(path.read_bytes(), where).get("config")
    labels = found.get("Labels") if isinstance(found, dict) else None
    return {str(name): str(value) for name, value in labels.items()} if isinstance(labels, dict) else {}


def _sign_for_engines(client: RegistryClient, digest: str, key: SigningKey) -> bool:
    document = simple_signing(str(client.repository), digest)
    signature = base64.b64encode(key.sign(document)).decode()
    layer = Descriptor(SIMPLE_SIGNING, digest_of(document), len(document), {SIGNATURE: signature})
    tag = signature_tag(digest)
    content = client.pull_manifest(tag)
    kept = () if content is None else read_image(content, f"{client.repository}:{tag}").layers
    if layer in kept:
        return False
    layers = (*kept, layer)
    config = _config(layers)
    _push(client, document)
    _push(client, config)
    manifest = ImageManifest(
        Descriptor(CONFIG_TYPE, digest_of(config), len(config)), layers, media_type=MANIFEST_TYPE, schema_version=2
    )
    client.push_manifest(manifest.to_json(), MANIFEST_TYPE, tag)
    return True


def _push(client: RegistryClient, content: bytes) -> None:
    client.push_blob(digest_of(content), len(content), lambda: io.BytesIO(content))


def _config(layers: Sequence[Descriptor]) -> bytes:
    """What tools of images want to find: each document as if it were a layer."""
    created = "0001-01-01T00:00:00Z"
    return msgspec.json.encode(
        {
            "architecture": "",
            "config": {},
            "created": created,
            "history": [{"created": created} for _ in layers],
            "os": "",
            "rootfs": {"type": "layers", "diff_ids": [layer.digest for layer in layers]},
        },
        order="deterministic",
    )


def _decoded(content: bytes, where: str) -> dict[str, Any]:
    try:
        return msgspec.json.decode(content, type=dict[str, Any])
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise ArtifactStoreError(f"{where} is no image: {error}", remedy=_CHECK) from None
