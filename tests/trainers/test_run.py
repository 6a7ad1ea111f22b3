"""Whole runs in this process: data files, training, ONNX Runtime and MLflow are real, Ray and the gateway absent."""

from __future__ import annotations

import datetime as dt
import math
from dataclasses import replace

import msgspec
import pytest

from divisions.bundle import read_bundle
from divisions.clock import ManualClock
from divisions.control import RolloutSpec
from divisions.errors import EmptyInputError, GateRefusedError, MissingColumnError
from divisions.online_store import OnlineStoreReader, online_store_path
from divisions.pipeline.definition import (
    DRIFT_GATE,
    Comparison,
    DataPrep,
    Deployment,
    Gate,
    Model,
    Pipeline,
    Serving,
    Training,
    Validation,
)
from divisions.registry import Registry
from divisions.settings import Settings
from tests.trainers.churn import FEATURES, HYPERPARAMS, raw_frame
from trainers import run as run_module
from trainers.deployment import Usage
from trainers.run import PipelineRun, RunRequest
from trainers.training.compute import InProcess

AUC_GATE = Gate("auc", Comparison.GREATER, 0.7)


def newest_run(registry):
    """The newest run, which may have failed before it had a version."""
    client = registry._client
    ids = [experiment.experiment_id for experiment in client.search_experiments()]
    (run,) = client.search_runs(ids, max_results=1, order_by=["attributes.start_time DESC"])
    return registry.get_run(run.info.run_id)


class RecordingProgress:
    """A `Progress` that keeps what it is told."""

    def __init__(self):
        self.done, self.failed, self.notices, self.epochs = [], [], [], 0

    def step_started(self, name): ...

    def step_finished(self, name, seconds, detail):
        self.done.append(name.split(" of ")[0])

    def step_failed(self, name, seconds):
        self.failed.append(name.split(" of ")[0])

    def epoch_finished(self, epoch, num_epochs, metrics):
        self.epochs += 1

    def notice(self, text):
        self.notices.append(text)


class Place:
    """One home with its raw data."""

    def __init__(self, folder):
        self.folder = folder
        self.settings = Settings(home=folder / "home")
        self.registry = Registry(self.settings.home)
        self.progress = RecordingProgress()

    def write(self, day, frame):
        partition = self.folder / "raw" / f"partition={day}"
        partition.mkdir(parents=True, exist_ok=True)
        frame.to_parquet(partition / "events.parquet")

    def run(self, day, gates=(AUC_GATE, DRIFT_GATE), gateway_url="", serving=None):
        self.progress = RecordingProgress()
        pipeline = Pipeline(
            name="customer-churn-v3",
            data_prep=DataPrep(input=f"{self.folder}/raw/partition=${{today}}"),
            deployment=Deployment(endpoint="churn"),
            training=Training(hyperparams=replace(HYPERPARAMS, epochs=12, learning_rate=0.01)),
            validation=Validation(gates=gates),
            features=FEATURES,
            model=Model(major=3),
            serving=serving or Serving(),
        )
        request = RunRequest(
            pipeline, "pipeline: customer-churn-v3", dt.date.fromisoformat(day), gateway_url=gateway_url
        )
        run = PipelineRun(self.settings, self.registry, InProcess(), self.progress, ManualClock())
        return run.run(request)

    def stored(self, customer):
        return OnlineStoreReader(online_store_path(self.settings.home), "churn").get(customer)


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Place:
    place = Place(tmp_path_factory.mktemp("place"))
    place.write("2025-01-13", raw_frame(seed=0))
    place.write("2025-01-14", raw_frame(seed=1, day="2025-01-14"))
    shifted = raw_frame(seed=2, day="2025-01-15")
    shifted["minutes"] += 200.0
    place.write("2025-01-15", shifted)
    return place


@pytest.fixture(scope="module")
def first(place):
    outcome = place.run("2025-01-13")
    return outcome, place.progress


def test_a_run_makes_a_checked_bundle_and_a_registered_version(place, first):
    outcome, progress = first
    assert (outcome.model, outcome.version, outcome.validation_status) == ("churn-predictor", "3.1", "passed")
    assert outcome.metrics["auc"] > 0.8
    version = place.registry.get_version("churn-predictor", outcome.version)
    manifest = read_bundle(version.bundle_path, version.bundle_sha256)
    assert set(manifest.files) == {"model.onnx", "model.fp16.onnx", "reference.json", "report.json"}
    assert manifest.run_id == outcome.run_id == version.run_id
    assert manifest.schema.names == ("minutes", "plan", "calls", "roams")
    assert progress.epochs == 12
    steps = ["Prepare the data", "Train", "Export to ONNX", "Validate", "Register", "Fill the online store"]
    assert progress.done == steps


