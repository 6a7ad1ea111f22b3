"""What is signed of a version: from its bundle and the run that trained it, the same whoever asks."""

import json

import pytest

from divisions.artifacts.attestations import PROVENANCE
from divisions.artifacts.cache import Bundles
from divisions.artifacts.signing import facts_of, sign_version, statements_of
from divisions.attestation.keys import new_signing_key
from divisions.bundle import read_bundle
from divisions.errors import BundleError, RegistryError
from divisions.versions import RegisteredVersion, RunRecord, ValidationStatus
from tests.divisions.artifacts.test_cache import make

KEY = new_signing_key()


class MemoryRegistry:
    """Knows the run that trained, if any."""

    def __init__(self, *run_ids):
        self._run_ids = run_ids

    def get_run(self, run_id):
        if run_id not in self._run_ids:
            raise RegistryError(f"the registry has no run {run_id}")
        return RunRecord(run_id, "", "p", "FINISHED", 1_736_843_520.0, 0.0, {"epochs": "50"}, {}, {})


@pytest.fixture
def version(tmp_path):
    folder, sha256 = make(tmp_path)
    address = f"churn-predictor/{folder.name}"
    lineage = {"data_sha256": "3" * 64}
    return RegisteredVersion(
        "churn-predictor", "3.2", 2, "again", address, sha256, ValidationStatus.PASSED, {}, lineage=lineage
    )


def provenance(registry, version, tmp_path):
    manifest = read_bundle(tmp_path / "bundles" / version.bundle_path)
    return json.loads(statements_of(facts_of(registry, version, manifest)).by_kind[PROVENANCE])["predicate"]


def test_the_run_that_trained_the_bundle_is_named_not_one_that_registered_it_again(tmp_path, version):
    found = provenance(MemoryRegistry("r", "again"), version, tmp_path)
    assert found["runDetails"]["metadata"] == {"invocationId": "r", "startedOn": "2025-01-14T08:32:00Z"}
    assert found["buildDefinition"]["internalParameters"] == {"hyperparameters": {"epochs": "50"}}
    assert found["buildDefinition"]["resolvedDependencies"][0]["digest"] == {"sha256": "3" * 64}


def test_a_bundle_of_another_registry_has_what_its_version_knows(tmp_path, version):
    found = provenance(MemoryRegistry(), version, tmp_path)
    assert found["runDetails"]["metadata"] == {"invocationId": "r"}
    assert found["buildDefinition"]["resolvedDependencies"]


def test_a_version_is_signed_once_and_its_bundle_checked_before(tmp_path, version):
    bundles = Bundles(tmp_path)
    assert sign_version(bundles, MemoryRegistry("r"), version, KEY)
    assert not sign_version(bundles, MemoryRegistry("r"), version, KEY)
    Bundles(tmp_path, trusted=(KEY.public,)).open(version.bundle_path, version.bundle_sha256)
    (tmp_path / "bundles" / version.bundle_path / "model.onnx").unlink()
    with pytest.raises(BundleError, match="missing"):
        sign_version(bundles, MemoryRegistry("r"), version, KEY)
