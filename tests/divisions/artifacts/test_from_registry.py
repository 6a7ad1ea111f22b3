"""Bundles from MLflow's artifacts: whole, right and of a fair size, or refused."""

import shutil
from pathlib import Path

import pytest

from divisions.artifacts.cache import Bundles
from divisions.artifacts.from_registry import fetch_from_registry
from divisions.bundle import MANIFEST, ONNX, read_bundle
from divisions.errors import BundleError, RegistryError
from divisions.versions import RegisteredVersion, ValidationStatus
from tests.divisions.artifacts.test_cache import make


class MemoryRegistry:
    """Keeps the files of one run."""

    def __init__(self, folder: Path) -> None:
        self.files = {path.name: path.read_bytes() for path in folder.iterdir()}
        self.dies_at = ""

    def artifact_sizes(self, run_id, folder):
        assert (run_id, folder) == ("r", "bundle")
        return {name: len(content) for name, content in self.files.items()}

    def download_artifact(self, run_id, path, folder):
        if path.endswith(self.dies_at or "never"):
            raise RegistryError("the model registry does not answer")
        (folder / path).parent.mkdir(exist_ok=True)
        (folder / path).write_bytes(self.files[path.removeprefix("bundle/")])


@pytest.fixture
def registry(tmp_path):
    return MemoryRegistry(make(tmp_path / "one")[0])


@pytest.fixture
def version(tmp_path):
    folder, sha256 = make(tmp_path / "same")
    address = Path("churn-predictor") / folder.name
    return RegisteredVersion("churn-predictor", "3.2", 2, "r", address, sha256, ValidationStatus.PASSED, {})


@pytest.fixture
def bundles(tmp_path):
    return Bundles(tmp_path / "two", limit_bytes=1_000_000)


def left(bundles):
    return sorted(path.name for path in bundles.home.rglob("*") if path.is_file() or path.name.startswith("."))


def test_it_comes_into_the_home_and_only_its_owner_can_read_it(bundles, registry, version):
    fetch_from_registry(bundles, registry, version)
    folder, _ = bundles.open(version.bundle_path, version.bundle_sha256)
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o400}
    assert left(bundles) == [MANIFEST, ONNX]


def test_it_replaces_one_that_is_damaged(bundles, registry, version):
    shutil.copytree(bundles.home.with_name("same"), bundles.home)
    (bundles.home / "bundles" / version.bundle_path / ONNX).unlink()
    fetch_from_registry(bundles, registry, version)
    read_bundle(bundles.home / "bundles" / version.bundle_path, version.bundle_sha256)
    assert left(bundles) == [MANIFEST, ONNX]


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, "the artifacts of run r have no bundle"),
        ({ONNX: b"x"}, "have no bundle"),
        ({MANIFEST: b"{}", ONNX: b"x"}, "manifest"),
        ({MANIFEST: b" " * 2_000_000}, "have 2,000,000 bytes in 1 files"),
        ({MANIFEST: b"{}"} | {f"{n}": b"" for n in range(200)}, "bytes in 201 files"),
    ],
    ids=["nothing", "no manifest", "another", "large", "many"],
)
def test_anything_else_is_refused_and_nothing_is_left(bundles, registry, version, files, message):
    registry.files = files
    with pytest.raises(BundleError, match=message):
        fetch_from_registry(bundles, registry, version)
    assert left(bundles) == []


def test_a_changed_byte_and_a_registry_that_dies_leave_nothing(bundles, registry, version):
    good = registry.files[ONNX]
    registry.files[ONNX] = good[:-1] + b"?"
    with pytest.raises(BundleError, match=r"model\.onnx was changed"):
        fetch_from_registry(bundles, registry, version)
    registry.files[ONNX], registry.dies_at = good, ONNX
    with pytest.raises(RegistryError):
        fetch_from_registry(bundles, registry, version)
    assert left(bundles) == []


def test_a_home_that_cannot_be_written_is_told(bundles, registry, version):
    bundles.home.mkdir()
    (bundles.home / "bundles").write_bytes(b"")
    with pytest.raises(BundleError, match="cannot be written"):
        fetch_from_registry(bundles, registry, version)
