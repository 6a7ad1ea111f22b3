"""The certificate and key of the gateway's port: what is taken, and the line that says what is wrong."""

from __future__ import annotations

import os
import ssl
import time
from pathlib import Path

import pytest

from divisions.certificates.port_pair import examine, read_pair, usable_pair
from divisions.errors import SettingsError
from tests.port_certificates import write_pair


def refused(certificate: str, key: str) -> str:
    with pytest.raises(SettingsError) as caught:
        usable_pair(certificate, key, time.time())
    text = str(caught.value)
    assert "\n" not in text
    assert "BEGIN" not in text
    return text


def test_a_good_pair_is_taken_with_its_names_and_dates(tmp_path):
    found = usable_pair(*write_pair(tmp_path, ends=10), time.time())
    assert found.names == ("gateway.example", "127.0.0.1")
    assert found.end_s == pytest.approx(time.time() + 10 * 86_400, abs=60)
    assert found.begin_s == pytest.approx(time.time() - 86_400, abs=60)
    assert found.context.minimum_version is ssl.TLSVersion.TLSv1_2
    assert "PRIVATE" not in repr(found)


def test_the_key_of_another_certificate_is_named_with_both_files(tmp_path):
    certificate, _ = write_pair(tmp_path, "one")
    _, key = write_pair(tmp_path, "two")
    text = refused(certificate, key)
    assert f"DIVISIONS_TLS_KEY: the key in {key} does not belong to the first certificate in {certificate}" in text
    assert "issued together" in text


def test_an_encrypted_key_asks_for_no_passphrase_and_says_how_to_remove_it(tmp_path):
    certificate, key = write_pair(tmp_path, passphrase=b"tell-nobody")
    text = refused(certificate, key)
    assert f"the key in {key} is encrypted" in text
    assert f"openssl pkey -in {key} -out" in text


@pytest.mark.parametrize("mode", [0o604, 0o644, 0o660, 0o620])
def test_a_key_that_others_can_read_or_change_is_refused(tmp_path, mode):
    certificate, key = write_pair(tmp_path)
    Path(key).chmod(mode)
    text = refused(certificate, key)
    assert f"DIVISIONS_TLS_KEY: others can read or change {key} (mode {mode:04o})" in text
    assert f"chmod 600 {key}" in text


@pytest.mark.parametrize("mode", [0o400, 0o600, 0o440, 0o640])
def test_a_key_for_its_owner_and_group_is_taken(tmp_path, mode):
    certificate, key = write_pair(tmp_path)
    Path(key).chmod(mode)
    usable_pair(certificate, key, time.time())


def test_a_certificate_out_of_its_time_is_refused_with_the_date(tmp_path):
    certificate, key = write_pair(tmp_path, begins=-3, ends=-1)
    assert f"DIVISIONS_TLS_CERT: the certificate in {certificate} has expired at 2" in refused(certificate, key)
    write_pair(tmp_path, begins=1, ends=2)
    text = refused(certificate, key)
    assert "is valid only from 2" in text
    assert "clock" in text


def test_files_that_are_not_what_their_name_says(tmp_path):
    certificate, key = write_pair(tmp_path)
    empty = tmp_path / "empty"
    empty.touch(mode=0o600)
    assert f"DIVISIONS_TLS_CERT: {empty} has no certificate" in refused(str(empty), key)
    assert f"DIVISIONS_TLS_CERT: {key} has no certificate" in refused(key, key)
    assert f"DIVISIONS_TLS_KEY: {empty} has no private key" in refused(certificate, str(empty))
    absent = tmp_path / "absent"
    assert f"DIVISIONS_TLS_CERT: {absent} cannot be read: No such file" in refused(str(absent), key)
    assert f"DIVISIONS_TLS_KEY: {tmp_path} is no file of at most 1 MiB" in refused(certificate, str(tmp_path))
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe, 0o600)
    assert f"{pipe} is no file" in refused(certificate, str(pipe))


@pytest.mark.parametrize("mode", [0o600, 0o644])
def test_the_two_files_the_other_way_round_are_told_as_that_whoever_may_read_them(tmp_path, mode):
    certificate, key = write_pair(tmp_path)
    Path(certificate).chmod(mode)
    text = refused(key, certificate)
    assert f"DIVISIONS_TLS_CERT and DIVISIONS_TLS_KEY are the other way round: {key} has the private key" in text
    assert "exchange the two paths" in text
    assert "chmod" not in text


def test_a_damaged_pair_is_refused_with_its_paths(tmp_path):
    certificate, key = write_pair(tmp_path)
    lines = Path(certificate).read_text().splitlines()
    Path(certificate).write_text("\n".join([*lines[:3], lines[-1]]))
    text = refused(certificate, key)
    assert f"the certificate in {certificate} and the key in {key} cannot be used" in text


def test_the_stamp_follows_either_file_and_the_leaf_is_the_first_certificate(tmp_path):
    certificate, key = write_pair(tmp_path)
    issuer, _ = write_pair(tmp_path, "issuer")
    first = read_pair(certificate, key)
    alone = Path(certificate).read_bytes()
    Path(certificate).write_bytes(b"a comment\n" + alone + Path(issuer).read_bytes())
    second = read_pair(certificate, key)
    assert first.stamp != second.stamp
    assert first.leaf == second.leaf == alone
    Path(key).write_bytes(Path(key).read_bytes() + b"\n")
    assert read_pair(certificate, key).stamp not in {first.stamp, second.stamp}
    examine(second)