def test_the_registry_knows_data_parameters_and_every_epoch(place, first):
    outcome, _ = first
    record = place.registry.get_run(outcome.run_id)
    assert record.status == "FINISHED"
    assert record.params["learning_rate"] == "0.01"
    assert record.params["gates"] == "auc > 0.7; drift_score < 0.15"
    assert record.metrics["auc"] == outcome.metrics["auc"]
    lineage = place.registry.get_version("churn-predictor", 1).lineage
    assert lineage["partition"] == "2025-01-13"
    assert (lineage["rows_read"], lineage["customers"]) == ("1600", "1600")
    assert len(lineage["data_sha256"]) == len(lineage["pipeline_sha256"]) == 64
    history = place.registry._client.get_metric_history(outcome.run_id, "train_loss")
    assert [metric.step for metric in history] == list(range(1, 13))


def test_the_online_store_has_the_customers(place, first):
    assert b'"plan"' in place.stored("c-0-7")


def test_the_next_version_is_compared_with_the_previous_one(place, first):
    outcome = place.run("2025-01-14")
    assert 0.0 <= outcome.metrics["drift_score"] < 0.15
    version = place.registry.get_version("churn-predictor", outcome.version)
    assert version.aliases == ("staging",)
    parent = place.registry.get_version("churn-predictor", version.lineage["parent_version"])
    assert parent.validation_status == "passed"


def test_data_that_drifted_is_refused_registered_as_failed_and_not_served(place, first):
    with pytest.raises(GateRefusedError, match=r"drift_score < 0\.15: drift_score is [0-9.]+"):
        place.run("2025-01-15", gateway_url="http://127.0.0.1:1")
    newest = place.registry.list_versions("churn-predictor")[0]
    assert newest.validation_status == "failed"
    assert newest.aliases == ()
    assert newest.message.startswith("drift_score < 0.15")
    assert "Fill the online store" not in place.progress.done
    assert place.stored("c-2-7") is None
    assert place.registry.get_run(newest.run_id).status == "FINISHED"


def test_a_metric_without_a_value_refuses(place, first):
    with pytest.raises(GateRefusedError, match="fairness > 0: fairness is unknown"):
        place.run("2025-01-13", gates=(AUC_GATE, Gate("fairness", Comparison.GREATER, 0.0)))


def test_a_damaged_bundle_of_the_previous_version_makes_drift_unknown(place, first, tmp_path):
    other = Place(tmp_path)
    other.write("2025-01-13", raw_frame(seed=0))
    outcome = other.run("2025-01-13")
    reference = other.registry.get_version("churn-predictor", 1).bundle_path / "reference.json"
    reference.chmod(0o644)
    reference.write_bytes(reference.read_bytes() + b" ")
    with pytest.raises(GateRefusedError, match="drift_score is unknown"):
        other.run("2025-01-13")
    failed = other.registry.get_version("churn-predictor", 2)
    assert "drift_score" not in failed.metrics
    report = msgspec.json.decode((failed.bundle_path / "report.json").read_bytes())
    assert "was changed after it was written" in report["drift"]["note"]
    assert report["metrics"]["drift_score"] is None
    assert not math.isnan(outcome.metrics["drift_score"])


@pytest.mark.parametrize(
    ("day", "frame", "error"),
    [
        ("2025-02-01", None, EmptyInputError),
        ("2025-02-02", raw_frame(50).drop(columns="churn"), MissingColumnError),
    ],
)
def test_input_that_cannot_be_used_leaves_a_failed_run_and_no_version(place, first, day, frame, error):
    versions = place.registry.list_versions()
    if frame is None:
        place.write(day, raw_frame(50).iloc[:0])
    else:
        place.write(day, frame)
    with pytest.raises(error):
        place.run(day)
    assert place.registry.list_versions() == versions
    run = newest_run(place.registry)
    assert run.status == "FAILED"
    assert run.tags["error"].startswith(error.__name__)
    assert place.progress.failed == ["Prepare the data"]


def test_a_version_that_passed_is_rolled_out(place, first, monkeypatch):
    wishes = []

    def wish(url, home, spec):
        wishes.append((url, home, spec))
        return _Status()

    monkeypatch.setattr(run_module, "start_rollout", wish)
    monkeypatch.setattr(run_module, "read_usage", lambda *_: Usage())
    outcome = place.run("2025-01-13", gateway_url="http://127.0.0.1:8000", serving=Serving(replicas=3, num_gpus=1.0))
    ((url, home, spec),) = wishes
    assert (url, home) == ("http://127.0.0.1:8000", place.settings.home)
    assert isinstance(spec, RolloutSpec)
    assert (spec.endpoint, spec.steps_bp) == ("churn", (2_000, 5_000, 10_000))
    assert (spec.version.version, spec.version.bundle_sha256) == (outcome.version, outcome.bundle_sha256)
    assert (spec.version.replicas, spec.version.num_gpus) == (3, 0.0)
    assert "serving asks for 1 GPU per replica, the cluster has none: serving on CPUs" in place.progress.notices
    assert outcome.rollout == "WARMING"


class _Status:
    phase = "WARMING"
