"""Keys: read back as they were written, and never shown."""

import base64
import os
import subprocess

import pytest

from divisions.attestation.keys import (
    PublicKey,
    find_signing_key,
    new_signing_key,
    parse_public_key,
    parse_trusted_keys,
    signing_key,
    write_signing_key,
)
from divisions.errors import ConflictError, SettingsError

VARIABLE = "DIVISIONS_SIGNING_KEY"


@pytest.fixture(autouse=True)
def no_key_of_the_environment(monkeypatch):
    monkeypatch.delenv(VARIABLE, raising=False)


def test_a_key_is_found_in_the_home_in_a_file_and_in_the_environment(tmp_path, monkeypatch):
    assert find_signing_key(tmp_path) is None
    key, other = new_signing_key(), new_signing_key()
    write_signing_key(tmp_path / "signing_key.pem", key)
    assert find_signing_key(tmp_path).public == key.public
    write_signing_key(tmp_path / "other" / "key.pem", other)
    for given in (str(tmp_path / "other" / "key.pem"), other.pem.decode()):
        monkeypatch.setenv(VARIABLE, given)
        assert find_signing_key(tmp_path).public == other.public != key.public


def test_only_its_owner_can_read_it_and_it_replaces_nothing(tmp_path):
    before = os.umask(0)
    try:
        write_signing_key(tmp_path / "k.pem", new_signing_key())
    finally:
        os.umask(before)
    assert (tmp_path / "k.pem").stat().st_mode & 0o777 == 0o600
    content = (tmp_path / "k.pem").read_bytes()
    with pytest.raises(ConflictError, match=r"k\.pem exists"):
        write_signing_key(tmp_path / "k.pem", new_signing_key())
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("k.pem", content)]


def test_a_place_that_cannot_be_written_is_told(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(SettingsError, match="cannot be written"):
        write_signing_key(tmp_path / "file" / "k.pem", new_signing_key())


def test_what_is_no_key_is_told_with_where_it_is(tmp_path, monkeypatch):
    with pytest.raises(SettingsError, match=r"no signing key.*divisions keys create.*DIVISIONS_SIGNING_KEY"):
        signing_key(tmp_path)
    rsa = subprocess.run(
        ["openssl", "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"],
        capture_output=True,
        check=True,
    ).stdout
    (tmp_path / "ec.pem").write_bytes(rsa)
    (tmp_path / "text.pem").write_bytes(b"\xff no key")
    for name in ("ec.pem", "text.pem"):
        monkeypatch.setenv(VARIABLE, str(tmp_path / name))
        with pytest.raises(SettingsError, match=rf"{name} has no Ed25519 private key"):
            find_signing_key(tmp_path)
    monkeypatch.setenv(VARIABLE, "-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----")
    with pytest.raises(SettingsError, match=f"{VARIABLE} has no Ed25519") as caught:
        find_signing_key(tmp_path)
    assert "c2VjcmV0" not in str(caught.value)
    monkeypatch.setenv(VARIABLE, str(tmp_path / "absent"))
    with pytest.raises(SettingsError, match="absent cannot be read"):
        find_signing_key(tmp_path)


def test_openssl_reads_the_key_and_verifies_what_it_signed(tmp_path):
    key = new_signing_key()
    (tmp_path / "key").write_bytes(key.pem)
    (tmp_path / "content").write_bytes(b"content")
    (tmp_path / "signature").write_bytes(key.sign(b"content"))
    verify = ["openssl", "pkeyutl", "-verify", "-rawin", "-inkey", "key", "-in", "content", "-sigfile", "signature"]
    assert subprocess.run(verify, cwd=tmp_path, capture_output=True, check=False).returncode == 0


def test_a_private_key_shows_its_public_part_only():
    key = new_signing_key()
    assert repr(key) == f"SigningKey({key.public})"


def test_a_public_key_survives_being_written():
    key = new_signing_key().public
    assert parse_public_key(str(key)) == key
    assert parse_trusted_keys([str(key), str(key)]) == (key,)


@pytest.mark.parametrize(
    "text", ["", "ed25519:", "ed25519:!", "ed25519:" + base64.b64encode(b"x" * 31).decode(), "A" * 43 + "=", "é"]
)
def test_what_is_no_public_key_is_told(text):
    with pytest.raises(SettingsError, match="is no public key"):
        parse_public_key(text)


def test_a_signature_fits_its_content_and_key_only():
    key = new_signing_key()
    signature = key.sign(b"content")
    assert key.public.verifies(signature, b"content")
    assert not key.public.verifies(signature, b"content!")
    assert not new_signing_key().public.verifies(signature, b"content")
    assert not PublicKey(bytes(32)).verifies(signature, b"content")
    assert not key.public.verifies(b"", b"content")
