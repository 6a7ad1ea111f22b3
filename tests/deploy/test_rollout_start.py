"""A registered version is rolled out, and its customers' features go into the online store after that."""

import json

import pandas as pd
import pytest

from deploy.rollout_start import start_version
from divisions.errors import RolloutError
from divisions.online_store import OnlineStoreReader, online_store_path
from divisions.pipeline.definition import DataPrep, Deployment, Pipeline
from divisions.schema import Feature, FeatureKind, FeatureSchema
from divisions.settings import Settings
from divisions.versions import RegisteredVersion, ValidationStatus
from trainers.data.online_features import NEWEST_FEATURES, OFFLINE_FEATURES
from trainers.export.bundle_writer import BundleIdentity, write_bundle

SCHEMA = FeatureSchema((Feature("minutes", FeatureKind.NUMERIC),))
PLACE = "features/churn/partition=2025-01-14/part.parquet"


class FakeClient:
    """Accepts a rollout, or refuses it with an error."""

    def __init__(self, home, error=None):
        self.home, self.error, self.started = home, error, []

    def start_rollout(self, spec, *, force=False):
        assert not online_store_path(self.home).exists()
        if self.error:
            raise self.error
        self.started.append(spec)
        return "started"


def write_offline(home):
    path = home / PLACE
    path.parent.mkdir(parents=True)
    times = pd.to_datetime(["2025-01-14T00:00:00Z"])
    pd.DataFrame({"customer_id": ["c-1"], "event_time": times, "churn": [1], "minutes": [2.5]}).to_parquet(path)
    return path


def deploy(home, client, lineage):
    identity = BundleIdentity("churn-predictor", "churn", "torch")
    bundle = write_bundle(home / "bundles", identity, SCHEMA, {}, {"model.onnx": b"x"})
    version = RegisteredVersion(
        "churn-predictor", "1.1", 1, "run", bundle.path, bundle.sha256, ValidationStatus.PASSED, {}, lineage=lineage
    )
    pipeline = Pipeline("churn", DataPrep("data"), Deployment("churn"))
    return start_version(client, Settings(home=home), pipeline, version)


def test_the_features_of_a_registered_version_are_stored_when_it_is_rolled_out(tmp_path):
    write_offline(tmp_path)
    client = FakeClient(tmp_path)
    status, notices = deploy(tmp_path, client, {OFFLINE_FEATURES: PLACE})
    assert status == "started"
    assert notices == (f"1 customers of {tmp_path / PLACE} are in the online store",)
    assert json.loads(OnlineStoreReader(online_store_path(tmp_path), "churn").get("c-1")) == {"minutes": 2.5}


def test_customers_without_a_label_are_stored_with_their_newest_values(tmp_path):
    part = write_offline(tmp_path)
    times = pd.to_datetime(["2025-02-14T00:00:00Z", "2025-02-14T00:00:00Z"])
    frame = pd.DataFrame({"customer_id": ["c-1", "c-2"], "event_time": times, "minutes": [7.5, None]})
    frame.to_parquet(part.with_name("newest.parquet"))
    newest = PLACE.replace("part.parquet", "newest.parquet")
    _, (told,) = deploy(tmp_path, FakeClient(tmp_path), {OFFLINE_FEATURES: PLACE, NEWEST_FEATURES: newest})
    assert told == f"2 customers of {tmp_path / newest} are in the online store"
    stored = OnlineStoreReader(online_store_path(tmp_path), "churn")
    assert [json.loads(stored.get(name)) for name in ("c-1", "c-2")] == [{"minutes": 7.5}, {"minutes": None}]


def test_a_refused_rollout_leaves_the_store_alone(tmp_path):
    write_offline(tmp_path)
    with pytest.raises(RolloutError):
        deploy(tmp_path, FakeClient(tmp_path, RolloutError("no")), {OFFLINE_FEATURES: PLACE})
    assert not online_store_path(tmp_path).exists()


@pytest.mark.parametrize(
    ("lineage", "notice"),
    [({}, "does not name its features"), ({OFFLINE_FEATURES: PLACE}, "features of version 1.1 are unreadable")],
)
def test_features_that_are_gone_are_told_and_the_rollout_goes_on(tmp_path, lineage, notice):
    client = FakeClient(tmp_path)
    _, (told,) = deploy(tmp_path, client, lineage)
    assert notice in told
    assert len(client.started) == 1


def test_a_file_of_other_columns_is_told(tmp_path):
    path = write_offline(tmp_path)
    pd.DataFrame({"x": [1]}).to_parquet(path)
    _, (told,) = deploy(tmp_path, FakeClient(tmp_path), {OFFLINE_FEATURES: PLACE})
    assert "lacks the columns customer_id, event_time" in told
