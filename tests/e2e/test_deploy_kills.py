"""``divisions deploy`` through a real registry, killed before and after the deed of each step, and gone on with.

The cluster is a file, so that it outlives the process that is killed; `tests/e2e/test_product.py` has a real one.
"""

from __future__ import annotations

import base64
import json
import multiprocessing
import os
import signal
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from deploy.shipping.artifact import WithArtifact
from deploy.shipping.console import LineConsole
from deploy.shipping.deployments import DeploymentJournal
from deploy.shipping.local.target import LocalTarget
from deploy.shipping.release import Ending, Release
from deploy.shipping.run import deploy
from divisions.artifacts.cache import Bundles
from divisions.artifacts.signing import statements_of
from divisions.attestation.facts import BundleFacts
from divisions.attestation.keys import new_signing_key
from divisions.clock import SystemClock
from divisions.errors import ArtifactStoreError, DivisionsError
from divisions.pipeline.file import parse_pipeline
from divisions.settings import Settings
from divisions.status import RolloutStatus
from tests.builders import rollout_status
from tests.conftest import skipped_where_absent
from tests.divisions.artifacts.test_cache import make
from tests.oci_registry import USER, running_registry
from tests.servers import PASSWORD

pytestmark = pytest.mark.e2e

KEY = new_signing_key()
STEPS = ["authenticate", "check", "package", "push", "sign", "start", "watch"]
PIPELINE = parse_pipeline(
    "pipeline: churn-v3\nstages:\n  data_prep:\n    input: d\n  deployment:\n    endpoint: /api/v2/predict/churn\n"
    "    strategy: 'canary: 20% → 50% → 100%'\n"
)


