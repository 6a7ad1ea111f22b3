"""One trial of a search: a training that tells of its epochs and keeps nothing."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch

from divisions.errors import TrainingError
from divisions.pipeline.definition import AnyHyperparams
from divisions.schema import FeatureSchema
from trainers.training import kinds
from trainers.training.loop import State
from trainers.training.scoreboard import Heard
from trainers.training.search_space import is_told
from trainers.training.training_rows import TrainingData


def run_trial(
    schema: FeatureSchema,
    data: TrainingData,
    hyperparams: AnyHyperparams,
    tell: Callable[[Heard], None],
    device: torch.device | None = None,
) -> None:
    """Trains to the end, unless ``tell`` raises.

    Raises:
        TrainingError: the training diverged, or has no validation loss.
    """
    best_loss, best_auc = math.inf, math.nan

    def report(epoch: int, metrics: dict[str, float], state: State | None) -> None:
        nonlocal best_loss, best_auc
        if metrics["valid_loss"] < best_loss:
            best_loss, best_auc = metrics["valid_loss"], metrics["valid_auc"]
        is_last = state is not None and state["epoch"] + 1 == hyperparams.epochs
        if is_last and not math.isfinite(best_loss):
            raise TrainingError(
                "its validation loss is no number", remedy="look for extreme values in the data, or fewer epochs"
            )
        if is_last or (is_told(epoch, hyperparams.epochs) and math.isfinite(best_loss)):
            auc = best_auc if math.isfinite(best_auc) else None
            tell(Heard(epoch + 1, best_loss, auc, is_last))

    kinds.train(schema, data, hyperparams, report, device=device)
