"""Bundles through a shared store: fetched once, checked, mended, bounded; and never lost with the store."""

import os
import shutil
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from divisions.artifacts.cache import Bundles
from divisions.artifacts.store import open_store
from divisions.bundle import (
    MANIFEST,
    ONNX,
    REFERENCE,
    Manifest,
    bundle_address,
    file_sha256,
    read_bundle,
    write_manifest,
)
from divisions.clock import ManualClock
from divisions.errors import ArtifactStoreError, BundleError, SettingsError
from divisions.mlflow_format import MLMODEL
from divisions.schema import Feature, FeatureKind, FeatureSchema
from divisions.settings import S3Settings, Settings

SCHEMA = FeatureSchema((Feature("minutes", FeatureKind.NUMERIC),))
HOUR_S = 3_600.0


@dataclass
class CountingStore:
    """A store that counts what is read, and fails when it is away."""

    inner: object
    reads: list[str] = field(default_factory=list)
    is_away: bool = False
    name: str = "the store"

    def has(self, address: str, file: str) -> bool:
        self._answer()
        return self.inner.has(address, file)

    def read(self, address: str, file: str) -> bytes | None:
        self._answer()
        self.reads.append(file)
        return self.inner.read(address, file)

    def write(self, address: str, files: Sequence[Path]) -> None:
        self._answer()
        self.inner.write(address, files)

    def _answer(self) -> None:
        if self.is_away:
            raise ArtifactStoreError("the store does not answer", remedy="check it")


def make(home: Path, model: bytes = b"graph", reference: bytes | None = None) -> tuple[Path, str]:
    draft = home / "bundles" / "churn-predictor" / "draft"
    draft.mkdir(parents=True)
    (draft / ONNX).write_bytes(model)
    if reference is not None:
        (draft / REFERENCE).write_bytes(reference)
    hashes = {path.name: file_sha256(path) for path in draft.iterdir()}
    manifest = Manifest("churn-predictor", "p", "r", "2025-01-14", SCHEMA, {}, hashes)
    sha256 = write_manifest(draft, manifest)
    return draft.rename(home / "bundles" / bundle_address("churn-predictor", sha256)), sha256


@pytest.fixture
def store(tmp_path):
    return CountingStore(open_store(str(tmp_path / "shared"), S3Settings()))


@pytest.fixture
def published(tmp_path, store):
    """The address and SHA-256 of a bundle that one machine has published."""
    folder, sha256 = make(tmp_path / "one")
    Bundles(tmp_path / "one", store).publish(folder, sha256)
    return bundle_address("churn-predictor", sha256), sha256


def test_another_machine_fetches_a_bundle_once(tmp_path, store, published):
    bundles = Bundles(tmp_path / "two", store)
    folder, manifest = bundles.open(*published)
    assert folder == tmp_path / "two" / "bundles" / published[0]
    assert manifest == read_bundle(folder, published[1])
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o400}
    store.reads.clear()
    assert bundles.open(*published) == (folder, manifest)
    assert store.reads == []


def test_a_record_of_another_machines_path_is_fetched_by_its_address(tmp_path, store, published):
    folder, _ = Bundles(tmp_path / "two", store).open(f"/gone/bundles/{published[0]}", published[1])
    assert folder == tmp_path / "two" / "bundles" / published[0]


def test_a_bundle_is_published_once_and_without_a_store_never(tmp_path, store, published):
    folder = tmp_path / "one" / "bundles" / published[0]
    stamps = {path: path.stat().st_mtime_ns for path in (tmp_path / "shared").rglob("*") if path.is_file()}
    assert len(stamps) == 2
    Bundles(tmp_path / "one", store).publish(folder, published[1])
    assert {path: path.stat().st_mtime_ns for path in stamps} == stamps
    Bundles(tmp_path / "one").publish(folder, published[1])


def test_a_half_published_bundle_is_completed(tmp_path, store, published):
    (tmp_path / "shared" / published[0] / MANIFEST).unlink()
    with pytest.raises(BundleError, match=r"and the store has no bundle churn-predictor/"):
        Bundles(tmp_path / "two", store).open(*published)
    Bundles(tmp_path / "one", store).publish(tmp_path / "one" / "bundles" / published[0], published[1])
    Bundles(tmp_path / "two", store).open(*published)


@pytest.mark.parametrize("damage", ["changed", "short", "missing", "added", "no manifest"])
def test_a_damaged_bundle_of_the_cache_is_fetched_anew(tmp_path, store, published, damage):
    bundles = Bundles(tmp_path / "two", store)
    folder, manifest = bundles.open(*published)
    (folder / ONNX).chmod(0o600)
    match damage:
        case "changed":
            (folder / ONNX).write_bytes(b"grapH")
        case "short":
            (folder / ONNX).write_bytes(b"grap")
        case "missing":
            (folder / ONNX).unlink()
        case "added":
            (folder / "more").write_bytes(b"")
        case "no manifest":
            (folder / MANIFEST).unlink()
    assert bundles.open(*published) == (folder, manifest)
    assert (folder / ONNX).read_bytes() == b"graph"
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]


