"""Signed statements about a bundle in a registry: artifacts whose subject is the bundle's manifest.

Anybody who may push can add others under any name. Only those are fetched whose entry in the list has a proof of the
key that is asked for (`divisions.attestation.proof`), so false ones hide none, however many there are.
"""

from __future__ import annotations

import io
import tempfile
from pathlib import Path
from typing import Final

from divisions.attestation.envelope import MAX_BYTES, PAYLOAD_TYPE
from divisions.attestation.keys import PublicKey, SigningKey
from divisions.attestation.proof import Listed, read_proof, write_proof
from divisions.errors import ArtifactStoreError
from divisions.oci.manifest import ArtifactManifest, Descriptor
from divisions.oci.reference import digest_of, is_digest
from divisions.oci.referrers import list_referrers, push_referrer, subject_of
from divisions.oci.registry import RegistryClient

ENVELOPE_TYPE: Final = "application/vnd.dsse.envelope.v1+json"
NAME: Final = "io.divisions.attestation"
"""Annotation that has the statement's name."""
PROOF: Final = "io.divisions.attestation.proof"


def pull_attestations(client: RegistryClient, tag: str, name: str, key: PublicKey) -> list[bytes]:
    """The statements of this name that ``key`` has put to the artifact under a tag, or one by its digest.

    Raises:
        ArtifactStoreError: the registry does not answer, refuses, or sends something else.
    """
    content = client.pull_manifest(tag)
    if content is None:
        return []
    subject = digest_of(content)
    found: dict[Listed, None] = {}  # One proof may be listed often: whoever may push can copy it.
    for entry in list_referrers(client, subject, PAYLOAD_TYPE):
        listed = entry.annotations.get(NAME) == name and read_proof(
            entry.annotations.get(PROOF, ""), subject, name, key
        )
        if listed and listed.size <= MAX_BYTES and is_digest(listed.digest):
            found[listed] = None
    return [_pull(client, listed) for listed in found if client.has_blob(listed.digest)]


def push_attestation(client: RegistryClient, tag: str, name: str, content: bytes, key: SigningKey) -> None:
    """Pushes a statement, which ``key`` has signed, about the artifact under a tag, or one by its digest.

    Raises:
        ArtifactStoreError: the registry has no such artifact, does not answer, or refuses.
    """
    subject = client.pull_manifest(tag)
    if subject is None:
        raise ArtifactStoreError(f"{client.repository}:{tag} is not there", remedy="push it first")
    layer = Descriptor(ENVELOPE_TYPE, digest_of(content), len(content))
    client.push_blob(layer.digest, layer.size, lambda: io.BytesIO(content))
    proof = write_proof(Listed(digest_of(subject), name, layer.digest, layer.size), key)
    annotations = {NAME: name, PROOF: proof}
    push_referrer(client, ArtifactManifest(PAYLOAD_TYPE, (layer,), annotations, subject=subject_of(subject)))


def _pull(client: RegistryClient, listed: Listed) -> bytes:
    with tempfile.TemporaryDirectory(prefix="divisions-pull-") as folder:
        path = Path(folder) / "envelope"
        client.pull_blob(listed.digest, listed.size, path)
        return path.read_bytes()
