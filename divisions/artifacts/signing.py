"""Signs bundles: makes the statements about one, and puts them where whoever loads it looks for them."""

from __future__ import annotations

from dataclasses import dataclass

from divisions.artifacts.attestations import PREDICATES, PROVENANCE, SBOM, Attestations, attestation_name
from divisions.artifacts.cache import Bundles
from divisions.attestation.envelope import seal
from divisions.attestation.facts import BundleFacts
from divisions.attestation.keys import SigningKey
from divisions.attestation.provenance import provenance
from divisions.attestation.sbom import bill_of_materials, to_json
from divisions.attestation.statement import statement_of
from divisions.bundle import Manifest
from divisions.errors import RegistryError
from divisions.registry import Registry
from divisions.versions import RegisteredVersion


@dataclass(frozen=True, slots=True)
class Statements:
    """The two statements about a bundle, unsigned, as in-toto statements; ``sbom`` is the bill of materials alone."""

    address: str
    by_kind: dict[str, bytes]
    sbom: bytes

    def sealed(self, key: SigningKey) -> dict[str, bytes]:
        """The envelopes by their names."""
        return {attestation_name(kind, key.public): seal(payload, key) for kind, payload in self.by_kind.items()}


def facts_of(registry: Registry, version: RegisteredVersion, manifest: Manifest) -> BundleFacts:
    """What the registry knows of a bundle. Without its run (another registry's), only the version's lineage."""
    trained_by = manifest.run_id or version.trained_by
    try:
        run = registry.get_run(trained_by)
    except RegistryError:
        return BundleFacts(manifest, version.lineage, trained_by=trained_by)
    return BundleFacts(manifest, version.lineage, run.params, run.started_at_s, trained_by)


def statements_of(facts: BundleFacts) -> Statements:
    document = bill_of_materials(facts)
    sbom = to_json(document)
    predicates = {PROVENANCE: provenance(facts, sbom), SBOM: document}
    by_kind = {
        kind: statement_of(facts.address, facts.sha256, PREDICATES[kind], predicate)
        for kind, predicate in predicates.items()
    }
    return Statements(facts.address, by_kind, sbom)


def sign(attestations: Attestations, statements: Statements, key: SigningKey) -> bool:
    """Puts the signed statements in place; returns whether anything was written. The store has the bundle already.

    Raises:
        BundleError: they cannot be written in the home.
        ArtifactStoreError: the store does not answer, or refuses.
    """
    sealed = statements.sealed(key).items()
    written = [attestations.put(statements.address, name, content, key) for name, content in sealed]
    return any(written)


def sign_version(bundles: Bundles, registry: Registry, version: RegisteredVersion, key: SigningKey) -> bool:
    """Signs a version's bundle; returns whether anything was written.

    Args:
        bundles: those of this machine, without trusted keys: who signs need not have signed before.

    Raises:
        BundleError: the bundle is neither here nor in the store, or damaged.
        ArtifactStoreError: the store does not answer, or refuses.
    """
    folder, manifest = bundles.open(version.bundle_path, version.bundle_sha256)
    bundles.publish(folder, version.bundle_sha256)
    return sign(bundles.attestations, statements_of(facts_of(registry, version, manifest)), key)


def is_signed(attestations: Attestations, statements: Statements, key: SigningKey) -> bool:
    """Whether exactly these statements are in place.

    Raises:
        ArtifactStoreError: the store does not answer, or refuses.
    """
    sealed = statements.sealed(key).items()
    return all(attestations.has(statements.address, name, content, key.public) for name, content in sealed)
