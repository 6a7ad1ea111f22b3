import hashlib
import shutil
import stat

import msgspec
import pytest

from divisions.bundle import (
    MANIFEST,
    ONNX,
    REFERENCE,
    Decision,
    Manifest,
    file_sha256,
    read_bundle,
    write_manifest,
)
from divisions.errors import BundleError
from divisions.schema import Feature, FeatureKind, FeatureSchema

CONTENTS = {ONNX: b"graph" * 20, REFERENCE: b'{"bins": []}', "report.json": b"{}"}


@pytest.fixture
def bundle(tmp_path):
    folder = tmp_path / "bundle"
    folder.mkdir()
    for name, content in CONTENTS.items():
        (folder / name).write_bytes(content)
    manifest = Manifest(
        model="churn-predictor",
        pipeline="customer-churn-v3",
        run_id="r-1",
        created_at="2025-01-14T08:32:00Z",
        schema=FeatureSchema((Feature("state", FeatureKind.CATEGORICAL, ("KS", "ö")),)),
        metrics={"auc": 0.91},
        files={name: file_sha256(folder / name) for name in CONTENTS},
    )
    return folder, manifest, write_manifest(folder, manifest)


def test_a_bundle_reads_as_it_was_written_and_is_named_by_its_manifests_hash(bundle):
    folder, manifest, sha256 = bundle
    assert read_bundle(folder, sha256) == manifest
    assert sha256 == hashlib.sha256((folder / MANIFEST).read_bytes()).hexdigest()


def test_a_manifest_of_an_earlier_release_keeps_its_bytes_and_decides_nothing(bundle):
    _, manifest, sha256 = bundle
    assert b"decision" not in manifest.to_json()
    assert manifest.decision_threshold is None
    decided = msgspec.structs.replace(manifest, decision=Decision("max_f1", 0.25))
    again = msgspec.json.decode(decided.to_json(), type=Manifest)
    assert (again, again.decision_threshold) == (decided, 0.25)
    assert decided.sha256 != sha256


def test_a_bundles_files_are_read_only_and_only_for_their_owner(bundle):
    folder, _, _ = bundle
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o400}


@pytest.mark.parametrize("name", [*CONTENTS, MANIFEST])
def test_one_changed_byte_anywhere_is_refused(bundle, name):
    folder, _, sha256 = bundle
    path = folder / name
    path.chmod(0o644)
    content = path.read_bytes()
    for position in range(len(content)):
        changed = bytearray(content)
        changed[position] ^= 1 << (position % 8)
        path.write_bytes(bytes(changed))
        with pytest.raises(BundleError):
            read_bundle(folder, sha256)
    path.write_bytes(content)
    read_bundle(folder, sha256)


def test_a_byte_more_or_less_is_refused(bundle):
    folder, _, sha256 = bundle
    for name in (*CONTENTS, MANIFEST):
        path = folder / name
        path.chmod(0o644)
        content = path.read_bytes()
        for other in (content + b" ", content[:-1], b""):
            path.write_bytes(other)
            with pytest.raises(BundleError):
                read_bundle(folder, sha256)
        path.write_bytes(content)


def test_a_missing_or_added_file_is_named(bundle):
    folder, _, sha256 = bundle
    (folder / "extra.bin").write_bytes(b"")
    with pytest.raises(BundleError, match=r"extra\.bin"):
        read_bundle(folder, sha256)
    (folder / "extra.bin").unlink()
    (folder / ONNX).unlink()
    with pytest.raises(BundleError, match=r"model\.onnx"):
        read_bundle(folder, sha256)


def test_a_folder_or_link_in_place_of_a_file_is_refused(bundle, tmp_path):
    folder, _, sha256 = bundle
    (folder / ONNX).unlink()
    (folder / ONNX).mkdir()
    with pytest.raises(BundleError):
        read_bundle(folder, sha256)
    (folder / ONNX).rmdir()
    (folder / ONNX).symlink_to(tmp_path / "nowhere")
    with pytest.raises(BundleError):
        read_bundle(folder, sha256)


def test_no_bundle_at_all_is_a_bundle_error(bundle, tmp_path):
    with pytest.raises(BundleError, match="there is no bundle"):
        read_bundle(tmp_path / "absent")
    folder, _, sha256 = bundle
    shutil.rmtree(folder)
    with pytest.raises(BundleError):
        read_bundle(folder, sha256)


def test_a_manifest_with_unknown_fields_is_refused(tmp_path):
    (tmp_path / MANIFEST).write_bytes(b'{"model": "m", "pickle": "x"}')
    with pytest.raises(BundleError, match="damaged manifest"):
        read_bundle(tmp_path)
