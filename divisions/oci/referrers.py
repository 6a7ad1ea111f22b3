"""What refers to an artifact: signatures, bills of materials. Listed by the registry, or under a tag of its own.

A registry of the distribution specification 1.1 lists them itself. For an older one, such as Debian's
``docker-registry`` 2.8, the specification has clients keep the list under the tag ``sha256-<digest of the subject>``.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from divisions.errors import ArtifactStoreError
from divisions.oci.manifest import (
    INDEX_TYPE,
    MANIFEST_TYPE,
    ArtifactManifest,
    Descriptor,
    Index,
    media_type_of,
    read_entries,
)
from divisions.oci.reference import digest_of
from divisions.oci.registry import Page, RegistryClient

_ATTEMPTS: Final = 4
"""Somebody else may write the list at the same time."""
_MAX_LIST_BYTES: Final = 64 << 20
_MAX_PAGES: Final = 1_000


def push_referrer(client: RegistryClient, manifest: ArtifactManifest) -> None:
    """Pushes an artifact with a subject, whose blobs are there already, and has it listed.

    Raises:
        ArtifactStoreError: the registry does not answer, or refuses.
    """
    assert isinstance(manifest.subject, Descriptor), "a referrer has a subject"
    content = manifest.to_json()
    digest = client.push_artifact(manifest)
    if client.pull_referrers(manifest.subject.digest, manifest.artifact_type) is not None:
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


def list_referrers(client: RegistryClient, subject_digest: str, artifact_type: str) -> Iterator[Descriptor]:
    """What refers to the manifest of this digest and has this type. An entry that cannot be read hides no other.

    Raises:
        ArtifactStoreError: the registry does not answer, or refuses.
    """
    first = client.pull_referrers(subject_digest, artifact_type)
    where = f"{client.repository}: the referrers of {subject_digest}"
    if first is None:
        yield from (each for each in _fallback(client, subject_digest) if each.artifact_type == artifact_type)
        return
    for page in _pages(client, first, subject_digest, artifact_type):
        yield from (each for each in read_entries(page.content, where) if each.artifact_type == artifact_type)


def _pages(client: RegistryClient, first: Page, subject_digest: str, artifact_type: str) -> Iterator[Page]:
    page, num_bytes = first, len(first.content)
    for _ in range(_MAX_PAGES):
        yield page
        following = client.pull_referrers(subject_digest, artifact_type, page.next_url) if page.next_url else None
        if following is None:
            return
        page, num_bytes = following, num_bytes + len(following.content)
        if num_bytes > _MAX_LIST_BYTES:
            break
    raise ArtifactStoreError(
        f"{client.repository}: over {_MAX_LIST_BYTES:,} bytes or {_MAX_PAGES:,} pages refer to {subject_digest}",
        remedy="delete what is not yours there, and let fewer people push to this repository",
    )


def _fallback(client: RegistryClient, subject_digest: str) -> tuple[Descriptor, ...]:
    tag = _fallback_tag(subject_digest)
    content = client.pull_manifest(tag)
    return () if content is None else read_entries(content, f"{client.repository}:{tag}")


def _fallback_tag(digest: str) -> str:
    return digest.replace(":", "-", 1)


def subject_of(content: bytes) -> Descriptor:
    """The descriptor that names a manifest's bytes as a subject: an artifact's, an image's, or an index."""
    return Descriptor(media_type_of(content) or MANIFEST_TYPE, digest_of(content), len(content))