def test_what_a_killed_fetch_left_is_removed(tmp_path, store, published):
    left = tmp_path / "two" / "bundles" / "churn-predictor" / f".fetch-{published[1][:16]}" / "draft"
    left.mkdir(parents=True)
    (left / ONNX).write_bytes(b"gr")
    folder, _ = Bundles(tmp_path / "two", store).open(*published)
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]


@pytest.mark.parametrize("name", [ONNX, MANIFEST])
def test_each_changed_byte_of_the_store_is_refused(tmp_path, store, published, name):
    path = tmp_path / "shared" / published[0] / name
    content = path.read_bytes()
    for position in range(0, len(content), 7):
        changed = bytearray(content)
        changed[position] ^= 1 << (position % 8)
        path.write_bytes(changed)
        with pytest.raises(BundleError):
            Bundles(tmp_path / "two", store).open(*published)
    assert not (tmp_path / "two" / "bundles" / published[0]).exists()
    path.write_bytes(content)
    Bundles(tmp_path / "two", store).open(*published)


def test_a_store_that_is_away_stops_only_who_lacks_the_bundle(tmp_path, store, published):
    bundles = Bundles(tmp_path / "two", store)
    bundles.open(*published)
    store.is_away = True
    bundles.open(*published)
    with pytest.raises(BundleError, match=r"there is no bundle .* and the store does not answer"):
        Bundles(tmp_path / "three", store).open(*published)
    folder, sha256 = make(tmp_path / "four", b"new")
    with pytest.raises(ArtifactStoreError):
        Bundles(tmp_path / "four", store).publish(folder, sha256)


def test_the_least_recently_opened_bundles_go_if_the_store_has_them(tmp_path, store):
    home, clock = tmp_path / "two", ManualClock(wall_s=10 * HOUR_S)
    made = [make(home, bytes([65 + number]) * 1_000_000) for number in range(4)]
    bundles = Bundles(home, store, limit_bytes=3_300_000, clock=clock)
    for folder, sha256 in made[1:]:
        bundles.publish(folder, sha256)
    for number, (folder, _) in enumerate(made):
        os.utime(folder, (number * HOUR_S, number * HOUR_S))
    bundles.open(*made[3])
    assert made[3][0].stat().st_mtime > 3 * HOUR_S, "it was opened just now"
    assert [folder.exists() for folder, _ in made] == [True, False, True, True], "only this machine has the first"


@pytest.mark.parametrize(("age_s", "is_kept"), [(HOUR_S - 1, True), (HOUR_S, False)])
def test_a_bundle_that_was_opened_within_the_hour_is_not_removed(tmp_path, store, age_s, is_kept):
    folder, sha256 = make(tmp_path / "two")
    bundles = Bundles(tmp_path / "two", store, limit_bytes=1, clock=ManualClock(wall_s=100 * HOUR_S))
    bundles.publish(folder, sha256)
    other = make(tmp_path / "two", b"other")
    opened_s = 100 * HOUR_S - age_s
    os.utime(folder, (opened_s, opened_s))
    bundles.open(*other)
    assert folder.exists() is is_kept


def test_a_reference_is_fetched_alone_and_checked(tmp_path, store):
    folder, sha256 = make(tmp_path / "one", reference=b"[1]")
    bundles = Bundles(tmp_path / "one", store)
    address = bundle_address("churn-predictor", sha256)
    with pytest.raises(BundleError, match="the store has no bundle churn-predictor/"):
        bundles.fetch_reference(address, sha256)
    bundles.publish(folder, sha256)
    store.reads.clear()
    assert bundles.fetch_reference(address, sha256) == b"[1]"
    assert store.reads == [MANIFEST, REFERENCE]
    with pytest.raises(BundleError, match="the store has another bundle churn-predictor/"):
        bundles.fetch_reference(address, "0" * 64)
    for damage in (lambda path: path.write_bytes(b"[2]"), lambda path: path.unlink()):
        damage(tmp_path / "shared" / address / REFERENCE)
        with pytest.raises(BundleError, match=r"reference\.json of bundle churn-predictor/.* is damaged"):
            bundles.fetch_reference(address, sha256)
    assert Bundles(tmp_path / "one").fetch_reference(address, sha256) == b""


def test_a_bundle_may_have_no_reference(store, tmp_path, published):
    assert Bundles(tmp_path / "two", store).fetch_reference(*published) == b""


@pytest.mark.parametrize("name", ["..", "a/b", "/etc/passwd"])
def test_a_manifest_that_names_a_file_elsewhere_is_refused(store, tmp_path, published, name):
    path = tmp_path / "shared" / published[0] / MANIFEST
    path.write_bytes(path.read_bytes().replace(ONNX.encode(), name.encode()))
    with pytest.raises(BundleError, match=f"names a file {name!r}"):
        Bundles(tmp_path / "two", store).open(published[0], file_sha256(path))


