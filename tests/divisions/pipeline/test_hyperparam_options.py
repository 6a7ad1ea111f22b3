"""Each kind of model has hyperparameters of its own, and errors stand where the file is wrong."""

import pytest

from divisions.errors import PipelineError
from divisions.pipeline.definition import BoostingHyperparams, Hyperparams, ModelKind, TabmHyperparams
from divisions.pipeline.file import parse_pipeline

FILE = """\
pipeline: churn
stages:
  data_prep: {{input: data}}
  training:
    workers: {workers}
    hyperparams: {{{hyperparams}}}
  deployment: {{endpoint: /api/v2/predict/churn}}
model: {{kind: {kind}}}
serving: {{engine: {engine}}}
"""


def parsed(kind, hyperparams="", workers=1, engine="auto"):
    return parse_pipeline(FILE.format(kind=kind, hyperparams=hyperparams, workers=workers, engine=engine), "c.yaml")


def refused(*arguments, **options):
    with pytest.raises(PipelineError) as caught:
        parsed(*arguments, **options)
    return caught.value


@pytest.mark.parametrize(
    ("kind", "text", "expected"),
    [
        ("mlp", "patience: 5", Hyperparams(patience=5)),
        ("tabm", "members: 8, hidden: [64], seed: 3", TabmHyperparams(members=8, hidden=(64,), seed=3)),
        (
            "gradient_boosting",
            "max_leaves: 31, l2: 0.5, max_features: 1, min_leaf_rows: 5, patience: 0, epochs: 7, learning_rate: 0.1",
            BoostingHyperparams(0.1, 7, 31, 5, 0.5, 1.0, 0),
        ),
    ],
)
def test_each_kind_reads_its_own_keys(kind, text, expected):
    pipeline = parsed(kind, text)
    assert pipeline.training.hyperparams == expected
    assert pipeline.training.hyperparams.kind == pipeline.model.kind == ModelKind(kind)


@pytest.mark.parametrize(
    ("kind", "text", "key"),
    [
        ("mlp", "members: 8", "members"),
        ("tabm", "max_leaves: 8", "max_leaves"),
        ("gradient_boosting", "batch_size: 256", "batch_size"),
    ],
)
def test_keys_of_another_kind_are_errors_with_line_and_column(kind, text, key):
    error = refused(kind, text)
    assert f"unknown key '{key}'" in error.message
    assert (error.path, error.line, error.column) == ("c.yaml", 6, 19)


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("tabm", "members: 0"),
        ("tabm", "members: 257"),
        ("mlp", "patience: -1"),
        ("gradient_boosting", "max_leaves: 1"),
        ("gradient_boosting", "max_features: 0"),
        ("gradient_boosting", "max_features: 1.5"),
        ("gradient_boosting", "min_leaf_rows: 0"),
        ("gradient_boosting", "l2: -1"),
    ],
)
def test_values_out_of_range_are_errors(kind, text):
    assert "must be a" in refused(kind, text).message


def test_an_unknown_kind_names_those_that_there_are():
    error = refused("forest")
    assert "model.kind: must be 'mlp' or 'tabm' or 'gradient_boosting', got 'forest'" in error.message
    assert (error.line, error.column) == (8, 15)


def test_boosting_has_one_worker_and_the_engines_that_know_trees():
    error = refused("gradient_boosting", workers=2)
    assert "gradient_boosting trains in one process" in error.message
    assert (error.line, error.column) == (5, 14)
    error = refused("gradient_boosting", engine="tensorrt")
    assert "tensorrt cannot run gradient_boosting" in error.message
    assert (error.line, error.column) == (9, 19)
    assert parsed("gradient_boosting", engine="onnxruntime-cpu").serving.engine == "onnxruntime-cpu"
    assert parsed("tabm", workers=2, engine="tensorrt").training.workers == 2


def test_trees_serve_on_cpus_although_the_file_trains_on_a_gpu():
    def gpus(kind):
        text = FILE.format(kind=kind, hyperparams="", workers=1, engine="auto")
        return parse_pipeline(text.replace("workers: 1", "resources: T4-GPU")).serving.num_gpus

    assert (gpus("tabm"), gpus("gradient_boosting")) == (1, 0)
