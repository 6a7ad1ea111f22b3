"""The training loop, without Ray: AdamW, cosine annealing, binary cross-entropy. Keeps the weights of the best epoch.

The randomness of an epoch (order, dropout, masking) depends on (seed, epoch, rank). So a run that resumes from a
checkpoint ends with the same weights as an uninterrupted run.

Shapes: N rows, F columns.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from divisions.errors import TrainingError
from divisions.pipeline.definition import Hyperparams
from trainers.training.evaluate import auc
from trainers.training.model import TabularNet, logits_of, tensor_of
from trainers.training.optimizer import CosineAdamW
from trainers.training.training_rows import TrainingData

MASK_RATE = 0.02
"""Share of cells that training hides from the model: half as missing, half as unknown (0 is the unknown category).
Without it, the encodings of *missing* and *unknown* would keep their initial weights if the data has no such values."""

GRADIENT_NORM_LIMIT = 1.0


@dataclass(frozen=True, slots=True)
class Shard:
    """The share of each batch that this process computes."""

    rank: int = 0
    world_size: int = 1


State = dict[str, Any]
"""The content of a checkpoint: ``epoch`` (from 0; the last one where training ended early), ``history`` (each epoch's
metrics so far), and what to go on with. Tensors, numbers and text only, so that it loads with ``weights_only=True``."""

Report = Callable[[int, dict[str, float], State | None], None]
"""Called after each epoch with its number (from 0), its metrics and the state to resume from, if there is one."""


class Logits(nn.Module):
    """The model for training. Its forward gives logits, because DDP hooks into a module's forward."""

    def __init__(self, model: TabularNet) -> None:
        super().__init__()
        self.model = model

    def forward(self, rows_NF: Tensor) -> Tensor:
        return self.model.training_logits(rows_NF)


