"""Old versions go with their bundles: on real files and a real store, a registry in memory, and once on MLflow."""

import shutil
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from deploy import retention as module
from deploy.retention import planned, prune
from deploy.shipping.deployments import DeploymentJournal
from deploy.shipping.release import Release
from divisions.artifacts.cache import Bundles
from divisions.artifacts.claims import using_bundles
from divisions.artifacts.store import FileSystemStore
from divisions.bundle import bundle_address, read_bundle
from divisions.clock import ManualClock
from divisions.control import VersionSpec
from divisions.errors import ArtifactStoreError, ClusterError
from divisions.registry import Registry
from divisions.retention import Retention
from divisions.schema import FeatureSchema
from divisions.settings import Settings
from divisions.versions import RegisteredVersion, ValidationStatus
from router.journal.journal import Journal
from router.journal.sqlite import SqliteDatabase
from tests.trainers.churn import SCHEMA
from trainers.export.bundle_writer import BundleIdentity, write_bundle

MODEL = "churn-predictor"
KEEP_ONE = Retention(keep=1)
CLOCK = ManualClock(wall_s=1_800_000_000.0)


class MemoryRegistry:
    def __init__(self, settings):
        self.settings = settings
        self.versions = {}

    def add(self, content):
        """A version whose bundle has this content; the same content gives the same bundle."""
        identity = BundleIdentity(MODEL, "churn", "torch")
        bundle = write_bundle(self.settings.home / "bundles", identity, SCHEMA, {}, {"model.bin": content})
        Bundles.of(self.settings).publish(bundle.path, bundle.sha256)
        number = len(self.versions) + 1
        self.versions[number] = RegisteredVersion(
            MODEL, f"3.{number}", number, f"r{number}", Path(bundle_address(MODEL, bundle.sha256)), bundle.sha256,
            ValidationStatus.PASSED, {},
        )  # fmt: skip
        return self.versions[number]

    def list_versions(self, model=None):
        return list(self.versions.values())

    def remove(self, version):
        del self.versions[version.registry_version]


@pytest.fixture
def registry(tmp_path):
    return MemoryRegistry(Settings(home=tmp_path / "home", artifacts=str(tmp_path / "store")))


def places(registry, version):
    """Where the version's bundle is: on this machine, and in the store."""
    homes = (registry.settings.home / "bundles", Path(registry.settings.artifacts))
    return [(home / version.bundle_path / "manifest.json").exists() for home in homes]


def test_a_bundle_goes_with_the_last_version_that_has_it(registry):
    old, twin, used_twin, newest = (registry.add(content) for content in (b"a", b"a", b"b", b"b"))
    assert old.bundle_sha256 == twin.bundle_sha256
    told = []
    done = prune(registry.settings, registry, KEEP_ONE, CLOCK, told.append)
    assert list(done.removed) == told == [old, twin, used_twin]
    assert registry.list_versions() == [newest]
    assert places(registry, old) == [False, False]
    assert places(registry, newest) == [True, True], "3.4 has the bundle of 3.3"
    assert not (Path(registry.settings.artifacts) / old.bundle_path).exists()
    assert read_bundle(registry.settings.home / "bundles" / newest.bundle_path, newest.bundle_sha256)
    assert prune(registry.settings, registry, KEEP_ONE, CLOCK).removed == ()


def test_a_dry_run_changes_nothing(registry):
    old, newest = registry.add(b"a"), registry.add(b"b")
    assert planned(registry.settings, registry, KEEP_ONE, CLOCK).removed == (old,)
    assert registry.list_versions() == [old, newest]
    assert places(registry, old) == [True, True]


def test_what_the_journal_or_a_deployment_names_stays(registry):
    old, served, shipped, newest = (registry.add(content) for content in (b"a", b"b", b"c", b"d"))
    home = registry.settings.home
    journal = Journal(SqliteDatabase(home / "journal.db", is_synchronous=False))
    address = str(served.bundle_path)
    journal.save_version("churn", VersionSpec(MODEL, served.version, address, served.bundle_sha256, FeatureSchema(())))
    journal.close()
    release = Release(MODEL, shipped.version, "churn", str(shipped.bundle_path), shipped.bundle_sha256, "churn", "0")
    DeploymentJournal(home, CLOCK).begin("sagemaker", release, "me")
    assert prune(registry.settings, registry, KEEP_ONE, CLOCK).removed == (old,)
    assert registry.list_versions() == [served, shipped, newest]


def test_nothing_goes_while_nobody_knows_what_is_in_use(registry):
    old, newest = registry.add(b"a"), registry.add(b"b")
    (registry.settings.home / "journal.db").write_bytes(b"damaged")
    with pytest.raises(ClusterError, match="nobody knows what is in use"):
        prune(registry.settings, registry, KEEP_ONE, CLOCK)
    assert registry.list_versions() == [old, newest]
    assert places(registry, old) == [True, True]


