"""A version as files: the same bytes on every machine, whoever writes them there."""

import json
import multiprocessing
import os
import tempfile
import time
from pathlib import Path

import pytest

from divisions.artifacts.packages import write_package
from divisions.artifacts.signing import statements_of
from divisions.attestation.envelope import open_envelope
from divisions.attestation.facts import BundleFacts
from divisions.attestation.keys import new_signing_key
from divisions.bundle import read_bundle
from divisions.errors import BundleError
from divisions.versions import RegisteredVersion, ValidationStatus
from tests.divisions.artifacts.test_cache import make

KEY = new_signing_key()
NOBODY = 65_534


def version(sha256: str) -> RegisteredVersion:
    return RegisteredVersion("churn-predictor", "3.2", 2, "r", Path("m/0"), sha256, ValidationStatus.PASSED, {})


def write(bundle, sha256, folder, key=KEY):
    statements = statements_of(BundleFacts(read_bundle(bundle, sha256), {"packages": "torch==2.8.0"}))
    return write_package(bundle, statements, version(sha256), folder, key)


def content(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_the_tar_has_its_statements_beside_it(tmp_path):
    bundle, sha256 = make(tmp_path / "home")
    (tmp_path / "out").mkdir()
    package = write(bundle, sha256, tmp_path / "out")
    found = content(tmp_path / "out")
    assert {package.tar, *package.beside} == set((tmp_path / "out").iterdir())
    assert sorted(found) == [
        "churn-predictor-v3.2.cdx.json",
        "churn-predictor-v3.2.intoto.jsonl",
        "churn-predictor-v3.2.provenance.json",
        "churn-predictor-v3.2.tar.gz",
    ]
    assert json.loads(found["churn-predictor-v3.2.cdx.json"])["bomFormat"] == "CycloneDX"
    signed = [open_envelope(each, (KEY.public,), "it") for each in found["churn-predictor-v3.2.intoto.jsonl"].split()]
    assert found["churn-predictor-v3.2.provenance.json"] in signed
    assert {json.loads(each)["subject"][0]["digest"]["sha256"] for each in signed} == {sha256}


def test_without_a_key_nothing_is_signed(tmp_path):
    bundle, sha256 = make(tmp_path / "home")
    (tmp_path / "out").mkdir()
    write(bundle, sha256, tmp_path / "out", None)
    assert not list((tmp_path / "out").glob("*.jsonl"))
    assert len(list((tmp_path / "out").iterdir())) == 3


def test_two_machines_write_the_same_bytes(tmp_path):
    """Another umask, zone, language, time of the files and user."""
    folders = []
    for name in ("one", "two"):
        bundle, sha256 = make(tmp_path / name)
        out = tmp_path / f"{name}-out"
        out.mkdir()
        out.chmod(0o777)
        folders.append((bundle, sha256, out))
    reached = [each for each in tmp_path.parents if Path(tempfile.gettempdir()) in each.parents]
    for path in (*reached, tmp_path, *(each for each in tmp_path.rglob("*") if each.is_dir())):
        path.chmod(0o777)

    def elsewhere(bundle, sha256, out):
        for path in bundle.iterdir():
            path.chmod(0o444)
            os.utime(path, (1, 1))
        os.environ.update(TZ="Asia/Kathmandu", LC_ALL="tr_TR.UTF-8", LANG="tr_TR.UTF-8")
        time.tzset()
        os.umask(0)
        if os.getuid() == 0:
            os.setgid(NOBODY)
            os.setuid(NOBODY)
        write(bundle, sha256, out)

    write(*folders[0])
    child = multiprocessing.get_context("fork").Process(target=elsewhere, args=folders[1])
    child.start()
    child.join()
    assert child.exitcode == 0
    assert content(folders[0][2]) == content(folders[1][2])


def test_a_place_that_cannot_be_written_is_told(tmp_path):
    bundle, sha256 = make(tmp_path / "home")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "churn-predictor-v3.2.cdx.json").mkdir()
    with pytest.raises(BundleError, match=r"cdx\.json cannot be written: Is a directory"):
        write(bundle, sha256, tmp_path / "out")
    assert not list((tmp_path / "out").glob(".*"))
