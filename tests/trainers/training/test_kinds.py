"""Every kind: trained, kept as the state of its last epoch, and restored from it."""

import copy
import io
from dataclasses import asdict, replace

import numpy as np
import pytest
import torch

from divisions.errors import TrainingError
from divisions.pipeline.definition import BoostingHyperparams, TabmHyperparams
from tests.trainers.churn import HYPERPARAMS, SCHEMA, rows_and_labels, training_data
from trainers.training.kinds import MAX_REPORTED_TREES, logits_of, restore, train
from trainers.training.loop import told_epochs

BOOSTING = BoostingHyperparams(epochs=30, patience=5)
KINDS = [HYPERPARAMS, TabmHyperparams(**asdict(HYPERPARAMS), members=3), BOOSTING]
ROWS, _ = rows_and_labels(100, seed=4)


def ids(hyperparams):
    return hyperparams.kind.value


def trained(hyperparams, data=None, **options):
    told = []
    model = train(
        SCHEMA,
        data or training_data(),
        hyperparams,
        lambda epoch, metrics, state: told.append((epoch, metrics, copy.deepcopy(state))),
        **options,
    )
    return model, told


@pytest.mark.parametrize("hyperparams", KINDS, ids=ids)
def test_the_state_of_the_last_epoch_brings_the_model_back(hyperparams):
    model, told = trained(hyperparams)
    buffer = io.BytesIO()
    torch.save(told[-1][2], buffer)
    state = torch.load(io.BytesIO(buffer.getvalue()), weights_only=True)
    assert state["epoch"] == hyperparams.epochs - 1
    np.testing.assert_array_equal(logits_of(restore(SCHEMA, hyperparams, state), ROWS), logits_of(model, ROWS))
    assert told_epochs(state) == [(epoch, metrics) for epoch, metrics, _ in told]


@pytest.mark.parametrize("hyperparams", KINDS, ids=ids)
def test_a_training_that_was_cut_off_ends_with_the_same_model(hyperparams):
    whole, told = trained(hyperparams)
    states = [state for _, _, state in told if state is not None and state["epoch"] < hyperparams.epochs - 1]
    resumed, _ = trained(hyperparams, resume_from=states[0] if states else None)
    np.testing.assert_array_equal(logits_of(resumed, ROWS), logits_of(whole, ROWS))


@pytest.mark.parametrize("hyperparams", KINDS[:2], ids=ids)
def test_a_network_ends_once_its_validation_loss_no_longer_falls(hyperparams):
    early = replace(hyperparams, epochs=60, patience=2, learning_rate=0.05)
    _, told = trained(early)
    losses = [metrics["valid_loss"] for _, metrics, _ in told]
    assert len(told) < 60
    assert int(np.argmin(losses)) == len(told) - 1 - 2
    assert told[-1][0] == len(told) - 1
    assert told[-1][2]["epoch"] == 59  # whoever resumes does not train on
    assert all(state["epoch"] == epoch for epoch, _, state in told[:-1])


def test_of_many_trees_a_hundred_are_told_and_the_last_one():
    many = replace(BOOSTING, epochs=3 * MAX_REPORTED_TREES + 1, patience=0, learning_rate=0.001, max_leaves=2)
    _, told = trained(many, training_data(60))
    assert [epoch for epoch, _, _ in told] == [*range(2, 3 * MAX_REPORTED_TREES, 3), 3 * MAX_REPORTED_TREES]


@pytest.mark.parametrize("hyperparams", KINDS, ids=ids)
def test_labels_that_are_no_numbers_are_told(hyperparams):
    data = training_data()
    labels = data.train_labels_N.copy()
    labels[3] = np.nan
    with pytest.raises(TrainingError, match="some labels are not a number"):
        trained(hyperparams, replace(data, train_labels_N=labels))


@pytest.mark.parametrize("hyperparams", KINDS, ids=ids)
def test_customers_that_leave_none_to_validate_on_are_told(hyperparams):
    data = training_data(10)
    few = replace(data, valid_rows_NF=data.valid_rows_NF[:0], valid_labels_N=data.valid_labels_N[:0])
    with pytest.raises(TrainingError, match="of 8 customers, none can be kept aside"):
        trained(hyperparams, few)


def test_a_rate_that_diverges_is_told():
    with pytest.raises(TrainingError, match="loss is no longer finite in epoch"):
        trained(replace(HYPERPARAMS, learning_rate=1e30))
