"""When the version that an image carries is started, and when it is only waited for."""

import pytest

from deploy.cluster.packaged import load_release, registered, serves
from divisions.artifacts.release_folder import ReleaseFile
from divisions.errors import BundleError, PipelineError
from divisions.versions import ValidationStatus
from tests.builders import rollout_status

RELEASE = ReleaseFile("churn-predictor", "3.2", "0" * 64, "run-1")


@pytest.mark.parametrize(
    ("changes", "is_served"),
    [
        ({"stable_version": "3.2", "canary_version": None, "phase": "PROMOTED"}, True),
        ({"stable_version": "3.2", "canary_version": "3.3"}, True),
        ({"canary_version": "3.2", "phase": "STEP"}, True),
        ({"stable_version": None, "canary_version": "3.2", "phase": "WARMING"}, True),
        ({"canary_version": "3.2", "phase": "ROLLED_BACK"}, False),
        ({"stable_version": "3.1", "canary_version": None, "phase": "PROMOTED"}, False),
        ({"model": "another", "stable_version": "3.2"}, False),
    ],
)
def test_a_version_that_serves_or_is_rolled_out_is_not_started_again(changes, is_served):
    assert serves(rollout_status(**changes), RELEASE) is is_served


def test_an_endpoint_that_has_nothing_gets_it():
    assert not serves(None, RELEASE)


def test_a_registry_that_does_not_know_the_version_is_left_alone():
    version = registered(RELEASE)
    assert version.registry_version == 0, "the controller moves no alias of it"
    assert str(version.bundle_path) == f"churn-predictor/{'0' * 16}"
    assert (version.version, version.validation_status) == ("3.2", ValidationStatus.PASSED)


def test_a_folder_without_a_release_is_told_before_a_cluster_starts(tmp_path):
    with pytest.raises(BundleError, match="holds no release"):
        load_release(tmp_path)
    (tmp_path / "release").mkdir()
    (tmp_path / "release" / "release.json").write_text('{"model": "m", "version": "1.1", "bundle_sha256": "0"}')
    (tmp_path / "release" / "pipeline.yaml").write_text("pipeline: [")
    with pytest.raises(PipelineError, match=r"pipeline\.yaml"):
        load_release(tmp_path)
