"""The steps of the artifact come before a target's own, if there is something to ship."""

import pytest

from deploy.shipping.artifact import ImageCheck, Stored, WithArtifact, artifact_steps
from deploy.shipping.release import Act, Plan, Receipt, Release, Step
from deploy.shipping.target import Work
from divisions.artifacts.cache import Bundles
from divisions.artifacts.signing import statements_of
from divisions.artifacts.store import open_store
from divisions.attestation.facts import BundleFacts
from divisions.attestation.keys import new_signing_key
from divisions.bundle import bundle_address
from divisions.errors import BundleError, RegistryError
from divisions.settings import S3Settings
from tests.divisions.artifacts.test_cache import make

RELEASE = Release("churn-predictor", "3.2", "churn", "churn-predictor/0123", "0" * 64, "churn-v3", "1" * 64)
START, WATCH = Step("start", "Start it"), Step("watch", "Watch it", Act.WATCH)
KEY, OTHER = new_signing_key(), new_signing_key()


class PlannedTarget:
    def __init__(self, *steps):
        self._steps = steps

    def plan(self, release, *, is_watched):
        return Plan(self._steps, ("+ it",), ("1 CPU",))

    def apply(self, step, work):
        return Receipt(f"{step.name} by the target")


class MemoryStore:
    name = "s3://models"

    def __init__(self, *, has):
        self._has = has

    def has(self, address, file):
        return self._has


@pytest.mark.parametrize(
    ("store", "expected"),
    [
        (None, ["check", "start"]),
        (MemoryStore(has=True), ["check", "start"]),
        (MemoryStore(has=False), ["check", "push", "start"]),
    ],
)
def test_the_bundle_is_pushed_only_to_a_store_that_lacks_it(tmp_path, store, expected):
    target = WithArtifact(PlannedTarget(START), Bundles(tmp_path, store))
    plan = target.plan(RELEASE, is_watched=False)
    assert [step.name for step in plan.steps] == expected
    assert (plan.changes, plan.costs) == (("+ it",), ("1 CPU",))


@pytest.mark.parametrize("steps", [(), (WATCH,)])
def test_nothing_is_shipped_for_what_is_served_or_on_its_way(tmp_path, steps):
    target = WithArtifact(PlannedTarget(*steps), Bundles(tmp_path, MemoryStore(has=False)))
    assert target.plan(RELEASE, is_watched=True).steps == steps


@pytest.mark.parametrize(
    ("stored", "expected"),
    [
        (Stored(), ["check"]),
        (Stored("s3://m", has_bundle=False), ["check", "push"]),
        (Stored("oci://m", has_bundle=False, is_packed=True), ["check", "package", "push"]),
        (Stored("oci://m", has_bundle=True, is_packed=True), ["check"]),
        (Stored("oci://m", False, True, "ed25519:k"), ["check", "package", "push", "sign"]),
        (Stored(signer="ed25519:k"), ["check", "sign"]),
    ],
)
def test_only_what_the_store_lacks_is_a_step(stored, expected):
    assert [step.name for step in artifact_steps(RELEASE, stored)] == expected


@pytest.fixture
def ship(tmp_path):
    """Plans and applies the steps before those of the target; returns what each has said."""
    _, sha256 = make(tmp_path / "home")
    release = Release(
        "churn-predictor", "3.2", "churn", bundle_address("churn-predictor", sha256), sha256, "p", "1" * 64
    )

    def run(store=None, key=None, trusted=(), fetch=None):
        bundles = Bundles(tmp_path / "home", store, trusted=tuple(each.public for each in trusted))
        target = WithArtifact(
            PlannedTarget(START), bundles, key, lambda manifest: statements_of(BundleFacts(manifest)), fetch
        )
        steps = target.plan(release, is_watched=False).steps
        return {step.name: target.apply(step, Work(release)).detail for step in steps}

    run.release = release
    return run


def test_a_bundle_is_signed_once_and_then_taken_by_who_trusts_the_key(ship, tmp_path):
    store = open_store(str(tmp_path / "shared"), S3Settings())
    assert ship(store, KEY) == {
        "check": "1 files, 379 bytes, as registered",
        "push": f"as {ship.release.bundle}",
        "sign": f"provenance and sbom of sha256:{ship.release.bundle_sha256[:16]}",
        "start": "start by the target",
    }
    assert list(ship(store, KEY)) == ["check", "start"]
    assert ship(store, trusted=[KEY])["check"].endswith("as registered, signed by a trusted key")
    Bundles(tmp_path / "two", store, trusted=(KEY.public,)).open(ship.release.bundle, ship.release.bundle_sha256)


def test_who_cannot_sign_ships_nothing_unsigned_to_machines_that_demand_it(ship):
    with pytest.raises(BundleError, match="signed by a trusted key"):
        ship(trusted=[KEY])
    assert "sign" in ship(key=KEY, trusted=[KEY])
    assert list(ship(trusted=[KEY])) == ["check", "start"]


def test_an_image_is_checked_before_anything_else_and_only_if_something_is_shipped(tmp_path):
    image = ImageCheck("registry.example/divisions@sha256:0", lambda: "ed25519:k")
    target = WithArtifact(PlannedTarget(START), Bundles(tmp_path), image=image)
    first, *others = target.plan(RELEASE, is_watched=False).steps
    assert first.title == "Check who has signed registry.example/divisions@sha256:0"
    assert [step.name for step in others] == ["check", "start"]
    assert target.apply(first, Work(RELEASE)).detail == "signed by ed25519:k"
    assert WithArtifact(PlannedTarget(WATCH), Bundles(tmp_path), image=image).plan(RELEASE, is_watched=True).steps == (
        WATCH,
    )


def test_a_damaged_bundle_is_told_by_the_first_step(ship, tmp_path):
    next((tmp_path / "home" / "bundles").rglob("model.onnx")).unlink()
    for key in (None, KEY):
        with pytest.raises(BundleError, match="missing"):
            ship(key=key)


def test_a_bundle_that_is_nowhere_else_comes_from_the_model_registry(ship, tmp_path):
    bundles = tmp_path / "home" / "bundles"
    bundles.rename(tmp_path / "elsewhere")
    assert ship(fetch=lambda: (tmp_path / "elsewhere").rename(bundles))["check"].endswith("as registered")
    bundles.rename(tmp_path / "elsewhere")

    def away():
        raise RegistryError("the model registry does not answer", remedy="check it")

    with pytest.raises(BundleError, match=r"there is no bundle .*, and the model registry does not answer\. check it"):
        ship(fetch=away)
    bundles.mkdir()


def test_one_that_nobody_signed_is_not_fetched_again(ship):
    with pytest.raises(BundleError, match="signed by a trusted key"):
        ship(trusted=[KEY], fetch=lambda: pytest.fail("it is here"))