class Killed(BaseException):
    pass


@pytest.mark.parametrize("is_done", [False, True])
@pytest.mark.parametrize(
    ("owner", "name"),
    [(FileSystemStore, "remove"), (Bundles, "remove"), (shutil, "rmtree"), (MemoryRegistry, "remove")],
)
def test_a_prune_that_is_killed_is_finished_by_the_next(registry, monkeypatch, owner, name, is_done):
    """Before and after each step. Until the version is gone it is listed, so the next call finds it again."""
    old, newest = registry.add(b"a"), registry.add(b"b")
    original = getattr(owner, name)

    def kill(*arguments, **options):
        if is_done:
            original(*arguments, **options)
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(owner, name, kill)
        with pytest.raises(Killed):
            prune(registry.settings, registry, KEEP_ONE, CLOCK)
    assert newest in registry.list_versions()
    prune(registry.settings, registry, KEEP_ONE, CLOCK)
    assert registry.list_versions() == [newest]
    assert places(registry, old) == [False, False]
    assert places(registry, newest) == [True, True]


def test_a_store_that_refuses_keeps_its_version_and_the_others_go(registry, monkeypatch):
    stuck, old, newest = (registry.add(content) for content in (b"a", b"b", b"c"))
    remove = Bundles.remove

    def refuse(self, recorded):
        if str(recorded) == str(stuck.bundle_path):
            raise ArtifactStoreError("the store refuses", remedy="ask for the right to delete")
        remove(self, recorded)

    monkeypatch.setattr(Bundles, "remove", refuse)
    done = prune(registry.settings, registry, KEEP_ONE, CLOCK)
    assert done.removed == (old,)
    (note,) = done.notes
    assert note.startswith("churn-predictor 3.1 stays: the store refuses")
    assert registry.list_versions() == [stuck, newest]


def test_two_at_once_remove_each_version_once_in_small_parts(registry, monkeypatch):
    monkeypatch.setattr(module, "AT_ONCE", 2)
    versions = [registry.add(b"%d" % number) for number in range(12)]
    found = []

    def go():
        found.append(prune(registry.settings, registry, KEEP_ONE, CLOCK))

    threads = [threading.Thread(target=go) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(one.registry_version for done in found for one in done.removed) == list(range(1, 12))
    assert [done.notes for done in found] == [(), ()]
    assert registry.list_versions() == versions[-1:]


def test_nothing_goes_while_a_run_or_a_rollout_uses_bundles(registry):
    old, newest = registry.add(b"a"), registry.add(b"b")
    thread = threading.Thread(target=prune, args=(registry.settings, registry, KEEP_ONE, CLOCK))
    with using_bundles(registry.settings.home):
        thread.start()
        again = registry.add(b"a")  # a run makes what was there already, and registers it
        assert old in registry.list_versions()
    thread.join()
    assert registry.list_versions() == [again]
    assert places(registry, again) == [True, True]
    assert newest not in registry.list_versions()


def test_mlflow_forgets_the_version_and_its_copy_and_keeps_the_run(tmp_path):
    settings = Settings(home=tmp_path)
    registry = Registry(tmp_path)
    identity = BundleIdentity(MODEL, "churn", "torch")
    made = []
    for content in (b"a", b"a", b"b"):
        contents = {"model.onnx": content}
        with registry.start_run("churn", "a run", {}) as run:
            bundle = write_bundle(tmp_path / "bundles", identity, SCHEMA, {}, contents)
            run.log_texts({"validation/report.html": "<html>"})
            made.append(
                registry.register(
                    run, model=MODEL, major=3, bundle_path=bundle.path, bundle_sha256=bundle.sha256,
                    metrics={}, status=ValidationStatus.PASSED,
                )
            )  # fmt: skip
    listed = registry.list_versions(MODEL)
    done = prune(settings, registry, replace(KEEP_ONE, keep=2), ManualClock(wall_s=4e9))
    assert [one.version for one in done.removed] == ["3.1"]
    assert registry.list_versions(MODEL) == listed[:2]
    files = tmp_path / "mlartifacts" / made[0].run_id / "artifacts"
    assert not (files / "bundle").exists()
    assert (files / "validation" / "report.html").exists()
    assert registry.get_run(made[0].run_id).status == "FINISHED"
    assert read_bundle(tmp_path / "bundles" / made[1].bundle_path, made[1].bundle_sha256), "3.2 has the same bundle"
    registry.remove(made[0])
    with registry.start_run("churn", "a run", {}) as run:
        bundle_path = tmp_path / "bundles" / made[2].bundle_path
        next_one = registry.register(
            run, model=MODEL, major=3, bundle_path=bundle_path, bundle_sha256=made[2].bundle_sha256,
            metrics={}, status=ValidationStatus.PASSED,
        )  # fmt: skip
    assert next_one.version == "3.4"
