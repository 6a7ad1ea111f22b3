"""What is signed of an image: its digest, and what its labels say; the same bytes each time."""

import json

from divisions.attestation.image import PREDICATE_TYPE, image_statement, signature_tag, simple_signing
from divisions.attestation.statement import read_statement

DIGEST = "sha256:" + "ab" * 32
LABELS = {"org.opencontainers.image.base.digest": "sha256:1", "io.divisions.model.version": "3.2", "maintainer": "x"}


def test_the_statement_is_about_the_manifest_and_tells_version_and_base():
    content = image_statement("registry.example/churn", DIGEST, LABELS)
    found = read_statement(content, "ab" * 32, PREDICATE_TYPE, "it")
    assert found.subject[0].name == "registry.example/churn"
    told = found.predicate["buildDefinition"]["externalParameters"]["labels"]
    assert told == {name: LABELS[name] for name in list(LABELS)[:2]}
    assert image_statement("registry.example/churn", DIGEST, dict(reversed(LABELS.items()))) == content


def test_engines_get_the_document_of_the_specification():
    """Its three claims are all that they read: what they do not know, they refuse."""
    found = json.loads(simple_signing("registry.example/churn", DIGEST))
    assert found["critical"] == {
        "identity": {"docker-reference": "registry.example/churn"},
        "image": {"docker-manifest-digest": DIGEST},
        "type": "cosign container image signature",
    }
    assert set(found) == {"critical", "optional"}
    assert signature_tag(DIGEST) == f"sha256-{'ab' * 32}.sig"
