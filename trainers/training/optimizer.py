"""AdamW with a cosine schedule, by PyTorch's own function for a step.

`torch.optim.AdamW` does the same, but an instance of it imports PyTorch's compiler, which takes longer than the
training of a small model. A test compares the two.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor
from torch.optim.adamw import adamw

BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-8


class CosineAdamW:
    """AdamW of Loshchilov and Hutter (2019, arXiv 1711.05101), with the constants of Kingma and Ba (2015).

    The learning rate falls to 0 along half a cosine (Loshchilov and Hutter 2017, arXiv 1608.03983, without restarts).

    Args:
        parameters: trained in place by their ``grad``.
        learning_rate: of the first step.
        weight_decay: per step, times the learning rate.
        steps: after so many the learning rate is 0.
        fused: one kernel for all parameters; they must be on a GPU then.
    """

    def __init__(
        self, parameters: Iterable[Tensor], learning_rate: float, weight_decay: float, steps: int, *, fused: bool
    ) -> None:
        self._first_rate, self._weight_decay = learning_rate, weight_decay
        self._steps, self._done = steps, 0
        self._fused = fused
        self._parameters = list(parameters)
        self._averages = [torch.zeros_like(each) for each in self._parameters]
        self._squares = [torch.zeros_like(each) for each in self._parameters]
        # PyTorch's function counts the steps in these: where the parameters are if it is one kernel, else on the CPU.
        self._counts = [torch.zeros((), device=each.device if fused else "cpu") for each in self._parameters]

    @property
    def learning_rate(self) -> float:
        """Of the next step."""
        return self._first_rate * (1 + math.cos(math.pi * self._done / self._steps)) / 2

    @torch.no_grad()
    def step(self) -> None:
        """Changes every parameter that has a gradient, and counts as a step of the schedule in any case."""
        found = [
            (parameter, parameter.grad, average, square, count)
            for parameter, average, square, count in zip(
                self._parameters, self._averages, self._squares, self._counts, strict=True
            )
            if parameter.grad is not None
        ]
        adamw(
            [each[0] for each in found],
            [each[1] for each in found],
            [each[2] for each in found],
            [each[3] for each in found],
            [],
            [each[4] for each in found],
            foreach=False,
            fused=self._fused,
            amsgrad=False,
            beta1=BETA1,
            beta2=BETA2,
            lr=self.learning_rate,
            weight_decay=self._weight_decay,
            eps=EPSILON,
            maximize=False,
        )
        self._done += 1

    def zero_grad(self) -> None:
        """Forgets the gradients of the last step."""
        for each in self._parameters:
            each.grad = None

    def state_dict(self) -> dict[str, Any]:
        """What ``load_state_dict`` goes on with; its tensors are this optimizer's own."""
        return {"done": self._done, "averages": self._averages, "squares": self._squares, "counts": self._counts}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes on where another optimizer of the same parameters was."""
        self._done = state["done"]
        for own, saved in (
            (self._averages, state["averages"]),
            (self._squares, state["squares"]),
            (self._counts, state["counts"]),
        ):
            for mine, other in zip(own, saved, strict=True):
                mine.copy_(other)
