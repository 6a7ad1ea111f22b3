"""Bundles in a real OCI registry: pushed once, pulled by another machine, and never believed."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from divisions.artifacts.cache import Bundles
from divisions.bundle import ONNX, read_bundle
from divisions.errors import ArtifactStoreError, BundleError
from divisions.oci.login import find_credentials
from divisions.oci.manifest import ArtifactManifest, Descriptor, read_manifest
from divisions.oci.reference import digest_of, parse_repository
from divisions.oci.registry import RegistryClient
from divisions.settings import Settings
from tests.conftest import skipped_where_absent
from tests.divisions.artifacts.test_cache import make
from tests.oci_registry import USER, running_registry
from tests.servers import PASSWORD

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module", params=["plain", "secure"])
def registry(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("registry") / "server"
    with skipped_where_absent(), running_registry(folder, is_secure=request.param == "secure") as server:
        yield server


@pytest.fixture
def login(registry, tmp_path, monkeypatch):
    """The file of ``docker login``."""
    if registry.is_secure:
        monkeypatch.setenv("SSL_CERT_FILE", str(registry.authority))
    return write_login(tmp_path, registry, PASSWORD)


def write_login(folder: Path, registry, password: str) -> Path:
    entry = base64.b64encode(f"{USER}:{password}".encode()).decode()
    path = folder / "config.json"
    path.write_text(json.dumps({"auths": {f"{registry.host}:{registry.port}": {"auth": entry}}}))
    return path


def machine(home: Path, registry, login: Path, **settings) -> Bundles:
    return Bundles.of(Settings(home=home, artifacts=registry.artifacts, docker_config=login, **settings))


def client_of(registry, login) -> RegistryClient:
    repository = parse_repository(registry.artifacts).below("churn-predictor")
    return RegistryClient(repository, lambda: find_credentials(repository.host, login))


def published(tmp_path, registry, login, content: bytes = b"graph") -> tuple[str, str]:
    """The address and SHA-256 of a bundle that one machine has published."""
    folder, sha256 = make(tmp_path / "one", content)
    machine(tmp_path / "one", registry, login).publish(folder, sha256)
    return f"churn-predictor/{folder.name}", sha256


def test_another_machine_pulls_what_one_has_pushed(tmp_path, registry, login):
    address, sha256 = published(tmp_path, registry, login)
    folder, manifest = machine(tmp_path / "two", registry, login).open(address, sha256)
    assert folder == tmp_path / "two" / "bundles" / address
    assert (folder / ONNX).read_bytes() == b"graph"
    assert read_bundle(folder, sha256) == manifest


def test_a_bundle_is_pushed_once_and_the_same_from_two_machines(tmp_path, registry, login):
    address, sha256 = published(tmp_path, registry, login, b"same")
    with client_of(registry, login) as client:
        before = client.pull_manifest(address.partition("/")[2])
    stamps = {path: path.stat().st_mtime_ns for path in registry.blobs.rglob("data")}
    machine(tmp_path / "one", registry, login).publish(tmp_path / "one" / "bundles" / address, sha256)
    folder, again = make(tmp_path / "three", b"same")
    assert again == sha256
    bundles = machine(tmp_path / "three", registry, login)
    bundles.store.write(address, sorted(folder.iterdir(), reverse=True))
    with client_of(registry, login) as client:
        assert client.pull_manifest(address.partition("/")[2]) == before
    assert {path: path.stat().st_mtime_ns for path in stamps} == stamps, "no blob was sent twice"


def test_a_changed_blob_is_refused_whichever_byte_it_is(tmp_path, registry, login):
    address, sha256 = published(tmp_path, registry, login, bytes(range(256)) * 8)
    with client_of(registry, login) as client:
        manifest = read_manifest(client.pull_manifest(address.partition("/")[2]), "it")
    blob = registry.blob_path(manifest.layers[0].digest)
    good = blob.read_bytes()
    try:
        for place in range(0, len(good), max(1, len(good) // 24)):
            blob.write_bytes(good[:place] + bytes([good[place] ^ 1]) + good[place + 1 :])
            with pytest.raises(BundleError, match="sends other bytes than sha256:"):
                machine(tmp_path / f"x{place}", registry, login).open(address, sha256)
            assert not list((tmp_path / f"x{place}").rglob(ONNX))
    finally:
        blob.write_bytes(good)
    machine(tmp_path / "two", registry, login).open(address, sha256)


def test_a_tag_that_was_moved_to_another_bundle_is_refused(tmp_path, registry, login):
    address, sha256 = published(tmp_path, registry, login, b"right")
    other, _ = published(tmp_path / "other", registry, login, b"wrong")
    with client_of(registry, login) as client:
        tags = [each.partition("/")[2] for each in (other, address)]
        manifest = read_manifest(client.pull_manifest(tags[0]), "it")
        client.push_artifact(manifest, tags[1])
    with pytest.raises(BundleError, match=rf"has another bundle {address} than the registered one"):
        machine(tmp_path / "two", registry, login).open(address, sha256)


def test_something_else_under_the_tag_is_told(tmp_path, registry, login):
    address, sha256 = published(tmp_path, registry, login, b"was right")
    with client_of(registry, login) as client:
        client.push_artifact(ArtifactManifest("application/vnd.other", ()), address.partition("/")[2])
    with pytest.raises(BundleError, match=r"is an artifact of type 'application/vnd.other', no bundle"):
        machine(tmp_path / "two", registry, login).open(address, sha256)


def test_a_registry_that_is_away_stops_nobody_who_has_the_bundle(tmp_path, registry, login):
    address, sha256 = published(tmp_path, registry, login, b"kept")
    two = machine(tmp_path / "two", registry, login)
    two.open(address, sha256)
    folder, new = make(tmp_path / "three", b"new")
    registry.kill()
    try:
        assert two.open(address, sha256)[1].files
        with pytest.raises(BundleError, match=rf"the registry {registry.host}:{registry.port} does not answer"):
            machine(tmp_path / "four", registry, login).open(address, sha256)
        with pytest.raises(ArtifactStoreError, match="does not answer"):
            machine(tmp_path / "three", registry, login).publish(folder, new)
    finally:
        registry.start()
    machine(tmp_path / "three", registry, login).publish(folder, new)
    machine(tmp_path / "four", registry, login).open(f"churn-predictor/{folder.name}", new)


def test_what_is_not_there_is_told_and_a_blob_that_is_missing_too(tmp_path, registry, login):
    folder, sha256 = make(tmp_path / "one", b"never pushed")
    address = f"churn-predictor/{folder.name}"
    two = machine(tmp_path / "two", registry, login)
    assert (two.store.has(address, ONNX), two.store.read(address, ONNX)) == (False, None)
    with pytest.raises(BundleError, match=rf"oci.*://.* has no bundle {address}"):
        two.open(address, sha256)
    with client_of(registry, login) as client, pytest.raises(ArtifactStoreError, match="MANIFEST_BLOB_UNKNOWN"):
        client.push_artifact(ArtifactManifest("a/b", (Descriptor("a/c", digest_of(b"gone"), 4),)), "t")


def test_a_wrong_or_missing_password_is_told_without_it(tmp_path, registry, login):
    if not registry.is_secure:
        pytest.skip("a registry without passwords")
    folder, sha256 = make(tmp_path / "one", b"secret")
    wrong = write_login(tmp_path / "one", registry, "not-the-password")
    for config in (wrong, tmp_path / "absent.json"):
        with pytest.raises(ArtifactStoreError, match=r"status 401 \(UNAUTHORIZED.*log in with docker") as caught:
            machine(tmp_path / "one", registry, config).publish(folder, sha256)
        assert "not-the-password" not in str(caught.value)


def test_a_certificate_that_nobody_trusts_is_refused(tmp_path, registry, login, monkeypatch):
    if not registry.is_secure:
        pytest.skip("a registry without TLS")
    monkeypatch.delenv("SSL_CERT_FILE")
    folder, sha256 = make(tmp_path / "one", b"untrusted")
    with pytest.raises(ArtifactStoreError, match=r"CERTIFICATE_VERIFY_FAILED.*SSL_CERT_FILE"):
        machine(tmp_path / "one", registry, login).publish(folder, sha256)


def test_a_push_that_was_killed_is_simply_done_again(tmp_path, registry, login):
    """The blob comes first and the tag last, so a half-pushed bundle is not there."""
    folder, sha256 = make(tmp_path / "one", b"killed")
    address = f"churn-predictor/{folder.name}"
    script = (
        "import os, sys\n"
        "from pathlib import Path\n"
        "from divisions.artifacts.cache import Bundles\n"
        "from divisions.oci.registry import RegistryClient\n"
        "from divisions.settings import Settings\n"
        "RegistryClient.push_artifact = lambda *_: os._exit(9)\n"
        "home, artifacts, login, folder, sha256 = sys.argv[1:]\n"
        "settings = Settings(home=Path(home), artifacts=artifacts, docker_config=Path(login))\n"
        "Bundles.of(settings).publish(Path(folder), sha256)\n"
    )
    arguments = [str(tmp_path / "one"), registry.artifacts, str(login), str(folder), sha256]
    assert subprocess.run([sys.executable, "-c", script, *arguments], check=False).returncode == 9
    two = machine(tmp_path / "two", registry, login)
    assert not two.store.has(address, ONNX)
    machine(tmp_path / "one", registry, login).publish(folder, sha256)
    two.open(address, sha256)


def test_a_bundle_larger_than_the_cache_is_refused_before_it_comes(tmp_path, registry, login):
    address, sha256 = published(tmp_path, registry, login, os.urandom(1_500_000))
    with pytest.raises(BundleError, match=r"over the 1,000,000 that bundles may take.*DIVISIONS_ARTIFACT_CACHE_MB"):
        machine(tmp_path / "two", registry, login, artifact_cache_mb=1).open(address, sha256)
