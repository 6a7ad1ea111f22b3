"""Whole imports in this process: data, gates, ONNX Runtime and MLflow are real."""

from __future__ import annotations

import io
import json
import shutil

import numpy as np
import onnx
import pytest

from deploy.model_import.start import ImportOptions, import_model
from divisions.artifacts.cache import Bundles
from divisions.bundle import ONNX
from divisions.errors import (
    BundleError,
    GateRefusedError,
    MissingColumnError,
    RegistryError,
    TrainingError,
    UsageError,
)
from divisions.progress import LineProgress
from divisions.registry import Registry
from divisions.settings import Settings
from serving.engines.onnx_runtime import OnnxRuntimeEngine
from tests.deploy.model_import.graphs import identity, logistic, value
from tests.trainers.churn import raw_frame

PIPELINE = """
pipeline: "customer-churn-v3"
stages:
  data_prep: {input: "DATA"}
  training: {hyperparams: {epochs: 1}}
  validation: {metric_threshold: "auc > GATE"}
  deployment: {strategy: "canary: 20% -> 100%", endpoint: "/api/v2/predict/churn"}
"""
# Those who call often leave, and those on plan "pro", whose code is 1 here, and 3 in the data's own schema.
FEATURES = [
    {"name": "calls", "kind": "numeric"},
    {"name": "plan", "kind": "categorical", "categories": ["pro"]},
]
GOOD = logistic(weights=(1.5, 4.0), offset=-5.0)
WORSE = logistic(weights=(-1.5, -4.0), offset=5.0)


class Place:
    def __init__(self, folder):
        self.folder = folder
        self.settings = Settings(home=folder / "home")
        self.registry = Registry(self.settings.home)
        raw_frame().to_parquet(folder / "events.parquet")
        self.write("schema.json", json.dumps({"model": "theirs", "features": FEATURES}))

    def write(self, name, text):
        (self.folder / name).write_text(text)
        return self.folder / name

    def run(self, source, gate="0.7", schema="schema.json", registry=None, told=None):
        if isinstance(source, bytes):
            path = self.folder / "model.onnx"
            path.write_bytes(source)
            source = str(path)
        text = PIPELINE.replace("DATA", str(self.folder / "events.parquet")).replace("GATE", gate)
        options = ImportOptions(source, self.folder / schema, self.write("pipeline.yaml", text))
        return import_model(options, self.settings, registry or self.registry, LineProgress(told or io.StringIO()))

    def passed(self):
        versions = Registry(self.settings.home).list_versions("churn-predictor")
        return [version.version for version in versions if version.validation_status == "passed" or version.aliases]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return Place(tmp_path_factory.mktemp("place"))


@pytest.fixture(scope="module")
def imported(place):
    outcome = place.run(GOOD)
    assert place.registry.get_version("churn-predictor", "staging").version == outcome.version
    return outcome


def served_by_us(place, version, rows):
    """The answers of the engine that a replica would run."""
    folder, manifest = Bundles.of(place.settings).open(version.bundle_path, version.bundle_sha256)
    engine = OnnxRuntimeEngine((folder / ONNX).read_bytes(), manifest.schema.num_columns)
    engine.warm(64)
    return engine.run(rows), manifest


def test_an_onnx_file_becomes_a_version_that_may_be_rolled_out(place, imported):
    version = place.registry.get_version("churn-predictor", imported.version)
    assert version.validation_status == "passed"
    assert version.metrics["auc"] > 0.8
    assert version.lineage["imported_from"] == "model.onnx"
    assert len(version.lineage["imported_sha256"]) == len(version.lineage["data_sha256"]) == 64
    scores, manifest = served_by_us(place, version, np.float32([[0, 0], [5, 0], [0, 1], [5, 1]]))
    np.testing.assert_allclose(scores, 1 / (1 + np.exp(-np.array([-5.0, 2.5, -1.0, 6.5]))), atol=1e-6)
    assert manifest.schema.names == ("calls", "plan")
    assert (manifest.schema.entity, manifest.schema.label) == ("customer_id", "churn")
    assert manifest.framework.startswith("onnx")


def test_its_run_has_the_gates_and_the_decision_as_any_other(place, imported):
    params = place.registry.get_run(imported.run_id).params
    assert params["kind"] == "imported"
    assert params["gates"].startswith("auc_lower_bound > 0.5; auc > 0.7")
    assert params["decision"] == "max_f1"


def test_it_is_told_what_the_model_cannot_do_without(place, imported):
    told = io.StringIO()
    place.run(GOOD, told=told)
    assert "gives no probability" not in told.getvalue()
    place.run(logistic(weights=(1.5, 4.0), offset=-5.0, fills=False), told=told)
    assert "gives no probability where calls, plan is missing: such requests will fail with 502" in told.getvalue()


def test_the_same_gates_refuse_it_and_it_is_registered_as_failed(place, imported):
    before = place.passed()
    with pytest.raises(GateRefusedError, match="auc"):
        place.run(WORSE)
    newest = place.registry.list_versions("churn-predictor")[0]
    assert newest.validation_status == "failed"
    assert place.passed() == before


