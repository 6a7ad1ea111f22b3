"""The kinds of models behind one door: how each is trained, restored from a checkpoint, and asked for logits.

    mlp, tabm            networks of PyTorch, trained epoch by epoch (`trainers.training.loop`)
    gradient_boosting    trees of scikit-learn, kept as arrays (`trainers.training.boosting`, `trainers.training.trees`)

The type of the hyperparameters says which kind it is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from divisions.errors import TrainingError
from divisions.pipeline.definition import AnyHyperparams, BoostingHyperparams
from divisions.schema import FeatureSchema
from trainers.training import loop, model
from trainers.training.boosting import fit_trees
from trainers.training.loop import Report, Shard, State
from trainers.training.model import TabularNet, build_model
from trainers.training.precision import is_mixed, precision_of
from trainers.training.training_rows import TrainingData
from trainers.training.trees import BoostedTrees

TrainedModel = TabularNet | BoostedTrees

MAX_REPORTED_TREES = 100
"""A registry takes milliseconds for each epoch, and a tree takes no more."""


def train(
    schema: FeatureSchema,
    data: TrainingData,
    hyperparams: AnyHyperparams,
    report: Report,
    *,
    device: torch.device | None = None,
    shard: Shard | None = None,
    wrap: Callable[[nn.Module], nn.Module] | None = None,
    resume_from: State | None = None,
) -> TrainedModel:
    """Trains a new model. A network goes on from ``resume_from``; trees start anew, and become the same ones.

    Args:
        report: called after epochs. The state that it gets with the last one holds the model, see `restore`.

    Raises:
        TrainingError: a label is no number, no customer is left to validate on; and see `loop.train`, `fit_trees`.
    """
    _check(data)
    if isinstance(hyperparams, BoostingHyperparams):
        return _train_trees(schema, data, hyperparams, report)
    network = build_model(schema, data.train_rows_NF, hyperparams)
    weights = loop.train(
        network,
        data,
        hyperparams,
        report,
        device=device,
        shard=shard,
        wrap=wrap,
        resume_from=resume_from,
        mixed=device is not None and is_mixed(device),
    )
    network.load_state_dict(weights)
    return network


def precision(hyperparams: AnyHyperparams, device: torch.device) -> str:
    """In which precision a network trains there; empty for trees, which have float64 alone."""
    return "" if isinstance(hyperparams, BoostingHyperparams) else precision_of(device)


def restore(schema: FeatureSchema, hyperparams: AnyHyperparams, state: State) -> TrainedModel:
    """The model of the state of a training's last epoch."""
    weights: Mapping[str, Tensor] = state["best_weights"]
    if isinstance(hyperparams, BoostingHyperparams):
        return BoostedTrees.of_arrays({name: tensor.numpy() for name, tensor in weights.items()})
    # The statistics of the rows are in the weights, so any rows will do.
    network = build_model(schema, np.zeros((1, schema.num_columns), np.float32), hyperparams)
    network.load_state_dict(weights)
    return network


def logits_of(trained: TrainedModel, rows_NF: NDArray[np.float32]) -> NDArray[np.float32]:
    """The logits of many rows, on the CPU."""
    if isinstance(trained, BoostedTrees):
        return trained.logits(rows_NF).astype(np.float32)
    return model.logits_of(trained, rows_NF)


def _check(data: TrainingData) -> None:
    if not (np.isfinite(data.train_labels_N).all() and np.isfinite(data.valid_labels_N).all()):
        raise TrainingError("some labels are not a number", remedy="leave those customers out")
    if len(data.valid_labels_N) == 0:
        raise TrainingError(
            f"of {len(data.train_labels_N):,} customers, none can be kept aside to select the best epoch",
            remedy="add customers: at least two of one label are needed",
        )


def _train_trees(
    schema: FeatureSchema, data: TrainingData, hyperparams: BoostingHyperparams, report: Report
) -> BoostedTrees:
    every = max(1, hyperparams.epochs // MAX_REPORTED_TREES)
    epochs: list[int] = []
    history: list[dict[str, float]] = []
    last: tuple[int, dict[str, float]] | None = None

    def tell(state: State | None) -> None:
        assert last is not None
        epochs.append(last[0])
        history.append(last[1])
        report(*last, state)

    def on_tree(tree: int, metrics: dict[str, float]) -> None:
        nonlocal last
        if last is not None and (last[0] + 1) % every == 0:
            tell(None)
        last = tree, metrics

    trees = fit_trees(schema, data, hyperparams, on_tree, torch.get_num_threads())
    assert last is not None  # there is at least one tree
    weights = {name: torch.from_numpy(np.array(array)) for name, array in trees.arrays().items()}
    state: State = {"epoch": hyperparams.epochs - 1, "epochs": epochs, "history": history, "best_weights": weights}
    tell(state)
    return trees
