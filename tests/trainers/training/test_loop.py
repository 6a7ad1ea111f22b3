import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch

from divisions.errors import TrainingError
from divisions.pipeline.definition import Hyperparams, TabmHyperparams
from tests.trainers.churn import HYPERPARAMS, SCHEMA, training_data
from trainers.training.loop import Shard, train, validate
from trainers.training.model import build_model, logits_of


def run(hyperparams=HYPERPARAMS, data=None, **options):
    data = data or training_data()
    model = build_model(SCHEMA, data.train_rows_NF, hyperparams)
    epochs, states = [], []

    def report(epoch, metrics, state):
        epochs.append(metrics)
        # As a checkpoint would keep it: the live state goes on changing.
        states.append({name: _copied(value) for name, value in state.items()})

    return train(model, data, hyperparams, report, **options), epochs, states


def _copied(value):
    if isinstance(value, torch.Tensor):
        return value.clone()
    if isinstance(value, dict):
        return {name: _copied(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_copied(inner) for inner in value]
    return value


def equal(first, second):
    return all(torch.equal(first[name], second[name]) for name in first)


def test_the_model_learns_a_learnable_label():
    _, epochs, _ = run(replace(HYPERPARAMS, epochs=30, learning_rate=0.01))
    assert epochs[-1]["valid_loss"] < epochs[0]["valid_loss"] * 0.8
    assert epochs[-1]["valid_auc"] > 0.85


@pytest.mark.parametrize("kind", ["mlp", "tabm"])
def test_mixed_precision_learns_other_weights_that_are_float32_and_chosen_in_float32(kind):
    """On a CPU here, which computes in bfloat16, too."""
    common = {"epochs": 10, "batch_size": 64, "learning_rate": 0.01, "seed": 3}
    hyperparams = Hyperparams(**common) if kind == "mlp" else TabmHyperparams(**common, members=4)
    weights, plain, _ = run(hyperparams)
    mixed_weights, mixed, _ = run(hyperparams, mixed=True)
    assert not equal(weights, mixed_weights)
    assert {tensor.dtype for tensor in mixed_weights.values()} == {tensor.dtype for tensor in weights.values()}
    assert mixed[-1]["valid_auc"] == pytest.approx(plain[-1]["valid_auc"], abs=0.05)
    data = training_data()
    model = build_model(SCHEMA, data.train_rows_NF, hyperparams)
    model.load_state_dict(mixed_weights)
    losses = [epoch["valid_loss"] for epoch in mixed]
    assert validate(model, data, torch.device("cpu"))["valid_loss"] == min(losses)


def test_the_learning_rate_falls_along_a_cosine_to_zero():
    _, epochs, _ = run(replace(HYPERPARAMS, epochs=4))
    rates = [epoch["learning_rate"] / HYPERPARAMS.learning_rate for epoch in epochs]
    assert rates == pytest.approx([(1 + np.cos(np.pi * share)) / 2 for share in (0.25, 0.5, 0.75, 1.0)], abs=1e-6)


@pytest.mark.parametrize("epoch", [0, 2])
def test_a_resumed_run_ends_with_the_weights_of_an_uninterrupted_one(epoch):
    weights, epochs, states = run()
    resumed, rest, _ = run(resume_from=states[epoch])
    assert equal(weights, resumed)
    assert rest == epochs[epoch + 1 :]


def test_a_state_loads_without_pickle(tmp_path):
    _, _, states = run()
    torch.save(states[-1], tmp_path / "state.pt")
    assert torch.load(tmp_path / "state.pt", weights_only=True)["epoch"] == HYPERPARAMS.epochs - 1


def test_the_best_epoch_is_kept_and_not_the_last():
    # Labels of the validation rows are turned round: the better the model learns, the worse it does on them.
    data = training_data()
    data = replace(data, valid_labels_N=1.0 - data.valid_labels_N)
    weights, epochs, states = run(replace(HYPERPARAMS, epochs=8, learning_rate=0.01), data)
    best = int(np.argmin([epoch["valid_loss"] for epoch in epochs]))
    assert best < 7
    assert equal(weights, states[best]["model"])


def test_the_seed_decides():
    first, second, other = run()[0], run()[0], run(replace(HYPERPARAMS, seed=1))[0]
    assert equal(first, second)
    assert not equal(first, other)


def test_shards_of_one_epoch_are_disjoint_and_of_one_size():
    seen = []
    for rank in range(3):
        data = training_data(num_rows=100)
        model = build_model(SCHEMA, data.train_rows_NF, HYPERPARAMS)
        rows = []
        original = model.logits

        def spy(batch, rows=rows, original=original, model=model):
            if model.training:
                rows.append(batch[:, 0])
            return original(batch)

        model.logits = spy
        train(model, data, replace(HYPERPARAMS, epochs=1), lambda *_: None, shard=Shard(rank, 3))
        values = torch.cat(rows)
        assert len(values) == 80 // 3
        seen += [value for value in values.tolist() if not np.isnan(value)]  # masked cells are missing
    assert len(seen) == len(set(seen))


def test_rows_that_are_read_only_are_learned_from_and_scored_without_a_warning():
    """What Ray hands to a process is read-only. PyTorch warns of tensors that share such memory."""
    data = training_data()
    for array in (data.train_rows_NF, data.train_labels_N, data.valid_rows_NF, data.valid_labels_N):
        array.flags.writeable = False
    model = build_model(SCHEMA, data.train_rows_NF, HYPERPARAMS)
    torch.set_warn_always(True)  # else a warning comes once in a process
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            train(model, data, replace(HYPERPARAMS, epochs=1), lambda *_: None)
            assert np.isfinite(logits_of(model, data.valid_rows_NF)).all()
    finally:
        torch.set_warn_always(False)


def test_a_loss_that_is_not_finite_ends_the_run_with_an_error():
    with pytest.raises(TrainingError, match=r"no longer finite in epoch 1.*learning_rate"):
        run(replace(HYPERPARAMS, learning_rate=1e30))
