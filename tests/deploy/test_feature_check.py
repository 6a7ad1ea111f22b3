"""The check of served features, through a gateway: values, and scores by id against scores by features."""

from __future__ import annotations

import asyncio

import msgspec
import numpy as np
import pandas as pd
import pytest
import uvloop

from deploy.feature_check import check_features
from divisions.control import OnlinePolicy
from divisions.errors import OnlineStoreError, UnknownVersionError
from divisions.online_store import OnlineRow, online_store_path
from divisions.online_stores import SqliteStore
from divisions.online_writer import OnlineStoreWriter
from divisions.sdk.client import Client
from divisions.settings import Settings
from divisions.status import ControllerStatus
from divisions.versions import RegisteredVersion, ValidationStatus
from tests.builders import rollout_status
from tests.router.gateway_world import SCHEMA, world
from trainers.data.online_check import Difference
from trainers.data.online_features import NEWEST_FEATURES, fill_online_store
from trainers.export.bundle_writer import BundleIdentity, write_bundle

PLACE = "features/churn/partition=2025-01-14/newest.parquet"


def score(rows_NF: np.ndarray) -> np.ndarray:
    return np.where(np.isnan(rows_NF[:, 0]), 0.5, rows_NF[:, 0] / 1000).astype(np.float32)


class OneVersion:
    """A registry of one version."""

    def __init__(self, home, lineage=None):
        identity = BundleIdentity("churn-predictor", "churn", "torch")
        bundle = write_bundle(home / "bundles", identity, SCHEMA, {}, {"model.onnx": b"x"})
        self.version = RegisteredVersion(
            "churn-predictor", "3.1", 1, "run", bundle.path, bundle.sha256, ValidationStatus.PASSED, {},
            lineage={NEWEST_FEATURES: PLACE} if lineage is None else lineage,
        )  # fmt: skip

    def get_version(self, model, version):
        assert (model, version) == ("churn-predictor", "3.1")
        return self.version


def fill(home, number=300):
    """Newest rows offline and online."""
    path = home / PLACE
    path.parent.mkdir(parents=True)
    frame = pd.DataFrame(
        {
            "customer_id": [f"c-{each}" for each in range(number)],
            "event_time": pd.to_datetime(["2025-01-14T00:00:00Z"] * number),
            "minutes": [None if each % 7 == 0 else float(each) for each in range(number)],
            "plan": [None if each % 5 == 0 else "gold" for each in range(number)],
            "abroad": [bool(each % 2) for each in range(number)],
        }
    )
    frame.to_parquet(path, index=False)
    fill_online_store(SqliteStore(online_store_path(home)), "churn", path, SCHEMA)


@pytest.fixture
def run():
    """Runs a scenario on the loop that gateways use."""

    def run_scenario(scenario):
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(scenario)

    return run_scenario


def check(run, home, change=lambda writer: None, online=None, lineage=None, stable="3.1"):
    async def scenario():
        async with world() as it:
            await it.route([await it.replica("3.1", score)], online=online)
            fill(home)
            (it.folder / "online.db").symlink_to(online_store_path(home))
            change(OnlineStoreWriter(online_store_path(home), "churn"))
            rollout = msgspec.structs.replace(rollout_status(), endpoint="churn", stable_version=stable)
            it.link.status_json = msgspec.json.encode(ControllerStatus(1, rollouts=(rollout,)))

            def ask():
                with Client(f"http://127.0.0.1:{it.port}", token="secret") as client:
                    return check_features(client, OneVersion(home, lineage), Settings(home=home), "churn", 100)

            found = await asyncio.to_thread(ask)
            return found, it.told()

    return run(scenario())


def test_a_store_that_was_filled_from_its_file_has_no_skew(run, tmp_path):
    found, told = check(run, tmp_path)
    assert (found.num_compared, found.num_scored, found.num_differences) == (300, 100, 0)
    assert (found.model, found.version, found.offline) == ("churn-predictor", "3.1", str(tmp_path / PLACE))
    counts = [counted.requests for entry in told for counted in entry.versions]
    assert sum(counts) == 0, "no evidence of a rollout"


def test_a_changed_value_is_found_and_so_is_the_score_that_follows_from_it(run, tmp_path):
    def change(writer):
        at_s = pd.Timestamp("2025-01-14T00:00:00Z").timestamp()
        rows = [OnlineRow(f"c-{each}", at_s, {"minutes": 900.0, "plan": None, "abroad": False}) for each in (0, 10, 20)]
        writer.upsert(rows)

    found, _ = check(run, tmp_path, change)
    assert Difference("c-10", "minutes", 10.0, 900.0) in found.differences
    assert found.num_value_differences == 3
    scores = [one for one in found.differences if one.what == "(score)"]
    assert len(scores) == found.num_score_differences
    assert all(one.online == pytest.approx(0.9) for one in scores)


def test_what_a_later_run_stored_and_what_was_deleted_is_no_skew(run, tmp_path):
    def change(writer):
        writer.upsert([OnlineRow("c-1", 2e9, {"minutes": 900.0})])
        writer.delete("c-2", 1.0)

    found, _ = check(run, tmp_path, change)
    assert (found.num_compared, found.num_newer, found.num_deleted, found.num_differences) == (298, 1, 1, 0)


@pytest.mark.parametrize("on_stale", ["default", "error"])
def test_what_the_policy_answers_otherwise_is_told_apart(run, tmp_path, on_stale):
    found, _ = check(run, tmp_path, online=OnlinePolicy(max_age_s=1.0, on_stale=on_stale))
    assert (found.num_by_policy, found.num_scored, found.num_differences) == (100, 0, 0)


def test_a_version_that_does_not_name_its_features_cannot_be_checked(run, tmp_path):
    with pytest.raises(OnlineStoreError, match=r"3\.1 does not name its offline features"):
        check(run, tmp_path, lineage={})


def test_an_endpoint_that_serves_nothing_is_told(run, tmp_path):
    with pytest.raises(UnknownVersionError, match="nothing serves at 'churn'"):
        check(run, tmp_path, stable=None)