def test_a_bundle_of_which_the_store_lacks_a_file_is_told(store, tmp_path, published):
    (tmp_path / "shared" / published[0] / ONNX).unlink()
    with pytest.raises(BundleError, match=f"the store lacks {ONNX} of bundle {published[0]}.*restore the bundle there"):
        Bundles(tmp_path / "two", store).open(*published)


def test_the_limit_is_that_of_the_settings(tmp_path):
    assert Bundles(tmp_path).limit_bytes == Bundles.of(Settings(home=tmp_path)).limit_bytes


def test_a_bundle_that_was_just_opened_is_not_removed(tmp_path, store):
    home = tmp_path / "two"
    made = [make(home, bytes([65 + number]) * 1_000_000) for number in range(2)]
    now_s = made[0][0].stat().st_mtime
    bundles = Bundles(home, store, limit_bytes=1, clock=ManualClock(wall_s=now_s + HOUR_S - 60))
    for folder, sha256 in made:
        bundles.publish(folder, sha256)
    for one in made:
        bundles.open(*one)
    assert [folder.exists() for folder, _ in made] == [True, True]


def test_without_a_store_nothing_is_ever_removed(tmp_path):
    folder, sha256 = make(tmp_path)
    os.utime(folder, (0, 0))
    Bundles(tmp_path, limit_bytes=1).open(folder, sha256)
    assert folder.exists()
    shutil.rmtree(folder)
    with pytest.raises(BundleError, match=r"there is no bundle .*restore the folder"):
        Bundles(tmp_path).open(folder, sha256)


def test_replicas_that_start_together_fetch_a_bundle_once(tmp_path, store, published):
    with ThreadPoolExecutor(4) as pool:
        opened = pool.map(lambda _: Bundles(tmp_path / "two", store).open(*published), range(4))
        assert len({folder for folder, _ in opened}) == 1
    assert sorted(store.reads[-2:]) == sorted([ONNX, MANIFEST])
    assert store.reads.count(ONNX) == 1


@pytest.mark.parametrize("text", ["here", "http://host/x", "s3://", "s3://key:secret@bucket/x", "./x"])
def test_a_setting_that_names_no_store_is_refused_without_its_secret(text):
    with pytest.raises(
        SettingsError, match="DIVISIONS_ARTIFACTS must be s3://bucket/prefix, oci://registry/path or an absolute"
    ):
        open_store(text, S3Settings())


def test_the_settings_choose_store_and_limit(tmp_path):
    assert Bundles.of(Settings(home=tmp_path)).store is None
    bundles = Bundles.of(Settings(home=tmp_path, artifacts="s3://models/churn/", artifact_cache_mb=5))
    assert (bundles.store.name, bundles.store.root, bundles.limit_bytes) == (
        "s3://models/churn/",
        "models/churn",
        5_000_000,
    )
    with pytest.raises(SettingsError, match="is not a URL"):
        Bundles.of(Settings(home=tmp_path, artifacts="s3://models/churn", s3=S3Settings(endpoint_url="host:1")))


def test_a_file_that_is_too_large_is_refused_before_it_is_read(tmp_path, published):
    settings = Settings(home=tmp_path / "two", artifacts=str(tmp_path / "shared"), artifact_cache_mb=1)
    for name in (ONNX, MANIFEST):
        path = tmp_path / "shared" / published[0] / name
        good = path.read_bytes()
        with path.open("r+b") as file:
            file.truncate(1_000_000_000_000)  # a hole: no disk is taken, but memory would be
        with pytest.raises(BundleError, match=rf"{name} of .* has 1,000,000,000,000 bytes, over the 1,000,000"):
            Bundles.of(settings).open(*published)
        path.write_bytes(good)
    Bundles.of(settings).open(*published)


def test_mlflow_loads_a_bundle_from_the_store_and_machines_take_only_the_bundle(tmp_path, store):
    folder, sha256 = make(tmp_path / "one")
    Bundles(tmp_path / "one", store.inner).publish(folder, sha256)
    address = bundle_address("churn-predictor", sha256)
    assert b"loader_module: mlflow.onnx" in store.inner.read(address, MLMODEL)
    fetched, _ = Bundles(tmp_path / "two", store.inner).open(address, sha256)
    assert {path.name for path in fetched.iterdir()} == {path.name for path in folder.iterdir()}


def test_what_is_damaged_in_the_store_is_mended_by_whoever_makes_the_same_bundle(tmp_path, store, published):
    address, sha256 = published
    damaged = Path(store.inner.path(address, ONNX))
    content = damaged.read_bytes()
    damaged.write_bytes(b"evil")
    bundles = Bundles(tmp_path / "one", store)
    folder = tmp_path / "one" / "bundles" / address
    bundles.publish(folder, sha256)
    assert damaged.read_bytes() == b"evil", "a look at the manifest is enough for whoever only has the bundle"
    bundles.publish(folder, sha256, is_mended=True)
    assert damaged.read_bytes() == content