class FileCluster:
    """A control API whose state is a file: 3.1 serves until somebody starts and watches another version.

    ``rollback`` goes back as a controller does: a rollout under way is broken off, a promoted version is replaced.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._write(rollout_status(phase="PROMOTED", stable_version="3.1", canary_version=None))

    def rollouts(self) -> tuple[RolloutStatus, ...]:
        return (msgspec.json.decode(self._path.read_bytes(), type=RolloutStatus),)

    def start(self) -> tuple[RolloutStatus, tuple[str, ...]]:
        (now,) = self.rollouts()
        assert now.phase == "PROMOTED", "a rollout under way is not started again"
        with self._path.with_suffix(".starts").open("a") as file:
            file.write("1")
        return self._write(rollout_status(stable_version="3.1", canary_version="3.2")), ()

    def rollout(self, endpoint: str) -> FileCluster:
        return self

    def rollback(self, to: str, *, generation: int | None) -> RolloutStatus:
        (now,) = self.rollouts()
        assert now.generation == generation
        with self._path.with_suffix(".backs").open("a") as file:
            file.write("1")
        if now.phase == "STEP":
            assert to == now.stable_version
            return self._write(msgspec.structs.replace(now, phase="ROLLING_BACK"))
        return self._write(msgspec.structs.replace(now, phase="STEP", canary_version=to))

    def watch(self, *, patience: int) -> Iterator[RolloutStatus]:
        (now,) = self.rollouts()
        yield now
        if now.phase == "ROLLING_BACK":
            yield self._write(msgspec.structs.replace(now, phase="ROLLED_BACK"))
            return
        changes = {"stable_version": now.canary_version, "previous_version": now.stable_version, "canary_version": None}
        yield self._write(msgspec.structs.replace(now, phase="PROMOTED", **changes))

    @property
    def starts(self) -> int:
        return self._count(".starts")

    @property
    def backs(self) -> int:
        return self._count(".backs")

    def _count(self, suffix: str) -> int:
        path = self._path.with_suffix(suffix)
        return len(path.read_text()) if path.exists() else 0

    def _write(self, status: RolloutStatus) -> RolloutStatus:
        self._path.write_bytes(msgspec.json.encode(status))
        return status


class KillingJournal(DeploymentJournal):
    """Ends the process with SIGKILL in one step: before its deed, or right after it."""

    def __init__(self, home: Path, step: str, *, is_done: bool) -> None:
        super().__init__(home, SystemClock())
        self._kills = (step, is_done)

    def step_began(self, number, step):
        super().step_began(number, step)
        if self._kills == (step.name, False):
            os.kill(os.getpid(), signal.SIGKILL)

    def step_ended(self, number, step, *, detail="", error=""):
        if self._kills == (step.name, True):
            os.kill(os.getpid(), signal.SIGKILL)
        super().step_ended(number, step, detail=detail, error=error)


@pytest.fixture(scope="module")
def registry(tmp_path_factory):
    with skipped_where_absent(), running_registry(tmp_path_factory.mktemp("registry") / "server", is_secure=True) as it:
        yield it


@pytest.fixture
def place(tmp_path, registry, monkeypatch, request):
    """A home with a bundle of its own, and a cluster."""
    monkeypatch.setenv("SSL_CERT_FILE", str(registry.authority))
    entry = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
    (tmp_path / "config.json").write_text(json.dumps({"auths": {f"{registry.host}:{registry.port}": {"auth": entry}}}))
    return Place(tmp_path, registry.artifacts, request.node.name.encode())


class Place:
    def __init__(self, folder: Path, artifacts: str, content: bytes) -> None:
        bundle, sha256 = make(folder / "home", content * 50_000)
        self.folder, self.home, self.artifacts = folder, folder / "home", artifacts
        address = f"churn-predictor/{bundle.name}"
        self.release = Release("churn-predictor", "3.2", "churn", address, sha256, "churn-v3", "1" * 64)
        self.cluster = FileCluster(folder / "cluster.json")
        self.lines: list[str] = []

    def bundles(self, name: str, *trusted: str) -> Bundles:
        login = self.folder / "config.json"
        return Bundles.of(
            Settings(
                home=self.folder / name, artifacts=self.artifacts, docker_config=login, trusted_keys=tuple(trusted)
            )
        )

    def ship(self, journal: DeploymentJournal | None = None) -> Ending:
        clock, cluster = SystemClock(), self.cluster
        inner = LocalTarget("staging", "http://127.0.0.1:8000", cluster, PIPELINE, cluster.start)
        target = WithArtifact(inner, self.bundles("home"), KEY, lambda manifest: statements_of(BundleFacts(manifest)))
        journal = journal or DeploymentJournal(self.home, clock)
        return deploy(target, self.release, journal, LineConsole(clock, self.lines.append), clock, who="me")

    def ship_elsewhere(self, journal: DeploymentJournal | None = None) -> int:
        """In another process; returns how it ended."""
        child = multiprocessing.get_context("fork").Process(target=self.ship, args=(journal,))
        child.start()
        child.join()
        assert child.exitcode is not None
        return child.exitcode

    def require_served(self) -> None:
        """The cluster serves the release, once started; another machine pulls it, signed."""
        assert self.cluster.rollouts()[0].stable_version == "3.2"
        assert self.cluster.starts == 1
        self.bundles("another", str(KEY.public)).open(self.release.bundle, self.release.bundle_sha256)
        assert not list(self.home.glob("packages/**/*.gz")), "nothing is left on its way"


def test_the_page_is_told_step_by_step(place):
    assert place.ship() is Ending.PROMOTED
    place.require_served()
    done = [line[11:].partition(" (")[0] for line in place.lines if line[11] == "✓"]
    assert done == [
        "✓ Authenticate at http://127.0.0.1:8000",
        f"✓ Check every byte of {place.release.bundle}",
        "✓ Package churn-predictor-v3.2.tar.gz",
        f"✓ Push the bundle to {place.artifacts}",
        f"✓ Sign its provenance and bill of materials with {KEY.public}",
        "✓ Start the rollout of churn-predictor 3.2",
        "✓ Watch churn until the rollout ends",
        "✓ churn-predictor 3.2 serves all traffic of staging",
    ]


@pytest.mark.parametrize("is_done", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("step", STEPS)
def test_a_deployment_that_was_killed_in_a_step_goes_on(place, step, is_done):
    assert place.ship_elsewhere(KillingJournal(place.home, step, is_done=is_done)) == -signal.SIGKILL
    (before,) = DeploymentJournal(place.home, SystemClock()).latest(9)
    assert (before.ending, before.last_step.name, before.last_step.ended_s) == ("", step, None)
    ending = place.ship()
    assert ending is (Ending.UNCHANGED if (step, is_done) == ("watch", True) else Ending.PROMOTED)
    assert "Going on with deployment 1" in place.lines[0]
    place.require_served()
    (after,) = DeploymentJournal(place.home, SystemClock()).latest(9)
    assert (after.number, after.ending) == (1, ending)
    counts = Counter(found.name for found in after.steps if found.name != "authenticate")
    # What was done is no step again, but for the check, and the package of a push that is still to come.
    again = {name for name, count in counts.items() if count > 1}
    assert again <= {"check", "package", step}


def test_what_is_served_already_changes_nothing_anywhere(place, registry):
    place.ship()
    disk = registry.folder / "disk"
    stamps = {path: path.stat().st_mtime_ns for folder in (disk, place.home / "bundles") for path in folder.rglob("*")}
    cluster = place.cluster.rollouts()
    assert place.ship() is Ending.UNCHANGED
    assert place.lines[-1].endswith("✓ staging serves churn-predictor 3.2 already: nothing was changed")
    found = {path: path.stat().st_mtime_ns for folder in (disk, place.home / "bundles") for path in folder.rglob("*")}
    assert found == stamps
    assert (place.cluster.rollouts(), place.cluster.starts) == (cluster, 1)


def test_a_registry_that_dies_in_mid_push_is_told_and_the_next_call_goes_on(place, registry, monkeypatch):
    from divisions.oci.registry import RegistryClient

    push_blob = RegistryClient.push_blob

    def push_to_the_dying(self, digest, size, opened):
        if not dead.is_set():
            dead.set()
            registry.kill()
        return push_blob(self, digest, size, opened)

    dead = threading.Event()
    monkeypatch.setattr(RegistryClient, "push_blob", push_to_the_dying)
    try:
        with pytest.raises(ArtifactStoreError, match=r"does not answer as one.*check its address"):
            place.ship()
    finally:
        registry.start()
    left = "  not done: Sign its provenance and bill of materials"
    assert any(line[11:].startswith(left) for line in place.lines)
    assert place.cluster.starts == 0
    assert place.ship() is Ending.PROMOTED
    place.require_served()


def test_a_bundle_of_another_digest_ends_it_before_anything_is_sent(place):
    wrong = Release(**{**{name: getattr(place.release, name) for name in Release.__slots__}, "bundle_sha256": "f" * 64})
    place.release = wrong
    with pytest.raises(DivisionsError, match="is not the one that was registered: its hash differs"):
        place.ship()
    assert place.cluster.starts == 0
