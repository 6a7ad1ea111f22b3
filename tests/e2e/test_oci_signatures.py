"""Signed bundles in a real registry: another machine takes what a trusted key has signed, and nothing else."""

from __future__ import annotations

import base64
import json

import pytest

from divisions.artifacts.cache import Bundles
from divisions.artifacts.oci_attestations import PROOF
from divisions.artifacts.signing import is_signed, sign, statements_of
from divisions.attestation.envelope import PAYLOAD_TYPE
from divisions.attestation.facts import BundleFacts
from divisions.attestation.keys import new_signing_key
from divisions.bundle import read_bundle
from divisions.errors import BundleError
from divisions.oci.login import find_credentials
from divisions.oci.manifest import (
    INDEX_TYPE,
    MANIFEST_TYPE,
    ArtifactManifest,
    Descriptor,
    Index,
    read_entries,
    read_manifest,
)
from divisions.oci.reference import digest_of, parse_repository
from divisions.oci.referrers import list_referrers, subject_of
from divisions.oci.registry import RegistryClient
from divisions.settings import Settings
from tests.conftest import skipped_where_absent
from tests.divisions.artifacts.test_cache import make
from tests.oci_registry import USER, running_registry
from tests.servers import PASSWORD

pytestmark = pytest.mark.e2e

KEY, OTHER = new_signing_key(), new_signing_key()


@pytest.fixture(scope="module")
def registry(tmp_path_factory):
    with skipped_where_absent(), running_registry(tmp_path_factory.mktemp("registry") / "server", is_secure=True) as it:
        yield it


@pytest.fixture
def machine(tmp_path, registry, monkeypatch):
    """The bundles of a home, which trusts some keys."""
    monkeypatch.setenv("SSL_CERT_FILE", str(registry.authority))
    entry = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
    login = tmp_path / "config.json"
    login.write_text(json.dumps({"auths": {f"{registry.host}:{registry.port}": {"auth": entry}}}))

    def open_home(name: str, *trusted) -> Bundles:
        keys = tuple(str(key.public) for key in trusted)
        settings = Settings(home=tmp_path / name, artifacts=registry.artifacts, docker_config=login, trusted_keys=keys)
        return Bundles.of(settings)

    return open_home


@pytest.fixture
def client(tmp_path, registry, machine):
    repository = parse_repository(registry.artifacts).below("churn-predictor")
    with RegistryClient(repository, lambda: find_credentials(repository.host, tmp_path / "config.json")) as found:
        yield found


@pytest.fixture
def published(tmp_path, machine, request):
    """Address and SHA-256 of a bundle that was pushed; its statements, not signed yet."""
    folder, sha256 = make(tmp_path / "one", request.node.name.encode())
    machine("one").publish(folder, sha256)
    return f"churn-predictor/{folder.name}", sha256, statements_of(BundleFacts(read_bundle(folder, sha256)))


def test_only_what_a_trusted_key_has_signed_is_pulled(tmp_path, machine, published):
    address, sha256, statements = published
    with pytest.raises(BundleError, match="has no provenance that is signed by a trusted key"):
        machine("two", KEY).open(address, sha256)
    one = machine("one").attestations
    assert sign(one, statements, OTHER)
    with pytest.raises(BundleError, match="has no provenance that is signed by a trusted key"):
        machine("two", KEY).open(address, sha256)
    assert sign(one, statements, KEY)
    for home, keys in (("two", [KEY]), ("three", [OTHER]), ("four", [new_signing_key(), KEY])):
        machine(home, *keys).open(address, sha256)
    machine("five").open(address, sha256)


def test_signing_again_changes_nothing_in_the_registry(machine, registry, published):
    _, _, statements = published
    one = machine("one").attestations
    sign(one, statements, KEY)
    stamps = {path: path.stat().st_mtime_ns for path in (registry.folder / "disk").rglob("*") if path.is_file()}
    assert not sign(one, statements, KEY)
    assert is_signed(one, statements, KEY)
    assert sign(machine("six").attestations, statements, KEY), "the home is new, the registry is not"
    assert {path: path.stat().st_mtime_ns for path in (registry.folder / "disk").rglob("*") if path.is_file()} == stamps


def test_others_find_the_statements_under_the_tag_of_the_specification(machine, client, published):
    address, _, statements = published
    sign(machine("one").attestations, statements, KEY)
    subject = client.pull_manifest(address.partition("/")[2])
    listed = read_entries(client.pull_manifest(digest_of(subject).replace(":", "-")), "it")
    assert [each.artifact_type for each in listed] == [PAYLOAD_TYPE] * 2
    assert {each.annotations["io.divisions.attestation"].partition(".")[0] for each in listed} == {"provenance", "sbom"}
    for each in listed:
        assert read_manifest(client.pull_manifest(each.digest), "it").subject == subject_of(subject)


def test_no_byte_of_a_signed_statement_can_be_changed_in_the_registry(tmp_path, machine, client, registry, published):
    address, sha256, statements = published
    sign(machine("one").attestations, statements, KEY)
    subject = digest_of(client.pull_manifest(address.partition("/")[2]))
    (entry,) = (
        each
        for each in list_referrers(client, subject, PAYLOAD_TYPE)
        if each.annotations["io.divisions.attestation"].startswith("provenance")
    )
    blob = registry.blob_path(read_manifest(client.pull_manifest(entry.digest), "it").layers[0].digest)
    good = blob.read_bytes()
    try:
        for place in range(0, len(good), max(1, len(good) // 12)):
            blob.write_bytes(good[:place] + bytes([good[place] ^ 1]) + good[place + 1 :])
            with pytest.raises(BundleError, match=r"signature of bundle .* cannot be read: .* sends other bytes"):
                machine(f"x{place}", KEY).open(address, sha256)
    finally:
        blob.write_bytes(good)
    machine("two", KEY).open(address, sha256)


def test_who_may_push_cannot_hide_a_signature_by_statements_of_the_same_name(machine, client, published):
    address, sha256, statements = published
    sign(machine("one").attestations, statements, KEY)
    subject = client.pull_manifest(address.partition("/")[2])
    tag = digest_of(subject).replace(":", "-")
    real = read_entries(client.pull_manifest(tag), "it")
    (provenance,) = (each for each in real if each.annotations["io.divisions.attestation"].startswith("provenance"))
    layers = read_manifest(client.pull_manifest(provenance.digest), "it").layers
    copies = []  # the annotations of the real one with another content, and more of them than anybody would fetch
    for n in range(3):
        told = {**provenance.annotations, "n": str(n), **({PROOF: "sha256:0 1 AAAA"} if n else {})}
        forged = ArtifactManifest(PAYLOAD_TYPE, layers, told, subject=subject_of(subject))
        copies.append(Descriptor(MANIFEST_TYPE, client.push_artifact(forged), 1, told, PAYLOAD_TYPE))
    client.push_manifest(Index((*copies * 500, *real)).to_json(), INDEX_TYPE, tag)
    machine("two", KEY).open(address, sha256)