def train(
    model: TabularNet,
    data: TrainingData,
    hyperparams: Hyperparams,
    report: Report,
    *,
    device: torch.device | None = None,
    shard: Shard | None = None,
    wrap: Callable[[nn.Module], nn.Module] | None = None,
    resume_from: State | None = None,
    mixed: bool = False,
) -> dict[str, Tensor]:
    """Trains ``model`` in place.

    Args:
        wrap: puts the module into `DistributedDataParallel`; None for a single process.
        resume_from: an earlier state from ``report``; training continues after its epoch.
        mixed: whether to multiply matrices in bfloat16, see `trainers.training.precision`.

    Returns:
        The weights (``state_dict``) of the epoch with the lowest validation loss. It is log loss, not AUC, because log
        loss also punishes probabilities that are well ordered but wrong.

    Raises:
        TrainingError: the loss is no longer finite.
    """
    device = device or torch.device("cpu")
    shard = shard or Shard()
    model.to(device)
    forward = wrap(Logits(model)) if wrap else Logits(model)
    rows_NF = tensor_of(data.train_rows_NF).to(device)
    labels_N = tensor_of(data.train_labels_N).to(device)
    is_category_F = _is_category(model, rows_NF.shape[1]).to(device)

    # The file's batch size is for all workers together, so that the number of workers does not change the result.
    batch_size = max(1, hyperparams.batch_size // shard.world_size)
    num_own_rows = len(rows_NF) // shard.world_size
    steps_per_epoch = -(-num_own_rows // batch_size)
    optimizer = CosineAdamW(
        model.parameters(),
        hyperparams.learning_rate,
        hyperparams.weight_decay,
        hyperparams.epochs * steps_per_epoch,
        fused=device.type == "cuda",  # one kernel for all weights: a step of a small network is mostly launches
    )
    first_epoch, best_loss, best_weights = 0, float("inf"), _copy_of_weights(model)
    history: list[dict[str, float]] = []
    if resume_from is not None:
        model.load_state_dict(resume_from["model"])
        optimizer.load_state_dict(resume_from["optimizer"])
        first_epoch, best_loss = resume_from["epoch"] + 1, resume_from["best_loss"]
        best_weights, history = resume_from["best_weights"], list(resume_from["history"])

    for epoch in range(first_epoch, hyperparams.epochs):
        order_N = torch.randperm(len(rows_NF), generator=_generator(hyperparams.seed, epoch))
        own_rows = order_N[shard.rank :: shard.world_size][:num_own_rows].to(device)
        torch.manual_seed(_mixed_seed(hyperparams.seed, epoch, shard.rank))  # dropout and masking
        model.train()
        loss_sum = torch.zeros((), dtype=torch.float64, device=device)  # read once: a GPU's queue stays filled
        for batch in torch.split(own_rows, batch_size):
            with torch.autocast(device.type, torch.bfloat16, enabled=mixed):
                logits = forward(_mask(rows_NF[batch], is_category_F))
            loss = _loss(logits.float(), labels_N[batch])
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(model.parameters(), GRADIENT_NORM_LIMIT)
            optimizer.step()
            loss_sum += loss.detach().double() * len(batch)
        metrics = {
            "train_loss": loss_sum.item() / max(1, num_own_rows),
            "learning_rate": optimizer.learning_rate,
        }
        metrics |= validate(model, data, device)
        if not np.isfinite(metrics["train_loss"] + metrics["valid_loss"]):
            raise TrainingError(
                f"the loss is no longer finite in epoch {epoch + 1}",
                remedy="lower training.hyperparams.learning_rate, or look for extreme values in the data",
            )
        if metrics["valid_loss"] < best_loss:
            best_loss, best_weights = metrics["valid_loss"], _copy_of_weights(model)
        history.append(metrics)
        is_over = False
        if hyperparams.patience:
            losses = [past["valid_loss"] for past in history]
            is_over = _agreed(has_stalled(losses, hyperparams.patience), shard, device)
        # Whoever resumes must not train on: an end that came early counts as the last epoch.
        reached = hyperparams.epochs - 1 if is_over else epoch
        report(epoch, metrics, _state(reached, model, optimizer, best_loss, best_weights, history))
        if is_over:
            break
    return best_weights


def told_epochs(state: State) -> list[tuple[int, dict[str, float]]]:
    """The epochs, from 0, that were reported before a checkpoint, with their metrics."""
    return list(zip(state.get("epochs", range(len(state["history"]))), state["history"], strict=True))


def has_stalled(losses: Sequence[float], patience: int) -> bool:
    """Whether the lowest validation loss is ``patience`` epochs old; never with a patience of 0.

    >>> has_stalled([0.5, 0.4, 0.45], 2), has_stalled([0.5, 0.4, 0.45, 0.41], 2), has_stalled([0.5, 0.6], 0)
    (False, True, False)
    """
    return patience > 0 and len(losses) - 1 - int(np.argmin(losses)) >= patience


def _agreed(is_over: bool, shard: Shard, device: torch.device) -> bool:
    """What rank 0 says. Ranks on different machines may differ in a loss's last bit, and none may train on alone."""
    if shard.world_size == 1:
        return is_over
    said = torch.tensor([float(is_over)], device=device)
    torch.distributed.broadcast(said, 0)
    return bool(said.item())


def validate(model: TabularNet, data: TrainingData, device: torch.device) -> dict[str, float]:
    """Log loss and AUC on the validation rows."""
    logits_N = logits_of(model, data.valid_rows_NF, device)
    loss = binary_cross_entropy_with_logits(torch.from_numpy(logits_N), tensor_of(data.valid_labels_N)).item()
    return {"valid_loss": loss, "valid_auc": auc(data.valid_labels_N, logits_N)}


def _loss(logits: Tensor, labels_N: Tensor) -> Tensor:
    """``logits`` are ``[N]``, or ``[N, K]`` of members that each learn."""
    labels = labels_N.view(-1, *[1] * (logits.dim() - 1)).expand_as(logits)
    return binary_cross_entropy_with_logits(logits, labels)


def _mask(rows_NF: Tensor, is_category_F: Tensor) -> Tensor:
    draw_NF = torch.rand_like(rows_NF)
    rows_NF = torch.where((draw_NF < MASK_RATE / 2) & is_category_F, 0.0, rows_NF)
    return torch.where((draw_NF >= MASK_RATE / 2) & (draw_NF < MASK_RATE), torch.nan, rows_NF)


def _is_category(model: TabularNet, num_columns: int) -> Tensor:
    is_category_F = torch.zeros(num_columns, dtype=torch.bool)
    is_category_F[model.categorical_index_C.cpu()] = True
    return is_category_F


def _state(
    epoch: int,
    model: TabularNet,
    optimizer: CosineAdamW,
    best_loss: float,
    best_weights: dict[str, Tensor],
    history: list[dict[str, float]],
) -> State:
    return {
        "epoch": epoch,
        "model": model.state_dict(),
        "optimizer": optimizer.state_dict(),
        "best_loss": best_loss,
        "best_weights": best_weights,
        "history": list(history),
    }


def _copy_of_weights(model: TabularNet) -> dict[str, Tensor]:
    return {name: tensor.detach().cpu().clone() for name, tensor in model.state_dict().items()}


def _mixed_seed(seed: int, epoch: int, rank: int) -> int:
    return int(np.random.SeedSequence((seed, epoch, rank)).generate_state(1, np.uint64)[0] >> 1)


def _generator(seed: int, epoch: int) -> torch.Generator:
    # No worker has this rank. So the order is the same for all ranks, and independent of their dropout.
    return torch.Generator().manual_seed(_mixed_seed(seed, epoch, 2**31))
