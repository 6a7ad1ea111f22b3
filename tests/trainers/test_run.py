"""Whole runs in this process: data files, training, ONNX Runtime and MLflow are real, Ray and the gateway absent."""

from __future__ import annotations

import hashlib
import math
import re
import shutil
from pathlib import Path

import msgspec
import pytest
import torch

from divisions.artifacts.signing import facts_of
from divisions.bundle import Decision, bundle_address, read_bundle
from divisions.clock import ManualClock
from divisions.errors import (
    EmptyInputError,
    GateRefusedError,
    InputError,
    MissingColumnError,
    RegistryError,
)
from divisions.online_store import OnlineStoreReader, online_store_path
from divisions.pipeline.definition import (
    CHALLENGER_GATE,
    GUESSING_GATE,
    BoostingHyperparams,
    Comparison,
    Gate,
    OnUnknown,
)
from divisions.registry_run import RegistryRun
from tests.trainers.churn import raw_frame
from tests.trainers.place import AUC_GATE, Place, artifact, details
from trainers.data.online_features import fill_from_offline
from trainers.training.compute import InProcess


def newest_run(registry):
    """The newest run, which may have failed before it had a version."""
    client = registry._client
    ids = [experiment.experiment_id for experiment in client.search_experiments()]
    (run,) = client.search_runs(ids, max_results=1, order_by=["attributes.start_time DESC"])
    return registry.get_run(run.info.run_id)


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


def test_a_run_notes_what_it_has_trained_on(place, first):
    tags = place.registry.get_run(first[0].run_id).tags
    assert (tags["training_device"], tags["training_precision"]) == ("CPU", "float32")


def test_a_run_makes_a_checked_bundle_and_a_registered_version(place, first):
    outcome, progress = first
    assert (outcome.model, outcome.version, outcome.validation_status) == ("churn-predictor", "3.1", "passed")
    assert outcome.metrics["auc"] > 0.8
    version = place.registry.get_version("churn-predictor", outcome.version)
    assert version.bundle_path == Path(bundle_address(version.model, version.bundle_sha256))
    manifest = read_bundle(place.folder_of(version), version.bundle_sha256)
    assert set(manifest.files) == {"model.onnx", "model.fp16.onnx", "reference.json"}
    report = details(place.registry, outcome.run_id)
    columns = {column["name"]: column for column in report["data"]["columns"]}
    assert columns["plan"]["why"] == "inferred: 100 % of its values are texts"
    assert (columns["calls"]["kind"], columns["calls"]["missing"]) == ("numeric", 0)
    calibration = report["calibration"]
    assert calibration["slope"] > 0.0
    assert calibration["error_after"] == outcome.metrics["calibration_error"]
    assert calibration["error_before"] == outcome.metrics["calibration_error_before"]
    assert manifest.decision == Decision("max_f1", outcome.metrics["decision_threshold"])
    assert report["decision"] == {"rule": "max_f1", "threshold": manifest.decision_threshold, "notes": []}
    assert outcome.metrics["f1"] > 0.7
    assert outcome.run_id == version.run_id == version.trained_by
    assert (manifest.run_id, manifest.created_at, manifest.input_uri, manifest.format_version) == ("", "", "", 2)
    assert manifest.schema.names == ("minutes", "plan", "calls", "roams")
    assert progress.epochs == 12
    assert progress.done == [
        "Prepare the data",
        "Train",
        "Calibrate",
        "Export to ONNX",
        "Validate",
        "Report",
        "Register",
    ]


def test_the_run_has_a_validation_report_for_people_and_one_for_programs(place, first):
    outcome, _ = first
    report = msgspec.json.decode(artifact(place.registry, outcome.run_id, "report.json"))
    assert report["verdict"] == "passed"
    assert report["roc"][0] == [0.0, 0.0]
    assert report["roc"][-1] == [1.0, 1.0]
    assert (
        sum(part["num_rows"] for part in report["slices"] if part["feature"] == "plan")
        == outcome.metrics["holdout_rows"]
    )
    assert {one["feature"] for one in report["importance"]} == {"minutes", "plan", "calls", "roams"}
    assert {one["feature"] for one in report["importance"][:2]} == {"calls", "plan"}, "the label is made of these"
    assert [one["psi_champion"] for one in report["features"]] == [None] * 4
    chosen = [row for row in report["thresholds"] if row["threshold"] == report["threshold"]]
    assert chosen[0]["precision"] == pytest.approx(outcome.metrics["precision"])
    page = artifact(place.registry, outcome.run_id, "report.html")
    assert page.count("<svg") == 3
    version = place.registry.get_version("churn-predictor", outcome.registry_version)
    assert version.lineage["report_sha256"] == hashlib.sha256(page.encode()).hexdigest()
    assert "trainer" not in version.lineage, "no gateway was asked"
    assert "<script" not in page


