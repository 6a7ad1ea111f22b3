"""Signed statements about a bundle in a registry: artifacts whose subject is the bundle's manifest."""

from __future__ import annotations

import io
import tempfile
from pathlib import Path
from typing import Final

from divisions.attestation.envelope import MAX_BYTES, PAYLOAD_TYPE
from divisions.errors import ArtifactStoreError
from divisions.oci.manifest import ArtifactManifest, Descriptor, read_manifest
from divisions.oci.reference import digest_of
from divisions.oci.referrers import list_referrers, push_referrer, subject_of
from divisions.oci.registry import RegistryClient

ENVELOPE_TYPE: Final = "application/vnd.dsse.envelope.v1+json"
NAME: Final = "io.divisions.attestation"
"""Annotation that has the statement's name."""
_MAX_READ: Final = 16


def pull_attestations(client: RegistryClient, tag: str, name: str) -> list[bytes]:
    """The statements of this name about the artifact under a tag. Anybody who may push can add to them.

    Raises:
        ArtifactStoreError: the registry does not answer, refuses, or sends something else.
    """
    content = client.pull_manifest(tag)
    if content is None:
        return []
    listed = list_referrers(client, digest_of(content), PAYLOAD_TYPE)
    named = [entry for entry in listed if entry.annotations.get(NAME) == name]
    return [found for entry in named[:_MAX_READ] if (found := _pull(client, entry.digest)) is not None]


def push_attestation(client: RegistryClient, tag: str, name: str, content: bytes) -> None:
    """Pushes a statement about the artifact under a tag.

    Raises:
        ArtifactStoreError: the registry has no such artifact, does not answer, or refuses.
    """
    subject = client.pull_manifest(tag)
    if subject is None:
        raise ArtifactStoreError(f"{client.repository}:{tag} is not there", remedy="push the bundle first")
    layer = Descriptor(ENVELOPE_TYPE, digest_of(content), len(content))
    client.push_blob(layer.digest, layer.size, lambda: io.BytesIO(content))
    push_referrer(client, ArtifactManifest(PAYLOAD_TYPE, (layer,), {NAME: name}, subject=subject_of(subject)))


def _pull(client: RegistryClient, digest: str) -> bytes | None:
    where = f"{client.repository}@{digest}"
    content = client.pull_manifest(digest)
    if content is None:  # The list may name what was deleted.
        return None
    layers = read_manifest(content, where).layers
    if len(layers) != 1 or layers[0].media_type != ENVELOPE_TYPE or layers[0].size > MAX_BYTES:
        raise ArtifactStoreError(
            f"{where} holds no signed envelope of at most {MAX_BYTES:,} bytes", remedy="sign the bundle again"
        )
    with tempfile.TemporaryDirectory(prefix="divisions-pull-") as folder:
        path = Path(folder) / "envelope"
        client.pull_blob(layers[0].digest, layers[0].size, path)
        return path.read_bytes()
