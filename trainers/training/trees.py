"""Boosted decision trees as arrays, and how they give logits. Needs neither scikit-learn nor PyTorch.

A tree compares *inputs* with thresholds. An input is a numeric column, or whether a column's category is in a set. Sets
make every split a comparison of numbers, which ONNX has an operator for. Thresholds are float32: the largest one below
the trained float64 threshold decides every float32 number alike.

Shapes: N rows, F columns, T trees, D nodes of all trees, S sets, V category codes (0 unknown, 1..K, K + 1 missing).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, replace

import numpy as np
from numpy.typing import NDArray

from divisions.errors import TrainingError
from divisions.schema import FLOAT32_MAX

LEAF = -1


@dataclass(frozen=True, slots=True)
class BoostedTrees:
    """The sum of ``base`` and one leaf of each tree is a row's logit.

    Attributes:
        root_T: the first node of each tree.
        input_D: what a node compares: a column, or ``num_columns`` plus a set's number, or `LEAF`.
        threshold_D: a number up to it goes left.
        missing_left_D: whether a missing number goes left.
        left_D, right_D: the next nodes.
        value_D: of leaves.
        set_column_S: the column of each set.
        set_members_SV: 1 for each code that is in the set; a code beyond V counts as unknown.
        num_known_S: K of the set's column.
        base: one number.
        num_columns: one number, F.
    """

    root_T: NDArray[np.int64]
    input_D: NDArray[np.int64]
    threshold_D: NDArray[np.float32]
    missing_left_D: NDArray[np.bool_]
    left_D: NDArray[np.int64]
    right_D: NDArray[np.int64]
    value_D: NDArray[np.float64]
    set_column_S: NDArray[np.int64]
    set_members_SV: NDArray[np.float32]
    num_known_S: NDArray[np.int64]
    base: NDArray[np.float64]
    num_columns: NDArray[np.int64]

    def logits(self, rows_NF: NDArray[np.float32]) -> NDArray[np.float64]:
        """**Shape**: ``rows_NF`` ``[N, F]``, result ``[N]``."""
        total_N = np.full(len(rows_NF), float(self.base[0]))
        for values_N in self.values(rows_NF):
            total_N += values_N
        return total_N

    def values(self, rows_NF: NDArray[np.float32]) -> Iterator[NDArray[np.float64]]:
        """What each tree adds."""
        inputs_NI = np.concatenate([rows_NF, self._memberships(rows_NF)], axis=1)
        is_missing_NI = np.isnan(inputs_NI)
        every_N = np.arange(len(rows_NF))
        for root in self.root_T:
            node_N = np.full(len(rows_NF), root)
            while (is_inner_N := self.input_D[node_N] != LEAF).any():
                rows, nodes = every_N[is_inner_N], node_N[is_inner_N]
                inputs = self.input_D[nodes]
                goes_left = np.where(
                    is_missing_NI[rows, inputs],
                    self.missing_left_D[nodes],
                    inputs_NI[rows, inputs] <= self.threshold_D[nodes],
                )
                node_N[is_inner_N] = np.where(goes_left, self.left_D[nodes], self.right_D[nodes])
            yield self.value_D[node_N]

    def _memberships(self, rows_NF: NDArray[np.float32]) -> NDArray[np.float32]:
        codes_NS = rows_NF[:, self.set_column_S]
        is_known_NS = (codes_NS >= 0.0) & (codes_NS <= self.num_known_S)
        clean_NS = np.where(is_known_NS, codes_NS, 0.0)
        clean_NS = np.where(np.isnan(codes_NS), self.num_known_S + 1.0, clean_NS).astype(np.int64)
        return self.set_members_SV[np.arange(len(self.set_column_S)), clean_NS]

    def recalibrate(self, slope: float, offset: float) -> None:
        """From now on, every logit is ``slope * logit + offset``: leaves and base take both in."""
        np.multiply(self.value_D, slope, out=self.value_D)
        self.base[:] = self.base * slope + offset

    def first(self, num_trees: int) -> BoostedTrees:
        """Only the first trees, and the sets that they use."""
        num_nodes = self.root_T[num_trees] if num_trees < len(self.root_T) else len(self.input_D)
        input_D = self.input_D[:num_nodes]
        used_S, set_D = np.unique(input_D[input_D >= self.num_columns] - self.num_columns, return_inverse=True)
        input_D = input_D.copy()
        input_D[input_D >= self.num_columns] = self.num_columns + set_D
        return replace(
            self,
            root_T=self.root_T[:num_trees],
            input_D=input_D,
            threshold_D=self.threshold_D[:num_nodes],
            missing_left_D=self.missing_left_D[:num_nodes],
            left_D=self.left_D[:num_nodes],
            right_D=self.right_D[:num_nodes],
            value_D=self.value_D[:num_nodes],
            set_column_S=self.set_column_S[used_S],
            set_members_SV=self.set_members_SV[used_S],
            num_known_S=self.num_known_S[used_S],
        )

    def arrays(self) -> dict[str, NDArray[np.generic]]:
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @classmethod
    def of_arrays(cls, arrays: Mapping[str, NDArray[np.generic]]) -> BoostedTrees:
        """The trees of `arrays`.

        Raises:
            TrainingError: an array is missing.
        """
        missing = [field.name for field in fields(cls) if field.name not in arrays]
        if missing:
            raise TrainingError(f"the saved trees have no {missing[0]}", remedy="run the pipeline again")
        return cls(**{field.name: arrays[field.name] for field in fields(cls)})  # type: ignore[arg-type]


def float32_below(threshold: float) -> np.float32:
    """The largest float32 up to a float64: it decides every finite float32 number alike.

    >>> float(float32_below(0.1)) <= 0.1 < float(np.nextafter(float32_below(0.1), np.float32(np.inf)))
    True
    """
    if threshold >= FLOAT32_MAX:
        return np.float32(FLOAT32_MAX)
    if threshold < -FLOAT32_MAX:
        return np.float32(-np.inf)
    rounded = np.float32(threshold)
    return rounded if float(rounded) <= threshold else np.float32(np.nextafter(rounded, np.float32(-np.inf)))
