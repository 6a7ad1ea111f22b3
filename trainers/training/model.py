"""The networks for tables: encoded rows in, probabilities out, with the whole feature transform inside.

The statistics that the transform needs (means, spreads, bin edges) are buffers of the module. So they are saved,
exported and served with the weights. A caller sends the raw encoding of `divisions.schema`.

Numbers go through a piecewise-linear encoding (Gorishniy et al., "On Embeddings for Numerical Features in Tabular
Deep Learning", arXiv 2203.05556, section 3.2). With standardised numbers alone, an MLP learns boundaries that are too
smooth for tables: a threshold such as "over four support calls" takes many epochs.

Shapes: N rows, F columns, M numeric and boolean columns, C categorical columns, B bins, I = B + 2 inputs per
number, E embedding width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from divisions.pipeline.definition import Hyperparams, TabmHyperparams
from divisions.schema import FLOAT32_MAX, FeatureKind, FeatureSchema

NUM_BINS = 16
CELLS_A_PASS = 1 << 20
"""Without gradients, so many cells at once: some hundred bytes each."""
CLIP_SIGMAS = 6.0
"""Numbers are clipped this many standard deviations from the mean, so that ±3e38 stays finite in every layer."""


@dataclass(frozen=True, slots=True)
class NumericStatistics:
    """Statistics of the numeric columns, from training rows only.

    **Shape**: ``mean_M``, ``inverse_scale_M``, ``lowest_M`` and ``highest_M`` (clipping); ``edge_MB`` and
    ``inverse_width_MB`` describe the bins. An empty or constant column has inverse scale 0. A column with few distinct
    values has unused bins, whose inverse width is 0. Both encode as 0.
    """

    mean_M: NDArray[np.float32]
    inverse_scale_M: NDArray[np.float32]
    lowest_M: NDArray[np.float32]
    highest_M: NDArray[np.float32]
    edge_MB: NDArray[np.float32]
    inverse_width_MB: NDArray[np.float32]


def numeric_columns(schema: FeatureSchema) -> list[int]:
    return [i for i, feature in enumerate(schema.features) if feature.kind is not FeatureKind.CATEGORICAL]


def categorical_columns(schema: FeatureSchema) -> list[int]:
    return [i for i, feature in enumerate(schema.features) if feature.kind is FeatureKind.CATEGORICAL]


def numeric_statistics(rows_NF: NDArray[np.float32], schema: FeatureSchema) -> NumericStatistics:
    """The statistics of the numeric and boolean columns of training rows, without missing values."""
    columns = numeric_columns(schema)
    vectors = np.zeros((4, len(columns)), np.float32)
    edge_MB = np.zeros((len(columns), NUM_BINS), np.float32)
    inverse_width_MB = np.zeros((len(columns), NUM_BINS), np.float32)
    for m, column in enumerate(columns):
        # float64, because the sum and the square of numbers near float32's limit overflow in float32.
        values = rows_NF[:, column].astype(np.float64)
        values = values[np.isfinite(values)]
        if values.size == 0 or np.ptp(values) == 0:
            vectors[:, m] = values[0] if values.size else 0.0
            vectors[1, m] = 0.0
            continue
        mean, scale = values.mean(), values.std()
        lowest, highest = np.clip([mean - CLIP_SIGMAS * scale, mean + CLIP_SIGMAS * scale], -FLOAT32_MAX, FLOAT32_MAX)
        vectors[:, m] = mean, 1.0 / scale, lowest, highest
        standard = (np.clip(values, lowest, highest) - mean) / scale
        edges = np.unique(np.quantile(standard, np.linspace(0.0, 1.0, NUM_BINS + 1)))
        widths = np.diff(edges)
        edge_MB[m, : widths.size] = edges[:-1]
        inverse_width_MB[m, : widths.size] = 1.0 / np.maximum(widths, 1e-4)
    mean_M, inverse_scale_M, lowest_M, highest_M = vectors
    return NumericStatistics(mean_M, inverse_scale_M, lowest_M, highest_M, edge_MB, inverse_width_MB)


class NumericEmbedding(nn.Module):
    """Numbers ``float32[N, M]`` to ``float32[N, M * E]``: fill, clip, standardise, bin, one linear map per column."""

    mean_M: Tensor
    inverse_scale_M: Tensor
    lowest_M: Tensor
    highest_M: Tensor
    edge_MB: Tensor
    inverse_width_MB: Tensor

    def __init__(self, statistics: NumericStatistics, embedding_dim: int) -> None:
        super().__init__()
        for name in NumericStatistics.__slots__:
            self.register_buffer(name, torch.from_numpy(np.ascontiguousarray(getattr(statistics, name))))
        num_columns, num_bins = statistics.edge_MB.shape
        num_inputs = num_bins + 2  # the bins, the standardised number itself, and whether it is missing
        bound = num_inputs**-0.5
        self.weight_MIE = nn.Parameter(torch.empty(num_columns, num_inputs, embedding_dim).uniform_(-bound, bound))
        self.bias_ME = nn.Parameter(torch.zeros(num_columns, embedding_dim))

    def forward(self, x_NM: Tensor) -> Tensor:
        missing_NM = torch.isnan(x_NM)
        # Clip before subtracting: 3e38 minus a negative mean would already be infinite.
        x_NM = torch.where(missing_NM, self.mean_M, x_NM)
        x_NM = torch.minimum(torch.maximum(x_NM, self.lowest_M), self.highest_M)
        standard_NM1 = ((x_NM - self.mean_M) * self.inverse_scale_M).unsqueeze(-1)
        bins_NMB = ((standard_NM1 - self.edge_MB) * self.inverse_width_MB).clamp(0.0, 1.0)
        # A missing number is encoded as the mean plus a flag, so that its encoding is in the range of the training
        # data.
        inputs_NMI = torch.cat([bins_NMB, standard_NM1, missing_NM.to(x_NM.dtype).unsqueeze(-1)], dim=-1)
        embedded_MNE = torch.matmul(inputs_NMI.transpose(0, 1), self.weight_MIE) + self.bias_ME.unsqueeze(1)
        return torch.relu(embedded_MNE).transpose(0, 1).flatten(1)


class CategoryEmbedding(nn.Module):
    """Category codes ``float32[N, C]`` to ``float32[N, C * E]``.

    All columns share one table. Each column has ``K + 2`` rows in it: 0 unknown, 1..K the known categories, K + 1
    missing. A code without a category (from a newer schema, or a hostile caller) counts as unknown.
    """

    num_known_C: Tensor
    offset_C: Tensor

    def __init__(self, num_known: Sequence[int], embedding_dim: int) -> None:
        super().__init__()
        sizes = np.asarray(num_known, np.int64) + 2
        self.register_buffer("num_known_C", torch.tensor(num_known, dtype=torch.float32))
        self.register_buffer("offset_C", torch.from_numpy(np.cumsum(sizes) - sizes))
        self.table = nn.Embedding(int(sizes.sum()), embedding_dim)
        nn.init.normal_(self.table.weight, std=embedding_dim**-0.5)

    def forward(self, codes_NC: Tensor) -> Tensor:
        # Every comparison with NaN is false. So a NaN first becomes unknown, and the next line makes it missing.
        is_known_NC = (codes_NC >= 0.0) & (codes_NC <= self.num_known_C)
        clean_NC = torch.where(is_known_NC, codes_NC, 0.0)
        clean_NC = torch.where(torch.isnan(codes_NC), self.num_known_C + 1.0, clean_NC)
        embedded_NCE: Tensor = self.table(clean_NC.to(torch.int64) + self.offset_C)
        return embedded_NCE.flatten(1)


class TabularNet(nn.Module):
    """``rows float32[N, F]`` (see `divisions.schema`) to ``scores float32[N]``, probabilities: what all networks share.

    Those that inherit from it give logits.
    """

    numeric_index_M: Tensor
    categorical_index_C: Tensor

    def __init__(self, schema: FeatureSchema, statistics: NumericStatistics, hyperparams: Hyperparams) -> None:
        super().__init__()
        numeric, categorical = numeric_columns(schema), categorical_columns(schema)
        self.register_buffer("numeric_index_M", torch.tensor(numeric, dtype=torch.int64))
        self.register_buffer("categorical_index_C", torch.tensor(categorical, dtype=torch.int64))
        self.numeric = NumericEmbedding(statistics, hyperparams.embedding_dim) if numeric else None
        num_known = [len(schema.features[i].categories) for i in categorical]
        self.categorical = CategoryEmbedding(num_known, hyperparams.embedding_dim) if categorical else None

    def embedded(self, rows_NF: Tensor) -> Tensor:
        """**Shape**: ``rows_NF`` ``[N, F]``, result ``[N, F * E]``."""
        parts = []
        if self.numeric is not None:
            parts.append(self.numeric(rows_NF.index_select(1, self.numeric_index_M)))
        if self.categorical is not None:
            parts.append(self.categorical(rows_NF.index_select(1, self.categorical_index_C)))
        return torch.cat(parts, dim=1)

    def training_logits(self, rows_NF: Tensor) -> Tensor:
        """What training learns from: ``[N]``, or ``[N, K]`` of K members that each learn for themselves. Training needs
        logits: BCE on probabilities underflows."""
        raise NotImplementedError

    def logits(self, rows_NF: Tensor) -> Tensor:
        """**Shape**: ``rows_NF`` ``[N, F]``, result ``[N]``."""
        raise NotImplementedError

    def forward(self, rows: Tensor) -> Tensor:
        return torch.sigmoid(self.logits(rows))

    def recalibrate(self, slope: float, offset: float) -> None:
        """From now on, every logit is ``slope * logit + offset``."""
        raise NotImplementedError


class TabularModel(TabularNet):
    """A multi-layer perceptron."""

    def __init__(self, schema: FeatureSchema, statistics: NumericStatistics, hyperparams: Hyperparams) -> None:
        super().__init__(schema, statistics, hyperparams)
        layers: list[nn.Module] = []
        width = schema.num_columns * hyperparams.embedding_dim
        for hidden in hyperparams.hidden:
            layers += [nn.Linear(width, hidden), nn.ReLU(), nn.Dropout(hyperparams.dropout)]
            width = hidden
        self.body = nn.Sequential(*layers)
        self.head = nn.Linear(width, 1)

    def training_logits(self, rows_NF: Tensor) -> Tensor:
        return self.logits(rows_NF)

    def logits(self, rows_NF: Tensor) -> Tensor:
        logits_N1: Tensor = self.head(self.body(self.embedded(rows_NF)))
        return logits_N1.squeeze(1)

    def recalibrate(self, slope: float, offset: float) -> None:
        """The last layer takes both into its weights."""
        with torch.no_grad():
            self.head.weight.mul_(slope)
            self.head.bias.mul_(slope).add_(offset)


def tensor_of(array: NDArray[np.float32]) -> Tensor:
    """The array as a tensor: in the same memory, or a copy of an array that is read-only, as those that Ray hands
    over. PyTorch has no read-only tensors, and warns of sharing such memory."""
    return torch.from_numpy(array if array.flags.writeable else array.copy())


def rows_a_pass(num_columns: int) -> int:
    """How many rows are scored at once, so that memory does not grow with the table.

    >>> rows_a_pass(20), rows_a_pass(3_000), rows_a_pass(10**7)
    (52428, 349, 1)
    """
    return max(1, CELLS_A_PASS // max(1, num_columns))


def logits_of(
    model: TabularNet, rows_NF: NDArray[np.float32], device: torch.device | None = None
) -> NDArray[np.float32]:
    """The logits of many rows, on the CPU or ``device``. Moves the model there."""
    device = device or torch.device("cpu")
    model = model.to(device).eval()
    size = rows_a_pass(rows_NF.shape[1])
    size = min(size, 4096) if device.type == "cpu" else size  # its caches are small
    with torch.no_grad():
        parts = [
            model.logits(tensor_of(rows_NF[start : start + size]).to(device)).cpu().numpy()
            for start in range(0, len(rows_NF), size)
        ]
    return np.concatenate(parts) if parts else np.zeros(0, np.float32)


def build_model(schema: FeatureSchema, rows_NF: NDArray[np.float32], hyperparams: Hyperparams) -> TabularNet:
    """A new network. ``rows_NF`` are the training rows for the transform's statistics. Same seed, same weights."""
    from trainers.training.tabm import TabmModel

    torch.manual_seed(hyperparams.seed)
    if isinstance(hyperparams, TabmHyperparams):
        return TabmModel(schema, numeric_statistics(rows_NF, schema), hyperparams)
    return TabularModel(schema, numeric_statistics(rows_NF, schema), hyperparams)


def use_threads(num_threads: int) -> None:
    """Sets how many threads PyTorch uses in this process. A tabular model is too small to gain from many threads. On a
    busy machine, threads that wait for each other make training much slower."""
    torch.set_num_threads(num_threads)
