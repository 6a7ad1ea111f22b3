import math
from dataclasses import replace

import pytest

from divisions.bundle import read_bundle
from divisions.errors import BundleError
from tests.trainers.churn import SCHEMA
from trainers.export.bundle_writer import BundleIdentity, write_bundle

IDENTITY = BundleIdentity("churn-predictor", "customer-churn-v3", "torch")
CONTENTS = {"model.onnx": b"graph", "reference.json": b"{}"}


def write(folder, identity=IDENTITY, contents=CONTENTS, metrics=None):
    return write_bundle(folder, identity, SCHEMA, metrics or {"auc": 0.9}, contents)


def test_a_bundle_lies_under_its_hash_and_reads_back(tmp_path):
    bundle = write(tmp_path)
    assert bundle.path == tmp_path / "churn-predictor" / bundle.sha256[:16]
    assert read_bundle(bundle.path, bundle.sha256) == bundle.manifest
    assert bundle.manifest.metrics == {"auc": 0.9}


def test_writing_again_changes_nothing(tmp_path):
    first = write(tmp_path)
    before = {path: path.stat().st_mtime_ns for path in first.path.iterdir()}
    assert write(tmp_path) == first
    assert {path: path.stat().st_mtime_ns for path in first.path.iterdir()} == before


def test_each_difference_gives_another_bundle(tmp_path):
    bundles = [
        write(tmp_path),
        write(tmp_path, replace(IDENTITY, pipeline="another")),
        write(tmp_path, contents={**CONTENTS, "model.onnx": b"other"}),
        write(tmp_path, metrics={"auc": 0.8}),
    ]
    assert len({bundle.sha256 for bundle in bundles}) == 4


@pytest.mark.parametrize("damage", [lambda path: path.write_bytes(b"evil!"), lambda path: path.unlink()])
def test_a_bundle_that_was_damaged_is_written_anew_and_that_is_told(tmp_path, damage):
    first = write(tmp_path)
    assert first.mended == ""
    model = first.path / "model.onnx"
    model.chmod(0o644)
    damage(model)
    again = write(tmp_path)
    assert "model.onnx" in again.mended
    assert replace(again, mended="") == first
    assert read_bundle(first.path, first.sha256) == first.manifest
    assert [path.name for path in first.path.parent.iterdir()] == [first.path.name]
    assert write(tmp_path).mended == ""


def test_a_metric_that_is_not_a_number_is_left_out(tmp_path):
    assert write(tmp_path, metrics={"auc": math.nan, "f1": 0.5}).manifest.metrics == {"f1": 0.5}


def test_a_failure_leaves_no_draft(tmp_path):
    with pytest.raises(BundleError, match="cannot be written"):
        write(tmp_path, contents={"no/such/folder": b""})
    assert list((tmp_path / "churn-predictor").iterdir()) == []
