"""Signed images in a real registry: as we check them, and as other programs find and check the signature."""

from __future__ import annotations

import base64
import shutil
import subprocess
from dataclasses import replace

import pytest

from deploy.shipping.image_check import require_signed_image
from divisions.artifacts.image_push import push_image
from divisions.artifacts.image_signing import sign_image, verify_image
from divisions.attestation.envelope import PAYLOAD_TYPE
from divisions.attestation.image import SIGNATURE, SIMPLE_SIGNING, signature_tag, simple_signing
from divisions.attestation.keys import new_signing_key
from divisions.errors import ArtifactStoreError, BundleError
from divisions.oci.image import read_image
from divisions.oci.manifest import read_manifest
from divisions.oci.referrers import list_referrers
from divisions.settings import Settings
from tests.e2e.test_image_push import World, registries, request_for, world  # noqa: F401  # fixtures

pytestmark = pytest.mark.e2e

KEY, OTHER = new_signing_key(), new_signing_key()


@pytest.fixture
def signed(world: World, request):  # noqa: F811
    """An image that KEY has signed, and a client of its repository."""
    base = world.push_base(f"signed/{request.node.name.replace('_', '-').lower()[:60].strip('-')}", docker=True)
    with world.client(base) as client:
        with pytest.raises(BundleError, match="is signed by no trusted key"):
            verify_image(client, base.digest, (KEY.public,))
        assert sign_image(client, base.digest, KEY)
        yield base, client


def test_a_trusted_key_is_found_and_signing_again_changes_nothing(signed, world):  # noqa: F811
    base, client = signed
    stamps = {path: path.stat().st_mtime_ns for path in (world.secure.folder / "disk").rglob("*") if path.is_file()}
    assert not sign_image(client, base.digest, KEY)
    assert {path: path.stat().st_mtime_ns for path in stamps} == stamps
    assert verify_image(client, base.digest, (OTHER.public, KEY.public)) == KEY.public
    with pytest.raises(BundleError, match="is signed by no trusted key"):
        verify_image(client, base.digest, (OTHER.public,))
    assert sign_image(client, base.digest, OTHER)
    assert verify_image(client, base.digest, (OTHER.public,)) == OTHER.public
    with pytest.raises(ArtifactStoreError, match="there is no image"):
        sign_image(client, f"sha256:{'0' * 64}", KEY)


def test_a_target_that_asks_for_signed_images_gets_no_other(signed, world, tmp_path):  # noqa: F811
    base, _ = signed
    image = f"{base.repository}@{base.digest}"

    def settings(key):
        return Settings(home=tmp_path, docker_config=world._login, trusted_keys=(str(key.public),))

    assert require_signed_image(image, settings(KEY)) == str(KEY.public)
    with pytest.raises(BundleError, match="is signed by no trusted key"):
        require_signed_image(image, settings(OTHER))


def test_a_signature_counts_for_its_image_only(signed, world):  # noqa: F811
    base, client = signed
    other = world.push_base(base.repository.path, docker=True, arch="arm64")
    assert other.digest != base.digest
    with pytest.raises(BundleError, match="is signed by no trusted key"):
        verify_image(client, other.digest, (KEY.public,))


def test_no_byte_of_the_statement_can_be_changed(signed, world):  # noqa: F811
    base, client = signed
    (entry,) = list_referrers(client, base.digest, PAYLOAD_TYPE)
    blob = world.secure.blob_path(read_manifest(client.pull_manifest(entry.digest), "it").layers[0].digest)
    good = blob.read_bytes()
    for place in range(0, len(good), max(1, len(good) // 8)):
        blob.write_bytes(good[:place] + bytes([good[place] ^ 1]) + good[place + 1 :])
        with pytest.raises(BundleError, match=r"the signature of image .* cannot be read: .* sends other bytes"):
            verify_image(client, base.digest, (KEY.public,))


def test_other_programs_find_the_signature_under_cosigns_tag_and_openssl_accepts_it(signed, tmp_path):
    base, client = signed
    sign_image(client, base.digest, OTHER)
    layers = read_image(client.pull_manifest(signature_tag(base.digest)), "it").layers
    assert [each.media_type for each in layers] == [SIMPLE_SIGNING] * 2
    document, signature = tmp_path / "document", tmp_path / "signature"
    for key, layer in zip((KEY, OTHER), layers, strict=True):
        client.pull_blob(layer.digest, layer.size, document)
        assert document.read_bytes() == simple_signing(str(base.repository), base.digest)
        signature.write_bytes(base64.b64decode(layer.annotations[SIGNATURE]))
        (tmp_path / "key.pem").write_bytes(key.public.pem)
        command = ["openssl", "pkeyutl", "-verify", "-pubin", "-inkey", str(tmp_path / "key.pem"), "-rawin"]
        command += ["-in", str(document), "-sigfile", str(signature)]
        if shutil.which("openssl") is None:
            assert key.public.verifies(signature.read_bytes(), document.read_bytes())
            continue
        assert subprocess.run(command, check=False, capture_output=True).returncode == 0
        document.write_bytes(document.read_bytes().replace(b"sha256:", b"sha257:"))
        assert subprocess.run(command, check=False, capture_output=True).returncode != 0


def test_with_trusted_keys_a_version_is_put_onto_a_signed_base_only(world, request_for, signed):  # noqa: F811
    base, _ = signed
    request = replace(request_for(base, "signed/churn"), trusted=(OTHER.public,), key=KEY)
    with pytest.raises(BundleError, match=r"is signed by no trusted key.*divisions images sign"):
        push_image(request, world.credentials, lambda line: None)
    said: list[str] = []
    pushed = push_image(replace(request, trusted=(OTHER.public, KEY.public)), world.credentials, said.append)
    assert said[0] == f"the base is signed by {KEY.public}"
    assert pushed.signed_by == str(KEY.public)
    with world.client(request.target) as target:
        assert verify_image(target, pushed.digest, (KEY.public,)) == KEY.public