def test_probabilities_that_are_wrong_are_corrected_in_the_graph_that_serves(tmp_path, monkeypatch):
    """Training that ends with logits three times too large: the bundle's graph gives calibrated probabilities."""
    train = InProcess.train

    def train_too_sure(self, *arguments):
        model = train(self, *arguments)
        model.recalibrate(3.0, 1.0)
        return model

    monkeypatch.setattr(InProcess, "train", train_too_sure)
    place = Place(tmp_path)
    place.write("2025-01-13", raw_frame(seed=0))
    outcome = place.run("2025-01-13")
    assert outcome.metrics["calibration_error"] < outcome.metrics["calibration_error_before"] / 2
    report = details(place.registry, outcome.run_id)
    assert report["calibration"]["slope"] == pytest.approx(1 / 3, abs=0.15)


def test_trees_pass_the_same_stages_and_say_what_cannot_run_them(tmp_path):
    place = Place(tmp_path)
    place.write("2025-01-13", raw_frame(seed=0))
    outcome = place.run("2025-01-13", hyperparams=BoostingHyperparams(epochs=60, learning_rate=0.2, patience=10))
    assert outcome.validation_status == "passed"
    assert outcome.metrics["auc"] > 0.85
    version = place.registry.get_version("churn-predictor", 1)
    manifest = read_bundle(place.folder_of(version), outcome.bundle_sha256)
    assert manifest.framework.startswith("scikit-learn ")
    assert sum("TensorRT has no trees" in notice for notice in place.progress.notices) == 1
    assert 10 < place.progress.epochs < 60, "it ended early"


def test_the_registry_knows_data_parameters_and_every_epoch(place, first):
    outcome, _ = first
    record = place.registry.get_run(outcome.run_id)
    assert record.status == "FINISHED"
    assert record.params["learning_rate"] == "0.01"
    assert record.params["decision"] == "max_f1"
    assert record.params["gates"] == "auc > 0.7; drift_score < 0.15"
    assert record.metrics["auc"] == outcome.metrics["auc"]
    lineage = place.registry.get_version("churn-predictor", 1).lineage
    assert lineage["partition"] == "2025-01-13"
    assert (lineage["rows_read"], lineage["customers"]) == ("1600", "1600")
    assert len(lineage["data_sha256"]) == len(lineage["pipeline_sha256"]) == 64
    history = place.registry._client.get_metric_history(outcome.run_id, "train_loss")
    assert [metric.step for metric in history] == list(range(1, 13))


def test_the_same_training_in_another_home_and_later_gives_the_same_bundle(place, first, tmp_path):
    outcome, _ = first
    other = Place(tmp_path)
    other.clock = ManualClock(wall_s=1_800_000_000.0)
    other.write("2025-01-13", raw_frame(seed=0))
    again = other.run("2025-01-13")
    assert again.run_id != outcome.run_id
    assert again.bundle_sha256 == outcome.bundle_sha256
    version = other.registry.get_version("churn-predictor", "3.1")
    facts = facts_of(other.registry, version, read_bundle(other.folder_of(version), version.bundle_sha256))
    assert (facts.run_id, facts.input_uri) == (again.run_id, version.lineage["input_uri"])
    assert facts.created_at.startswith("20")
    assert str(tmp_path) not in (other.folder_of(version) / "model.onnx").read_bytes().decode("latin-1")


def test_a_report_that_the_registry_does_not_keep_is_in_the_home(tmp_path, monkeypatch):
    def refuse(*_):
        raise RegistryError("no room")

    monkeypatch.setattr(RegistryRun, "log_texts", refuse)
    place = Place(tmp_path, epochs=1)
    place.write("2025-01-13", raw_frame(400))
    impossible = Gate("auc", Comparison.GREATER, 1.0)
    with pytest.raises(GateRefusedError) as refused:
        place.run("2025-01-13", gates=(impossible,))
    (page,) = place.settings.home.glob("reports/*/validation/report.html")
    assert str(page) in refused.value.remedy
    assert any(f"(no room): it is in {page.parents[1]}" in one for one in place.progress.notices)
    assert "rows_read" in page.with_name("details.json").read_text()


def test_a_run_without_a_rollout_does_not_touch_the_online_store(tmp_path):
    place = Place(tmp_path, epochs=1)
    place.write("2025-01-13", raw_frame(seed=0))
    outcome = place.run("2025-01-13", gates=())
    assert not online_store_path(place.settings.home).exists()
    version = place.registry.get_version("churn-predictor", outcome.version)
    schema = read_bundle(place.folder_of(version)).schema
    assert "1,600 customers" in fill_from_offline(place.settings, "elsewhere", version, schema)
    stored = OnlineStoreReader(online_store_path(place.settings.home), "elsewhere").get("c-0-7")
    assert b'"plan"' in stored


def test_the_next_version_is_compared_with_the_previous_one(place, first):
    outcome = place.run("2025-01-14")
    assert 0.0 <= outcome.metrics["drift_score"] < 0.15
    version = place.registry.get_version("churn-predictor", outcome.version)
    assert version.aliases == ("staging",)
    parent = place.registry.get_version("churn-predictor", version.lineage["parent_version"])
    assert parent.validation_status == "passed"


