"""The interface of an engine: it turns a batch of rows into scores."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float32]


class Engine(Protocol):
    """One model, loaded and ready.

    An engine has its own buffers and is not re-entrant: its owner runs one batch at a time.
    """

    @property
    def name(self) -> str:
        """Library, device and, on a GPU, precision; such as ``onnxruntime-cuda-fp16``. It is only shown."""
        ...

    @property
    def columns(self) -> int:
        """F, the number of features in a row."""
        ...

    def warm(self, max_batch: int) -> None:
        """Prepares every batch size up to ``max_batch``, so that no request waits for a first run.

        Raises:
            BundleError: the model does not answer ``float32[N, F]`` with ``float32[N]``.
        """
        ...

    def run(self, rows_NF: FloatArray) -> FloatArray:  # N rows, F features
        """Scores a batch; the result is ``float32[N]`` and belongs to the caller."""
        ...

    def close(self) -> None:
        """Frees its memory on a GPU. It cannot run after that."""
        ...


def batch_buckets(max_batch: int) -> tuple[int, ...]:
    """The batch sizes to warm: powers of two below ``max_batch``, and ``max_batch``.

    >>> batch_buckets(12)
    (1, 2, 4, 8, 12)
    """
    if max_batch < 1:
        raise ValueError(f"max_batch must be at least 1, got {max_batch}")
    return (*(1 << bit for bit in range((max_batch - 1).bit_length())), max_batch)
