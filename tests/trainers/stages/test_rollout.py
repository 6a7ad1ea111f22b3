"""Rollouts that whole runs start, and the rows that they store: only Ray and the gateway are absent."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from divisions.bundle import read_bundle
from divisions.control import RolloutSpec
from divisions.errors import RolloutError
from divisions.pipeline.definition import Serving
from divisions.schema import FeatureKind
from router.predict.decode import EndpointDecoder
from tests.trainers.churn import FEATURES, raw_frame
from tests.trainers.place import Place
from trainers.deployment import Usage
from trainers.stages import rollout


def test_a_version_that_passed_is_rolled_out(tmp_path, monkeypatch):
    place = Place(tmp_path, epochs=1)
    place.write("2025-01-13", raw_frame(seed=0))
    requests = []

    def accept(url, home, spec):
        assert place.stored("c-0-7") is None  # not before the rollout was admitted
        requests.append((url, home, spec))
        return _Status()

    monkeypatch.setattr(rollout, "start_rollout", accept)
    monkeypatch.setattr(rollout, "read_usage", lambda *_: Usage())
    outcome = place.run(
        "2025-01-13", gates=(), gateway_url="http://127.0.0.1:8000", serving=Serving(replicas=3, num_gpus=1.0)
    )
    ((url, home, spec),) = requests
    assert b'"plan"' in place.stored("c-0-7")
    assert place.progress.done[-2:] == ["Start the rollout", "Fill the online store"]
    assert (url, home) == ("http://127.0.0.1:8000", place.settings.home)
    assert isinstance(spec, RolloutSpec)
    assert (spec.endpoint, spec.steps_bp) == ("churn", (2_000, 5_000, 10_000))
    assert (spec.version.version, spec.version.bundle_sha256) == (outcome.version, outcome.bundle_sha256)
    assert (spec.version.replicas, spec.version.num_gpus) == (3, 0.0)
    assert "serving asks for 1 GPU per replica, the cluster has none: serving on CPUs" in place.progress.notices
    assert spec.version.decision_threshold == outcome.metrics["decision_threshold"]
    assert outcome.rollout == "WARMING"


class _Status:
    phase = "WARMING"


@pytest.fixture
def served(tmp_path, monkeypatch):
    """A home whose first version is served: `area` came as text. ``stable`` decodes requests by its schema."""
    place = Place(tmp_path, epochs=1)
    monkeypatch.setattr(rollout, "start_rollout", lambda *_: _Status())
    place.write("2025-01-13", with_area(raw_frame(seed=0)))
    outcome = place.run("2025-01-13", gates=(), gateway_url="http://127.0.0.1:8000")
    place.stable = EndpointDecoder(read_bundle(Path(outcome.bundle_path)).schema)
    assert place.stable.kinds["area"] is FeatureKind.CATEGORICAL
    return place


def with_area(frame):
    return frame.assign(area=np.where(np.arange(len(frame)) % 2, "408", "415"), loyal="no")


def readable(place, customer):
    """The stored row as the first version reads it."""
    return dict(zip(place.stable.names, place.stable.decode_stored(place.stored(customer)), strict=True))


def test_a_column_that_reads_as_numbers_a_day_later_stays_readable_by_the_served_version(served):
    place, csv = served, with_area(raw_frame(seed=0, day="2025-01-14"))
    folder = place.folder / "raw" / "partition=2025-01-14"
    folder.mkdir()
    csv.assign(minutes=csv["minutes"] + 1.0).to_csv(folder / "events.csv", index=False)
    outcome = place.run("2025-01-14", gates=(), gateway_url="http://127.0.0.1:8000")
    kinds = {one.name: one.kind for one in read_bundle(Path(outcome.bundle_path)).schema.features}
    assert kinds["area"] is FeatureKind.CATEGORICAL
    assert any("'area' seems numeric here, but was categorical in version 3.1" in one for one in place.progress.notices)
    row = readable(place, "c-0-7")
    assert row["area"] == "408"
    assert row["minutes"] == pytest.approx(csv["minutes"][7] + 1.0)


def test_a_rollout_that_is_refused_leaves_the_stored_rows_as_they_were(served, monkeypatch):
    place = served
    before = place.stored("c-0-7")

    def refuse(*_):
        raise RolloutError("feature 'area' is numeric in this version, but categorical in stable")

    monkeypatch.setattr(rollout, "start_rollout", refuse)
    changed = with_area(raw_frame(seed=0, day="2025-01-14"))
    place.write("2025-01-14", changed.assign(area=changed["area"].astype(float)))
    numeric = replace(FEATURES, numeric=("area",))
    with pytest.raises(RolloutError):
        place.run("2025-01-14", gates=(), gateway_url="http://127.0.0.1:8000", features=numeric)
    assert place.stored("c-0-7") == before
    assert any("was categorical in version 3.1" in one for one in place.progress.notices)
    assert place.registry.list_versions("churn-predictor")[0].validation_status == "passed"


def test_rows_of_a_declared_new_kind_stay_readable_by_the_old_version(served):
    place = served
    changed = with_area(raw_frame(seed=0, day="2025-01-14"))
    place.write("2025-01-14", changed.assign(area=changed["area"].astype(float)))
    numeric = replace(FEATURES, numeric=("area",))
    place.run("2025-01-14", gates=(), gateway_url="http://127.0.0.1:8000", features=numeric)
    assert b'"area":408' in place.stored("c-0-7")
    assert readable(place, "c-0-7")["area"] == "408"


def test_a_feature_that_the_new_version_leaves_out_is_stored_for_the_old_one(served):
    place = served
    place.write("2025-01-14", with_area(raw_frame(seed=0, day="2025-01-14")).assign(calls=3.0))
    without = replace(FEATURES, exclude=("plan",))
    outcome = place.run("2025-01-14", gates=(), gateway_url="http://127.0.0.1:8000", features=without)
    names = read_bundle(Path(outcome.bundle_path)).schema.names
    assert not {"plan", "calls"} & set(names)
    row = readable(place, "c-0-7")
    assert row["calls"] == 3.0
    assert row["plan"] in {"basic", "gold", "pro"}


def test_customers_without_a_label_are_served_with_their_newest_values(served):
    place, frame = served, with_area(raw_frame(seed=0, day="2025-01-14"))
    # Most customers have newer values and no label yet; one has never had a label.
    newer = frame.iloc[:1500].assign(
        event_time=frame["event_time"][:1500] + pd.Timedelta("1h"), minutes=frame["minutes"][:1500] + 1000.0, churn=None
    )
    newer.loc[7, "customer_id"] = "new-7"
    place.write("2025-01-14", pd.concat([frame.astype({"churn": object}), newer], ignore_index=True))
    outcome = place.run("2025-01-14", gates=(), gateway_url="http://127.0.0.1:8000")
    assert readable(place, "c-0-8")["minutes"] == pytest.approx(frame["minutes"][8] + 1000.0)
    assert readable(place, "c-0-7")["minutes"] == pytest.approx(frame["minutes"][7])
    assert readable(place, "new-7")["minutes"] == pytest.approx(frame["minutes"][7] + 1000.0)
    lineage = place.registry.get_version("churn-predictor", outcome.version).lineage
    assert (lineage["customers"], lineage["customers_served"]) == ("1600", "1601")
    folder = place.settings.home / "features" / "customer-churn-v3"
    newest = pd.read_parquet(place.settings.home / lineage["newest_features"])
    assert len(newest) == 1601
    learned = pd.read_parquet(place.settings.home / lineage["offline_features"])
    assert learned["minutes"].max() < 1000.0
    assert (
        sorted(one.name for one in folder.rglob("*") if one.is_file()) == ["newest.parquet"] * 2 + ["part.parquet"] * 2
    )


def test_a_previous_bundle_that_is_gone_is_told_and_kinds_are_inferred(served):
    place = served
    shutil.rmtree(place.folder_of(place.registry.get_version("churn-predictor", 1)))
    place.write("2025-01-14", with_area(raw_frame(seed=0, day="2025-01-14")))
    place.run("2025-01-14", gates=())
    assert any(one.startswith("the kinds of columns in version 3.1 are unknown") for one in place.progress.notices)
