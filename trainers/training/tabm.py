"""TabM: an ensemble of MLPs that share their weights (Gorishniy et al., "TabM: Advancing Tabular Deep Learning with
Parameter-Efficient Ensembling", arXiv 2410.24210).

Each of the K members has its own scale of a layer's inputs, scale of its outputs, and bias (the adapters of
BatchEnsemble, Wen et al., arXiv 2002.06715); the matrix is one for all:

    x_k -> ((x_k * r_k) W) * s_k + b_k

As in the paper's section 3.3, only the first scale starts random, with ±1; all others start at 1. Each member learns
for itself: the loss is the mean of the members' losses. The prediction is the mean of their probabilities.

Shapes: N rows, K members, I inputs, O outputs of a layer.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from divisions.pipeline.definition import TabmHyperparams
from divisions.schema import FeatureSchema
from trainers.training.model import NumericStatistics, TabularNet

LEAST_PROBABILITY = 1e-30
"""Probabilities below it count as this much, so that their logarithm is finite."""


class SharedLinear(nn.Module):
    """``[N, K, I]`` to ``[N, K, O]``: one matrix, and adapters of each member."""

    def __init__(self, members: int, num_inputs: int, num_outputs: int, *, is_first: bool) -> None:
        super().__init__()
        bound = num_inputs**-0.5
        self.weight_OI = nn.Parameter(torch.empty(num_outputs, num_inputs).uniform_(-bound, bound))
        scale_KI = torch.ones(members, num_inputs)
        if is_first:
            scale_KI = torch.randint(0, 2, scale_KI.shape).to(torch.float32) * 2.0 - 1.0
        self.input_scale_KI = nn.Parameter(scale_KI)
        self.output_scale_KO = nn.Parameter(torch.ones(members, num_outputs))
        self.bias_KO = nn.Parameter(torch.empty(members, num_outputs).uniform_(-bound, bound))

    def forward(self, x_NKI: Tensor) -> Tensor:
        return nn.functional.linear(x_NKI * self.input_scale_KI, self.weight_OI) * self.output_scale_KO + self.bias_KO


class TabmModel(TabularNet):
    """The ensemble behind the same embeddings as the MLP's."""

    slope: Tensor
    offset: Tensor

    def __init__(self, schema: FeatureSchema, statistics: NumericStatistics, hyperparams: TabmHyperparams) -> None:
        super().__init__(schema, statistics, hyperparams)
        self.members = hyperparams.members
        layers: list[nn.Module] = []
        width = schema.num_columns * hyperparams.embedding_dim
        for index, hidden in enumerate(hyperparams.hidden):
            layers += [
                SharedLinear(self.members, width, hidden, is_first=index == 0),
                nn.ReLU(),
                nn.Dropout(hyperparams.dropout),
            ]
            width = hidden
        self.body = nn.Sequential(*layers)
        bound = width**-0.5
        self.head_KI = nn.Parameter(torch.empty(self.members, width).uniform_(-bound, bound))
        self.head_bias_K = nn.Parameter(torch.zeros(self.members))
        self.register_buffer("slope", torch.ones(1))
        self.register_buffer("offset", torch.zeros(1))

    def training_logits(self, rows_NF: Tensor) -> Tensor:
        """**Shape**: ``rows_NF`` ``[N, F]``, result ``[N, K]``."""
        embedded_N1I = self.embedded(rows_NF).unsqueeze(1)
        logits_NK: Tensor = (self.body(embedded_N1I) * self.head_KI).sum(dim=-1) + self.head_bias_K
        return logits_NK

    def logits(self, rows_NF: Tensor) -> Tensor:
        logits_NK = self.training_logits(rows_NF)
        yes_N = torch.sigmoid(logits_NK).mean(dim=1).clamp(min=LEAST_PROBABILITY)
        no_N = torch.sigmoid(-logits_NK).mean(dim=1).clamp(min=LEAST_PROBABILITY)
        return (torch.log(yes_N) - torch.log(no_N)) * self.slope + self.offset

    def recalibrate(self, slope: float, offset: float) -> None:
        with torch.no_grad():
            self.offset.mul_(slope).add_(offset)
            self.slope.mul_(slope)
