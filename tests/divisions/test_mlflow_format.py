"""MLflow reads what we write: its own loader, signature and example, and the answers are those of our engine."""

from __future__ import annotations

import json

import msgspec
import numpy as np
import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from benchmarks.harness.bench_bundle import write_workload
from divisions.bundle import ONNX, Manifest, read_bundle
from divisions.mlflow_format import MLMODEL, mlflow_files, typical_row
from divisions.registry_run import log_bundle
from divisions.schema import Feature, FeatureKind, FeatureSchema
from serving.engines.onnx_runtime import OnnxRuntimeEngine
from tests.builders import registry_of

PACKAGES = {"mlflow": "3.17.2", "numpy": "2.4.6", "onnx": "1.23.2", "onnxruntime": "1.32.0"}
NUMERIC, BOOLEAN, CATEGORICAL = FeatureKind
SCHEMA = FeatureSchema(
    (Feature("minutes", NUMERIC), Feature("roams", BOOLEAN), Feature("plan", CATEGORICAL, ("basic", "gold")))
)
MANIFEST = Manifest("churn-predictor", "p", "r", "", SCHEMA, {}, {ONNX: "0"})


def reference(*histograms) -> bytes:
    names = [msgspec.to_builtins(feature) for feature in SCHEMA.features]
    return json.dumps(
        {
            "num_rows": 9,
            "histograms": [
                {"feature": feature, "counts": counts, "edges": edges}
                for feature, (counts, edges) in zip(names, histograms, strict=True)
            ],
        }
    ).encode()


def test_the_example_has_the_most_frequent_value_of_each_feature():
    made = reference(((3, 3, 3, 0), (10.0, 20.0)), ((2, 7, 0), ()), ((1, 6, 2, 0), ()))
    assert typical_row(SCHEMA, made) == [20.0, 1.0, 2.0]


def test_unknown_texts_missing_values_and_no_reference_give_zeros():
    made = reference(((0, 0, 0, 9), (10.0, 20.0)), ((0, 0, 9), ()), ((1, 2, 6, 0), ()))
    assert typical_row(SCHEMA, made) == typical_row(SCHEMA, b"") == [0.0, 0.0, 0.0]


def test_what_it_says_of_the_graph_and_its_features():
    files = mlflow_files(MANIFEST, b"", 5, PACKAGES, "run-1")
    told = yaml.safe_load(files[MLMODEL])
    assert next(iter(files)) == MLMODEL, "it is written last: without it there is no model"
    assert (told["run_id"], told["model_size_bytes"]) == ("run-1", 5)
    assert json.loads(told["signature"]["inputs"]) == [
        {"name": "rows", "type": "tensor", "tensor-spec": {"dtype": "float32", "shape": [-1, 3]}}
    ]
    assert told["metadata"]["divisions"]["bundle_sha256"] == MANIFEST.sha256
    assert told["metadata"]["divisions"]["features"][2] == {
        "name": "plan",
        "kind": "categorical",
        "categories": ["basic", "gold"],
    }
    assert files["requirements.txt"] == b"mlflow==3.17.2\nnumpy==2.4.6\nonnx==1.23.2\nonnxruntime==1.32.0\n"


def test_without_a_run_the_same_bundle_gives_the_same_bytes():
    first, second = (mlflow_files(MANIFEST, b"", 5, PACKAGES) for _ in range(2))
    assert first == second
    assert b"run_id" not in first[MLMODEL]


@settings(max_examples=40)
@example("a\x85b", ["  ", "\n", "é\U0001f600"])
@given(st.text(min_size=1, max_size=20), st.lists(st.text(max_size=8), max_size=3, unique=True))
def test_any_name_comes_back_from_the_yaml(name, categories):
    schema = FeatureSchema((Feature(name, CATEGORICAL, tuple(categories)),))
    files = mlflow_files(msgspec.structs.replace(MANIFEST, schema=schema), b"", 5, PACKAGES)
    (feature,) = yaml.safe_load(files[MLMODEL])["metadata"]["divisions"]["features"]
    assert (feature["name"], feature["categories"]) == (name, categories)


@pytest.fixture(scope="module")
def workload(tmp_path_factory):
    return write_workload(tmp_path_factory.mktemp("workload") / "bundle", seed=3, takes_any=True)


@pytest.fixture(scope="module")
def registry(tmp_path_factory, workload):
    return registry_of(workload, tmp_path_factory.mktemp("home"))


def test_mlflow_loads_a_version_by_its_alias_and_gives_our_engines_answers(registry, workload, monkeypatch):
    import mlflow

    monkeypatch.setenv("MLFLOW_TRACKING_URI", registry._uri)
    address = "models:/bench-model@production"
    rows = np.random.default_rng(1).normal(size=(40, 32)).astype(np.float32)
    rows[rows > 1.5] = np.nan  # missing values
    ours = OnnxRuntimeEngine(workload.onnx.read_bytes(), 32)
    ours.warm(64)
    assert mlflow.onnx.load_model(address).SerializeToString() == workload.onnx.read_bytes()
    theirs = mlflow.pyfunc.load_model(address)
    np.testing.assert_array_equal(theirs.predict({"rows": rows})["scores"], ours.run(rows))
    example = theirs.input_example
    assert np.asarray(example["rows"]).shape == (1, 32)
    theirs.predict(example)
    info = mlflow.models.get_model_info(address)
    assert info.run_id == registry.get_version("bench-model", "production").run_id
    with pytest.raises(mlflow.exceptions.MlflowException, match="does not match expected shape"):
        theirs.predict({"rows": rows[:, :5]})


def test_the_bundle_itself_has_no_file_more(workload):
    read_bundle(workload.bundle, workload.bundle_sha256)
    assert {path.name for path in workload.bundle.iterdir()} == {"manifest.json", "model.onnx"}


@pytest.mark.parametrize("dies_at", range(7))
def test_a_copy_that_breaks_off_is_no_model_to_mlflow(workload, dies_at):
    class Client:
        done = ()

        def log_artifacts(self, run_id, folder, path):
            self._step(["model.onnx"])

        def log_artifact(self, run_id, file, path):
            self._step([file.rpartition("/")[2]])

        def _step(self, names):
            self.calls = getattr(self, "calls", 0) + 1
            if self.calls > dies_at:
                raise OSError("the server is gone")
            self.done += tuple(names)

    client = Client()
    with pytest.raises(OSError, match="gone"):
        log_bundle(client, "r", workload.bundle, "bundle")
    assert MLMODEL not in client.done
