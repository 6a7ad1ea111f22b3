"""What is signed of an image: its provenance, and what cosign and the container engines call a signature. Pure.

Both name the image by the digest of its manifest. The second is cosign's "simple signing" document
(https://github.com/containers/image/blob/main/docs/containers-signature.5.md#json-data-format), which is kept, with its
signature, under a tag of its own (https://github.com/sigstore/cosign/blob/main/specs/SIGNATURE_SPEC.md).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

from divisions.attestation.statement import Statement, Subject

PREDICATE_TYPE: Final = "https://slsa.dev/provenance/v1"
BUILD_TYPE: Final = "urn:divisions:image:v1"
BUILDER: Final = "urn:divisions:models-package"
SIMPLE_SIGNING: Final = "application/vnd.dev.cosign.simplesigning.v1+json"
SIGNATURE: Final = "dev.cosignproject.cosign/signature"
"""Annotation that has the signature of a document, in base64."""


def image_statement(repository: str, digest: str, labels: Mapping[str, str]) -> bytes:
    """The statement about an image, as bytes: what its labels say of the version and of the base that it is made of.

    Args:
        repository: with the registry's host.
        digest: of the manifest.
        labels: of the image's config.
    """
    told = {name: labels[name] for name in sorted(labels) if name.startswith(("io.divisions.", "org.opencontainers."))}
    predicate = {
        "buildDefinition": {"buildType": BUILD_TYPE, "externalParameters": {"labels": told}},
        "runDetails": {"builder": {"id": BUILDER}},
    }
    subject = Subject(repository, {"sha256": digest.removeprefix("sha256:")})
    return Statement((subject,), PREDICATE_TYPE, predicate).to_json()


def simple_signing(repository: str, digest: str) -> bytes:
    """The document that is signed for engines: the image's digest, and the repository that it may be pulled from."""
    critical = {
        "identity": {"docker-reference": repository},
        "image": {"docker-manifest-digest": digest},
        "type": "cosign container image signature",
    }
    return msgspec.json.encode({"critical": critical, "optional": {"creator": "divisions"}}, order="deterministic")


def signature_tag(digest: str) -> str:
    """The tag under which the signatures of a manifest are.

    >>> signature_tag("sha256:0123")
    'sha256-0123.sig'
    """
    return f"{digest.replace(':', '-', 1)}.sig"
