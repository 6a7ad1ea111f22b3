"""The hyperparameters that a search tries, by kind of model. Pure.

The first candidate has the hyperparameters of the pipeline file, so a search finds nothing worse than the file. Each
other one is drawn at random from the ranges below. Candidate i depends on the seed and on i alone: the same seed gives
the same candidates, and more trials only add some.

Random search, and not a model of the losses: trials are stopped early and run side by side, and from some dozens of
them a model gains little (Bergstra and Bengio, "Random Search for Hyper-Parameter Optimization", JMLR 13, 2012; Li et
al., "A System for Massively Parallel Hyperparameter Tuning", arXiv 1810.05934).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from divisions.pipeline.definition import AnyHyperparams, ModelKind

REDUCTION = 3
"""At each rung, the search goes on with the best third."""


@dataclass(frozen=True, slots=True)
class Between:
    """A number from ``low`` to ``high``, in equal shares; with ``is_log``, of its logarithm."""

    low: float
    high: float
    is_log: bool = False

    def __str__(self) -> str:
        return f"{self.low:g} to {self.high:g}{', by its logarithm' if self.is_log else ''}"

    def draw(self, rng: np.random.Generator) -> float:
        """Three significant digits: enough for a hyperparameter, and short in a pipeline file."""
        if self.is_log:
            value = math.exp(rng.uniform(math.log(self.low), math.log(self.high)))
        else:
            value = rng.uniform(self.low, self.high)
        return min(max(float(f"{value:.3g}"), self.low), self.high)


@dataclass(frozen=True, slots=True)
class WholeBetween:
    """A whole number from ``low`` to ``high``, in equal shares of its logarithm."""

    low: int
    high: int

    def __str__(self) -> str:
        return f"{self.low} to {self.high}, whole, by its logarithm"

    def draw(self, rng: np.random.Generator) -> int:
        return min(max(round(math.exp(rng.uniform(math.log(self.low), math.log(self.high)))), self.low), self.high)


@dataclass(frozen=True, slots=True)
class OneOf:
    """One of these values, each as likely."""

    values: tuple[Any, ...]

    def __str__(self) -> str:
        return ", ".join(f"`{list(each)}`" if isinstance(each, tuple) else f"{each}" for each in self.values)

    def draw(self, rng: np.random.Generator) -> Any:
        return self.values[int(rng.integers(len(self.values)))]


Range = Between | WholeBetween | OneOf

_WIDTHS = OneOf(((64,), (128,), (256,), (64, 64), (128, 128), (256, 128), (128, 128, 128)))
_NETWORK: Mapping[str, Range] = {
    "learning_rate": Between(0.0003, 0.01, is_log=True),
    "batch_size": OneOf((64, 128, 256, 512)),
    "weight_decay": Between(0.0001, 0.1, is_log=True),
    "dropout": Between(0.0, 0.4),
    "hidden": _WIDTHS,
    "embedding_dim": OneOf((4, 8, 16)),
}
SPACES: Mapping[ModelKind, Mapping[str, Range]] = {
    ModelKind.MLP: _NETWORK,
    ModelKind.TABM: {**_NETWORK, "members": OneOf((4, 8, 16))},
    ModelKind.GRADIENT_BOOSTING: {
        "learning_rate": Between(0.01, 0.2, is_log=True),
        "max_leaves": WholeBetween(4, 64),
        "min_leaf_rows": WholeBetween(5, 100),
        "l2": Between(0.01, 100.0, is_log=True),
        "max_features": Between(0.3, 1.0),
    },
}
"""Epochs, patience and seed are not searched: the budget is in epochs, and the seed decides who is validated on."""


def candidates(own: AnyHyperparams, count: int) -> tuple[AnyHyperparams, ...]:
    """The hyperparameters of ``count`` trials; ``own`` are those of the pipeline file.

    >>> from divisions.pipeline.definition import BoostingHyperparams
    >>> [one.max_leaves for one in candidates(BoostingHyperparams(seed=1), 4)]
    [8, 22, 13, 6]
    """
    return (own, *(_drawn(own, index) for index in range(1, count)))


def searched(hyperparams: AnyHyperparams) -> dict[str, Any]:
    """Those of the hyperparameters that a search tries."""
    return {name: getattr(hyperparams, name) for name in SPACES[hyperparams.kind]}


def first_rung(num_epochs: int) -> int:
    """After how many epochs the first trials are stopped. Two rungs follow, of three times as many epochs each.

    >>> first_rung(50), first_rung(500), first_rung(4)
    (5, 55, 1)
    """
    return max(1, num_epochs // REDUCTION**2)


def is_told(epoch: int, num_epochs: int) -> bool:
    """Whether a trial tells of this epoch, from 0: of about a hundred, as each costs milliseconds."""
    return (epoch + 1) % max(1, num_epochs // 100) == 0


def _drawn(own: AnyHyperparams, index: int) -> AnyHyperparams:
    rng = np.random.default_rng([own.seed, index])
    drawn: dict[str, Any] = {name: each.draw(rng) for name, each in SPACES[own.kind].items()}
    return replace(own, **drawn)
