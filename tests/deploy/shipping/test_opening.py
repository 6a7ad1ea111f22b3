"""Which version a deployment takes that names none."""

from pathlib import Path

import pytest

from deploy.shipping import opening
from divisions.errors import GateRefusedError, RegistryError
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


def test_a_version_that_did_not_pass_is_refused(release):
    with pytest.raises(GateRefusedError, match=r"1\.2 is failed"):
        release("1.2", {"1.2": "1.2"}, ValidationStatus.FAILED)
