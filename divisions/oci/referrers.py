"""What refers to an artifact: signatures, bills of materials. Listed by the registry, or under a tag of its own.

A registry of the distribution specification 1.1 lists them itself. For an older one, such as Debian's
``docker-registry`` 2.8, the specification has clients keep the list under the tag ``sha256-<digest of the subject>``.
"""

from __future__ import annotations

from typing import Final

from divisions.errors import ArtifactStoreError
from divisions.oci.manifest import INDEX_TYPE, MANIFEST_TYPE, ArtifactManifest, Descriptor, Index, read_index
from divisions.oci.reference import digest_of
from divisions.oci.registry import RegistryClient

_ATTEMPTS: Final = 4
"""Somebody else may write the list at the same time."""


def push_referrer(client: RegistryClient, manifest: ArtifactManifest) -> None:
    """Pushes an artifact with a subject, whose blobs are there already, and has it listed.

    Raises:
        ArtifactStoreError: the registry does not answer, or refuses.
    """
    assert isinstance(manifest.subject, Descriptor), "a referrer has a subject"
    content = manifest.to_json()
    digest = client.push_artifact(manifest)
    if client.pull_referrers(manifest.subject.digest) is not None:
        return
    entry = Descriptor(MANIFEST_TYPE, digest, len(content), manifest.annotations, manifest.artifact_type)
    tag = _fallback_tag(manifest.subject.digest)
    for _ in range(_ATTEMPTS):
        listed = _fallback(client, manifest.subject.digest)
        if any(each.digest == digest for each in listed):
            return
        index = Index(tuple(sorted((*listed, entry), key=lambda each: each.digest))).to_json()
        client.push_manifest(index, INDEX_TYPE, tag)
    raise ArtifactStoreError(
        f"{client.repository}: the list {tag} does not keep what is written to it", remedy="try again later"
    )


def list_referrers(client: RegistryClient, subject_digest: str, artifact_type: str) -> list[Descriptor]:
    """What refers to the manifest of this digest and has this type.

    Raises:
        ArtifactStoreError: the registry does not answer, or refuses.
    """
    content = client.pull_referrers(subject_digest)
    if content is None:
        found = _fallback(client, subject_digest)
    else:
        found = read_index(content, f"{client.repository}: the referrers of {subject_digest}").manifests
    return [each for each in found if each.artifact_type == artifact_type]


def _fallback(client: RegistryClient, subject_digest: str) -> tuple[Descriptor, ...]:
    tag = _fallback_tag(subject_digest)
    content = client.pull_manifest(tag)
    return () if content is None else read_index(content, f"{client.repository}:{tag}").manifests


def _fallback_tag(digest: str) -> str:
    return digest.replace(":", "-", 1)


def subject_of(content: bytes) -> Descriptor:
    """The descriptor that names a manifest's bytes as a subject."""
    return Descriptor(MANIFEST_TYPE, digest_of(content), len(content))
