"""``divisions keys``: makes a key, and shows the public part of it alone."""

import json

import pytest
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from divisions import cli
from divisions.attestation.keys import find_signing_key, parse_public_key


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("DIVISIONS_HOME", str(tmp_path))
    monkeypatch.delenv("DIVISIONS_SIGNING_KEY", raising=False)

    def call(*arguments):
        status = cli.execute(["keys", *arguments])
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return call


def test_a_key_is_made_once_and_its_public_part_printed(run, tmp_path):
    status, out, _ = run("create")
    key = find_signing_key(tmp_path)
    assert (status, out) == (0, f"{key.public}\n")
    assert parse_public_key(out.strip()) == key.public
    assert run("show") == (0, out, "")
    status, out, err = run("create")
    assert (status, out) == (1, "")
    assert "signing_key.pem exists" in err
    assert find_signing_key(tmp_path).public == key.public


def test_it_goes_elsewhere_when_told(run, tmp_path, monkeypatch):
    status, out, _ = run("create", "--to", str(tmp_path / "deep" / "k.pem"), "-o", "json")
    found = json.loads(out)
    assert status == 0
    assert found["file"] == str(tmp_path / "deep" / "k.pem")
    monkeypatch.setenv("DIVISIONS_SIGNING_KEY", found["file"])
    status, out, _ = run("show", "-o", "json")
    assert json.loads(out) == {"public_key": found["public_key"], "key_id": found["key_id"]}


def test_other_programs_get_it_as_pem(run, tmp_path):
    run("create")
    status, out, _ = run("show", "--pem")
    assert status == 0
    public = find_signing_key(tmp_path).public
    assert load_pem_public_key(out.encode()).public_bytes_raw() == public.raw


def test_without_a_key_there_is_nothing_to_show(run):
    status, out, err = run("show")
    assert (status, out) == (1, "")
    assert "there is no signing key" in err