def test_a_version_of_plain_mlflow_is_imported_and_answers_as_mlflow_does(place, imported, monkeypatch):
    import mlflow

    monkeypatch.setenv("MLFLOW_TRACKING_URI", place.registry._uri)
    experiment = mlflow.create_experiment("theirs", place.folder.as_uri() + "/theirs")
    model = onnx.ModelProto.FromString(GOOD)
    # MLflow keeps tensors of more than 1 KiB in files of their own.
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.zeros(999, np.float32), "large"))
    with mlflow.start_run(experiment_id=experiment):
        mlflow.onnx.log_model(model, name="model", registered_model_name="plain")
    outcome = place.run("models:/plain/1")
    version = place.registry.get_version("churn-predictor", outcome.version)
    assert version.lineage["imported_from"] == "models:/plain/1"
    rows = np.random.default_rng(0).integers(0, 6, (50, 2)).astype(np.float32)
    theirs = mlflow.pyfunc.load_model("models:/plain/1").predict(rows)["probabilities"][:, 1]
    ours_by_mlflow = mlflow.pyfunc.load_model(f"models:/churn-predictor/{version.registry_version}").predict(rows)
    scores, _ = served_by_us(place, version, rows)
    np.testing.assert_allclose(scores, theirs, atol=1e-6)
    np.testing.assert_array_equal(ours_by_mlflow["scores"], scores)


def test_what_cannot_serve_leaves_no_run_and_no_version(place, imported, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    before = len(place.registry.list_versions()), runs(place)
    for source, error, message in (
        (b"no model", BundleError, "is no ONNX model"),
        (identity([value("x", "N", 9)], [value("y", "N", 2)]), BundleError, "the schema has 2 features"),
        (str(place.folder / "absent.onnx"), UsageError, "absent.onnx cannot be read"),
        ("models:/absent/1", RegistryError, "fetch models:/absent/1.*`divisions models list` shows what it has"),
        ("models:/absent/3.2", RegistryError, "names no number of the registry.*the 2 of 3.2"),
        ("models:/absent", RegistryError, "names no version"),
    ):
        with pytest.raises(error, match=message) as refused:
            place.run(source)
        assert "\n" not in str(refused.value)
    assert (len(place.registry.list_versions()), runs(place)) == before
    assert not list(tmp_path.iterdir()), "MLflow likes to make a registry in the current folder"


def test_scores_that_are_no_probabilities_and_absent_columns_leave_a_failed_run(place, imported):
    before = len(place.registry.list_versions())
    place.write("counts.json", json.dumps({"features": FEATURES[::-1]}))  # the second column has counts
    with pytest.raises(TrainingError, match=r"a score that is no probability.*sigmoid"):
        place.run(identity([value("x", "N", 2)], [value("y", "N", 2)]), schema="counts.json")
    place.write("other.json", json.dumps({"features": [FEATURES[0], {"name": "income", "kind": "numeric"}]}))
    with pytest.raises(MissingColumnError, match="no column 'income', a feature of the imported model"):
        place.run(GOOD, schema="other.json")
    assert len(place.registry.list_versions()) == before


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "is no feature schema"),
        ("{}", "is no feature schema: .*`features`"),
        ('{"features": []}', "has no features"),
        ('{"features": [{"name": "a", "kind": "number"}]}', "Invalid enum value 'number'"),
        ('{"features": [{"name": "a", "kind": "numeric"}, {"name": "a", "kind": "numeric"}]}', "names 'a' twice"),
    ],
)
def test_a_schema_that_is_none_is_refused(place, text, message):
    place.write("bad.json", text)
    with pytest.raises(UsageError, match=message):
        place.run(GOOD, schema="bad.json")


def runs(place):
    client = place.registry._client
    return len(client.search_runs([each.experiment_id for each in client.search_experiments()]))


STEPS = [
    "create_run",
    "log_batch",
    "log_inputs",
    "log_artifacts",
    "log_artifact",
    "create_registered_model",
    "create_model_version",
    "set_model_version_tag",
    "set_registered_model_alias",
    "set_terminated",
]


class Dying:
    """MLflow's client, until the first call of one name: from then on, nothing answers."""

    def __init__(self, client, dies_at):
        self._client, self._dies_at, self._is_dead = client, dies_at, False

    def __getattr__(self, name):
        real = getattr(self._client, name)

        def call(*given, **more):
            self._is_dead = self._is_dead or name == self._dies_at
            if self._is_dead:
                raise ConnectionError("the registry is gone")
            return real(*given, **more)

        return call


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    """A home whose database has its tables: to make them takes seconds."""
    registry = Registry(tmp_path_factory.mktemp("template"))
    assert registry._client is not None
    return registry._home


@pytest.mark.parametrize("dies_at", STEPS)
def test_a_registry_that_dies_in_any_step_has_nothing_half_registered(tmp_path, template, dies_at):
    shutil.copytree(template, tmp_path / "home")
    place = Place(tmp_path)
    place.registry._client_or_none = Dying(place.registry._client, dies_at)
    with pytest.raises(RegistryError, match="the registry is gone"):
        place.run(GOOD)
    is_registered = dies_at in {"set_registered_model_alias", "set_terminated"}
    assert place.passed() == (["3.1"] if is_registered else [])
    outcome = place.run(GOOD, registry=Registry(place.settings.home))
    newest = Registry(place.settings.home).get_version("churn-predictor", "staging")
    assert (newest.version, newest.validation_status) == (outcome.version, "passed")
