"""A version as a layer of an image: the same bytes each time, readable by any user, and whole when it is taken out."""

import gzip
import hashlib
import os
import stat
import tarfile
from pathlib import Path

import msgspec
import pytest

from divisions.artifacts.cache import Bundles
from divisions.artifacts.release_folder import (
    ReleaseFile,
    ReleaseStore,
    pipeline_of,
    read_release,
    remember_release,
    require_same,
    served_releases,
    write_layer,
)
from divisions.artifacts.signing import statements_of
from divisions.attestation.facts import BundleFacts
from divisions.attestation.keys import new_signing_key
from divisions.bundle import MANIFEST, ONNX, read_bundle
from divisions.errors import ArtifactStoreError, BundleError, ConflictError
from tests.divisions.artifacts.test_cache import make

PIPELINE = b"pipeline: p\n"
KEY = new_signing_key()


@pytest.fixture
def layer(tmp_path) -> tuple[Path, ReleaseFile, str]:
    folder, sha256 = make(tmp_path / "made")
    release = ReleaseFile("churn-predictor", "3.2", sha256, "run-1")
    target = tmp_path / "layer.tar.gz"
    return target, release, write_layer(folder, release, PIPELINE, target)


def unpacked(layer: Path, folder: Path) -> Path:
    """The folder of the release, as a container has it; without what tells a tool of images about lower layers."""
    with tarfile.open(layer) as tar:
        tar.extractall(folder, filter="tar")
    for mark in folder.rglob(".wh*"):
        mark.unlink()
    return folder / "opt" / "ml"


def test_the_layer_holds_the_bundle_and_how_it_is_served(layer, tmp_path):
    target, release, _ = layer
    folder = unpacked(target, tmp_path / "root")
    assert read_release(folder) == release
    assert pipeline_of(folder).read_bytes() == PIPELINE
    assert read_bundle(folder / "model", release.bundle_sha256).model == "churn-predictor"


def test_folders_come_before_what_is_in_them_and_hide_what_lower_layers_have(layer):
    with tarfile.open(layer[0]) as tar:
        members = tar.getmembers()
    names = [member.name for member in members]
    for name in names:
        parent = name.rpartition("/")[0]
        assert not parent or names.index(parent) < names.index(name)
    for folder in ("model", "release"):
        first = next(name for name in names if name.startswith(f"opt/ml/{folder}/"))
        assert first == f"opt/ml/{folder}/.wh..wh..opq"


def test_any_user_can_read_it_and_nobody_can_write_it(layer):
    with tarfile.open(layer[0]) as tar:
        for member in tar:
            assert (member.uid, member.gid, member.uname, member.mtime) == (0, 0, "", 0)
            assert member.mode == (0o755 if member.isdir() else 0o444), member.name


def test_the_same_version_gives_the_same_bytes_whatever_the_files_are_like(layer, tmp_path):
    target, release, tar_sha256 = layer
    folder, _ = make(tmp_path / "again")
    for path in folder.iterdir():
        path.chmod(0o644)
        os.utime(path, (1, 1))
    assert write_layer(folder, release, PIPELINE, tmp_path / "again.tar.gz") == tar_sha256
    assert (tmp_path / "again.tar.gz").read_bytes() == target.read_bytes()
    assert hashlib.sha256(gzip.decompress(target.read_bytes())).hexdigest() == tar_sha256


def test_a_damaged_bundle_becomes_no_layer(tmp_path):
    folder, sha256 = make(tmp_path / "made")
    (folder / ONNX).chmod(0o600)
    (folder / ONNX).write_bytes(b"other")
    with pytest.raises(BundleError, match="was changed after it was written"):
        write_layer(folder, ReleaseFile("churn-predictor", "3.2", sha256), PIPELINE, tmp_path / "layer")
    assert not (tmp_path / "layer").exists()


def test_a_container_s_home_gets_the_bundle_once_and_checked(layer, tmp_path):
    target, release, _ = layer
    folder = unpacked(target, tmp_path / "root")
    bundles = Bundles(tmp_path / "home", ReleaseStore(folder, release))
    place, manifest = bundles.open(release.address, release.bundle_sha256)
    assert place == tmp_path / "home" / "bundles" / release.address
    assert set(manifest.files) | {MANIFEST} == {path.name for path in place.iterdir()}
    assert stat.S_IMODE((place / ONNX).stat().st_mode) == 0o400
    (folder / "model" / ONNX).unlink()
    bundles.open(release.address, release.bundle_sha256)


