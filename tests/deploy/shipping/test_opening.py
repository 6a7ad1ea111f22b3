"""Which version a deployment takes that names none."""

import contextlib
from pathlib import Path

import pytest

from deploy.shipping import opening
from deploy.shipping.deployments import DeploymentJournal
from deploy.shipping.release import Ending, Release
from deploy.shipping.target import Opening, Served
from deploy.shipping.target_file import TargetSpec
from divisions.clock import ManualClock
from divisions.errors import GateRefusedError, RegistryError, UnknownVersionError
from divisions.settings import Settings
from divisions.versions import RegisteredVersion, ValidationStatus

TEXT = "pipeline: churn-v3\nstages:\n  data_prep:\n    input: d\n  deployment:\n    endpoint: /api/v2/predict/churn\n"


@pytest.fixture
def release(tmp_path, monkeypatch):
    def make(version, known, status=ValidationStatus.PASSED):
        class MemoryRegistry:
            def __init__(self, *_): ...

            def get_version(self, model, asked):
                if asked not in known:
                    raise RegistryError(f"the registry has no version {asked} of {model!r}")
                return RegisteredVersion(model, known[asked], 1, "r", Path("/h/m/0123"), "0" * 64, status, {})

        monkeypatch.setattr(opening, "Registry", MemoryRegistry)
        (tmp_path / "p.yaml").write_text(TEXT)
        return opening.release_of(Settings(home=tmp_path), tmp_path / "p.yaml", version)[0]

    return make


def test_it_is_the_newest_that_passed_or_the_one_in_production(release):
    assert release("staging", {"staging": "1.3", "production": "1.2"}).version == "1.3"
    found = release("staging", {"production": "1.2"})
    assert (found.model, found.version, found.endpoint, found.bundle) == ("churn-predictor", "1.2", "churn", "m/0123")


def test_a_version_that_is_named_and_absent_is_an_error(release):
    for version, known in (("1.9", {"production": "1.2"}), ("staging", {})):
        with pytest.raises(RegistryError, match="has no version"):
            release(version, known)


class Place:
    """A target that has something, and its settings."""

    def __init__(self, *versions):
        self.has = Served(*versions)

    @contextlib.contextmanager
    def open(self, opening):
        yield self

    def authenticate(self): ...

    def served(self, endpoint):
        assert endpoint == "churn"
        return self.has


def test_the_version_before_is_what_the_target_says_else_what_was_deployed_from_here(tmp_path):
    journal = DeploymentJournal(tmp_path, ManualClock())
    asked = Opening("eu", Settings(home=tmp_path), None, None, ManualClock())

    def before(*versions):
        return opening.version_before(TargetSpec("eu", "local", Place(*versions)), asked, journal, "churn")

    assert before("3.2", "3.1") == "3.1"
    with pytest.raises(UnknownVersionError, match=r"no version is known that eu has served as churn before.*--version"):
        before("3.2", "")
    old = Release("m", "3.0", "churn", "m/0", "0" * 64, "p", "1" * 64)
    journal.end(journal.begin("eu", old, "me")[0], Ending.PROMOTED)
    assert before("3.2", "") == "3.0"
    assert before("3.2", "3.1") == "3.1"


def test_an_unsigned_image_is_refused_if_the_target_asks(tmp_path, monkeypatch):
    place, asked = Place(), Opening("eu", Settings(home=tmp_path), None, None, ManualClock())
    place.image = "registry.example/divisions@sha256:" + "0" * 64
    monkeypatch.setattr(opening, "require_signed_image", lambda image, settings: f"a key for {image}")
    for asks in (True, False):
        with opening.opened_target(TargetSpec("eu", "local", place, verify_image=asks), asked) as target:
            assert (target._image is not None) is asks
            assert not asks or target._image.signer() == f"a key for {place.image}"


def test_the_way_back_asks_no_store(tmp_path):
    spec = TargetSpec("eu", "local", Place(), artifacts="oci+http://127.0.0.1:1/nobody")
    going_back = Opening("eu", Settings(home=tmp_path), None, None, ManualClock(), goes_back=True)
    with opening.opened_target(spec, going_back) as target:
        assert target is spec.settings


def test_a_version_that_did_not_pass_is_refused(release):
    with pytest.raises(GateRefusedError, match=r"1\.2 is failed"):
        release("1.2", {"1.2": "1.2"}, ValidationStatus.FAILED)
