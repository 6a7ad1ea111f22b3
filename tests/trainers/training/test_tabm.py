"""TabM: members share their matrices, learn for themselves, and are served as one probability."""

from dataclasses import asdict

import numpy as np
import pytest
import torch

from divisions.pipeline.definition import TabmHyperparams
from tests.trainers.churn import HYPERPARAMS, SCHEMA, rows_and_labels, training_data
from trainers.export.onnx_export import PARITY_TOLERANCE, check_parity, export_onnx
from trainers.training.evaluate import auc
from trainers.training.kinds import train
from trainers.training.model import build_model, logits_of, use_threads

MEMBERS = 4
TABM = TabmHyperparams(**{**asdict(HYPERPARAMS), "members": MEMBERS, "learning_rate": 0.01})
ROWS, LABELS = rows_and_labels(300, seed=2)


@pytest.fixture
def model():
    return build_model(SCHEMA, ROWS, TABM).eval()


def test_members_differ_only_by_their_adapters_and_biases(model):
    shared = [name for name, tensor in model.named_parameters() if tensor.shape[0] != MEMBERS]
    assert {name.split(".")[0] for name in shared if "weight_OI" in name} == {"body"}
    first = model.body[0]
    assert first.weight_OI.shape == (16, 4 * SCHEMA.num_columns)
    assert set(first.input_scale_KI.flatten().tolist()) == {-1.0, 1.0}
    assert model.training_logits(torch.from_numpy(ROWS)).shape == (300, MEMBERS)


def test_the_probability_is_the_mean_of_the_members_probabilities(model):
    members = torch.sigmoid(model.training_logits(torch.from_numpy(ROWS)))
    torch.testing.assert_close(model(torch.from_numpy(ROWS)), members.mean(dim=1), atol=1e-6, rtol=0)


def test_members_that_are_certain_still_give_a_finite_logit(model):
    with torch.no_grad():
        model.head_bias_K.fill_(200.0)
    logits = model.logits(torch.from_numpy(ROWS))
    assert torch.isfinite(logits).all()
    assert (logits > 60.0).all()


def test_recalibrating_twice_is_recalibrating_by_both(model):
    before = logits_of(model, ROWS)
    model.recalibrate(0.5, -2.0)
    model.recalibrate(2.0, 1.0)
    np.testing.assert_allclose(logits_of(model, ROWS), 2.0 * (0.5 * before - 2.0) + 1.0, atol=1e-5)


def test_it_learns_and_its_graph_gives_the_same_probabilities():
    use_threads(1)
    trained = train(SCHEMA, training_data(600), TABM, lambda *_: None)
    assert auc(LABELS, logits_of(trained, ROWS)) > 0.85
    trained.recalibrate(1.5, -0.3)
    model_onnx = export_onnx(trained, SCHEMA, {})
    assert check_parity(trained, SCHEMA, model_onnx, ROWS, seed=1) <= PARITY_TOLERANCE