def test_a_challenger_that_is_worse_by_more_than_chance_is_refused(tmp_path, monkeypatch):
    place = Place(tmp_path)
    place.write("2025-01-13", raw_frame(seed=0))
    gates = (CHALLENGER_GATE, Gate("latency_p99_ms", Comparison.LESS, 5.0))
    first = place.run("2025-01-13", gates=gates)  # no version to compare with
    assert "auc_gain" not in first.metrics
    assert first.metrics["latency_p99_ms"] == 0.0  # by the clock of this test
    (made,) = place.progress.notices
    assert made.startswith("the model registry of this home is being made")
    train = InProcess.train

    def train_badly(self, *arguments):
        model = train(self, *arguments)
        with torch.no_grad():
            model.head.weight.zero_()  # the same score for everybody
        return model

    monkeypatch.setattr(InProcess, "train", train_badly)
    with pytest.raises(
        GateRefusedError, match=r"challenger: not_worse: auc is 0\.5000 and that of version 3\.1 0\.\d+"
    ):
        place.run("2025-01-13", gates=gates)
    failed = place.registry.list_versions("churn-predictor")[0]
    assert failed.metrics["auc_gain_upper"] < 0.0
    champion = details(place.registry, failed.run_id)["champion"]
    assert champion["auc"] == pytest.approx(first.metrics["auc"])
    assert (champion["note"], champion["upper"]) == ("version 3.1", failed.metrics["auc_gain_upper"])
    monkeypatch.setattr(InProcess, "train", train)
    page = artifact(place.registry, failed.run_id, "report.html")
    assert "refused: challenger: not_worse" in page
    again = place.run("2025-01-13", gates=gates)
    assert (again.metrics["auc_gain"], again.metrics["auc_gain_upper"]) == (0.0, 0.0)


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
    reference = other.folder_of(other.registry.get_version("churn-predictor", 1)) / "reference.json"

    def damage():
        reference.chmod(0o644)
        reference.write_bytes(reference.read_bytes() + b" ")

    damage()
    with pytest.raises(GateRefusedError, match=r"drift_score is unknown against version 3\.1: .*`on_unknown: pass`"):
        other.run("2025-01-13", on_unknown=OnUnknown.REFUSE)
    failed = other.registry.get_version("churn-predictor", 2)
    assert "drift_score" not in failed.metrics
    report = details(other.registry, failed.run_id)
    assert "was changed after it was written" in report["drift"]["note"]
    assert report["metrics"]["drift_score"] is None
    assert not math.isnan(outcome.metrics["drift_score"])
    assert failed.bundle_sha256 == outcome.bundle_sha256, "although it has a version before it"
    assert read_bundle(other.folder_of(failed), failed.bundle_sha256), "the same content mends what was damaged"
    assert any("it was written anew" in one for one in other.progress.notices)
    damage()
    again = other.run("2025-01-13")
    assert again.validation_status == "passed"
    (warning,) = (one for one in other.progress.notices if one.startswith("gate drift_score < 0.15 is not judged"))
    assert "was changed after it was written" in warning
    assert "`on_unknown: refuse`" in warning


def test_few_customers_can_be_trained_on_again_and_again(tmp_path):
    place = Place(tmp_path)
    place.write("2025-01-13", raw_frame(600))
    place.run("2025-01-13")
    outcome = place.run("2025-01-13")
    assert outcome.validation_status == "passed"
    assert "drift_score" not in outcome.metrics
    notices = "\n".join(place.progress.notices)
    assert re.search(r"drift_score is unknown against version 3\.1: 4\d\d customers are fewer than 1,000", notices)
    report = details(place.registry, outcome.run_id)
    assert [(gate["verdict"], gate["refused"]) for gate in report["gates"]] == [("pass", False), ("unknown", False)]
    assert len(report["warnings"]) == 1
    with pytest.raises(GateRefusedError, match=r"4\d\d customers are fewer than 1,000"):
        place.run("2025-01-13", on_unknown=OnUnknown.REFUSE)


def test_a_model_that_guesses_is_refused_with_its_figures(tmp_path):
    place = Place(tmp_path, epochs=2)
    frame = raw_frame(400)
    place.write("2025-01-13", frame.assign(churn=frame["churn"].sample(frac=1.0, random_state=1, ignore_index=True)))
    with pytest.raises(GateRefusedError, match=r"not better than guessing: auc is 0\.\d+ on \d+ hold-out customers"):
        place.run("2025-01-13", gates=(GUESSING_GATE,))
    failed = place.registry.list_versions("churn-predictor")[0]
    assert failed.validation_status == "failed"
    assert failed.metrics["auc_lower_bound"] < 0.5
    assert place.run("2025-01-13", gates=()).validation_status == "passed"


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


def test_a_full_home_is_named_as_one(place, first):
    partition = place.settings.home / "features" / "customer-churn-v3" / "partition=2025-01-14"
    partition.mkdir(parents=True, exist_ok=True)
    (partition / ".part.parquet.draft").symlink_to("/dev/full")
    with pytest.raises(InputError, match=r"writing the offline features failed: no space left in .*move the home"):
        place.run("2025-01-14")
    assert newest_run(place.registry).status == "FAILED"
    shutil.rmtree(partition)
