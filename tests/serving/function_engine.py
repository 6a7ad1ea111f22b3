"""An engine made from a function."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from serving.engines.protocol import FloatArray, batch_buckets


class FunctionEngine:
    name = "function"

    def __init__(self, columns: int, function: Callable[[FloatArray], FloatArray]) -> None:
        self.columns = columns
        self._function = function

    def warm(self, max_batch: int) -> None:
        for rows in batch_buckets(max_batch):
            self.run(np.zeros((rows, self.columns), np.float32))

    def run(self, rows_NF: FloatArray) -> FloatArray:
        return self._function(rows_NF)

    def close(self) -> None:
        pass