def test_an_image_whose_bundle_was_changed_is_refused(layer, tmp_path):
    target, release, _ = layer
    folder = unpacked(target, tmp_path / "root")
    (folder / "model" / ONNX).chmod(0o600)
    (folder / "model" / ONNX).write_bytes(b"other")
    with pytest.raises(BundleError, match="was changed after it was written"):
        Bundles(tmp_path / "home", ReleaseStore(folder, release)).open(release.address, release.bundle_sha256)
    assert not list((tmp_path / "home").rglob(ONNX))


def test_the_folder_has_one_bundle_and_takes_no_other(layer, tmp_path):
    target, release, _ = layer
    store = ReleaseStore(unpacked(target, tmp_path / "root"), release)
    assert store.has(release.address, ONNX)
    assert not store.has("churn-predictor/0123456789abcdef", ONNX)
    assert (store.has(release.address, "absent"), store.read(release.address, "absent")) == (False, None)
    with pytest.raises(ArtifactStoreError, match="is a part of an image"):
        store.write(release.address, [])
    assert store.read_attestations(release.address, "provenance", KEY.public) == []
    with pytest.raises(ArtifactStoreError, match="is a part of an image"):
        store.write_attestation(release.address, "provenance", b"{}", KEY)


def test_signed_statements_come_with_the_image_and_are_enough_where_their_key_is_trusted(tmp_path):
    folder, sha256 = make(tmp_path / "made")
    release = ReleaseFile("churn-predictor", "3.2", sha256)
    sealed = statements_of(BundleFacts(read_bundle(folder))).sealed(KEY)
    write_layer(folder, release, PIPELINE, tmp_path / "layer", sealed)
    store = ReleaseStore(unpacked(tmp_path / "layer", tmp_path / "root"), release)
    for name, content in sealed.items():
        assert store.read_attestations(release.address, name, KEY.public) == [content]
        assert store.read_attestations("churn-predictor/0123456789abcdef", name, KEY.public) == []
    Bundles(tmp_path / "home", store, trusted=(KEY.public,)).open(release.address, sha256)
    Bundles(tmp_path / "home", trusted=(KEY.public,)).open(release.address, sha256)  # the home has kept it
    with pytest.raises(BundleError, match="signed by a trusted key"):
        Bundles(tmp_path / "home", store, trusted=(new_signing_key().public,)).open(release.address, sha256)


@pytest.mark.parametrize("content", [None, b"", b"{}", b"\xff", b"[]"])
def test_a_folder_without_a_release_is_told(tmp_path, content):
    (tmp_path / "release").mkdir()
    if content is not None:
        (tmp_path / "release" / "release.json").write_bytes(content)
    with pytest.raises(BundleError, match=r"models package --image|package the version again"):
        read_release(tmp_path)


def test_a_release_of_a_later_form_is_refused(tmp_path):
    (tmp_path / "release").mkdir()
    later = msgspec.to_builtins(ReleaseFile("m", "1.1", "0" * 64)) | {"more": 1}
    (tmp_path / "release" / "release.json").write_bytes(msgspec.json.encode(later))
    with pytest.raises(BundleError, match="is damaged"):
        read_release(tmp_path)


def release(version: str, digit: str) -> ReleaseFile:
    return ReleaseFile("churn-predictor", version, digit * 64)


def test_a_home_remembers_what_came_from_images_each_once(tmp_path):
    assert served_releases(tmp_path) == []
    for each in (release("3.1", "a"), release("3.2", "b"), release("3.1", "a")):
        remember_release(tmp_path, each)
    assert served_releases(tmp_path) == [release("3.2", "b"), release("3.1", "a")]
    (tmp_path / "image_releases.json").chmod(0o600)
    (tmp_path / "image_releases.json").write_bytes(b"damaged")
    assert served_releases(tmp_path) == []


def test_another_bundle_under_a_known_version_is_refused():
    known = [release("3.1", "a"), release("3.2", "b")]
    require_same(known, release("3.2", "b"))
    require_same(known, release("3.3", "c"))
    with pytest.raises(ConflictError, match=r"3\.1 is churn-predictor/c{16} in this image, but churn-predictor/a{16}"):
        require_same(known, release("3.1", "c"))
