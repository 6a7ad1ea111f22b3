"""Whether an engine gives the same scores as the reference: ONNX Runtime on the CPU, with the graph in float32.

The trainer has compared that graph with PyTorch. An engine on a GPU is compared with it again on the machine that
serves, because kernels differ between GPUs and between versions of a library.
"""

from __future__ import annotations

import numpy as np

from divisions.errors import EngineError
from serving.engines.protocol import Engine, FloatArray, batch_buckets

TOLERANCE = {"fp32": 1e-4, "fp16": 5e-3}
"""Largest allowed difference of two probabilities. Without TF32, float32 sums in another order differ by about 1e-6,
and by ten times that after many layers. For float16 it is the tolerance that the trainer used."""
NUM_RANDOM = 256


def probe_rows(columns: int, seed: int = 0, num_random: int = NUM_RANDOM) -> FloatArray:
    """Rows ``float32[N, columns]``: values of every magnitude, some missing, all missing, and extremes."""
    rng = np.random.default_rng(seed)
    random_NF = rng.normal(size=(num_random, columns)) * 10.0 ** rng.uniform(-3, 6, columns)
    # Categories are small whole numbers.
    codes_NF = rng.integers(0, 8, size=(num_random, columns)).astype(np.float64)
    holed_NF = np.where(rng.random(random_NF.shape) < 0.3, np.nan, random_NF)
    constant_NF = np.repeat(np.asarray((0.0, 1.0, -1.0, 3e38, -3e38, np.nan))[:, None], columns, axis=1)
    return np.concatenate([random_NF, codes_NF, holed_NF, constant_NF]).astype(np.float32)


def check_parity(engine: Engine, reference: Engine, max_batch: int, precision: str) -> float:
    """Compares the engines on every batch bucket; returns the largest difference of two scores.

    Raises:
        EngineError: it exceeds the precision's tolerance, or a score is not a number.
    """
    rows_NF = probe_rows(engine.columns)
    expected_N = np.concatenate([reference.run(rows_NF[at : at + 64]) for at in range(0, len(rows_NF), 64)])
    worst = 0.0
    for batch in batch_buckets(min(max_batch, len(rows_NF))):
        for at in range(0, len(rows_NF), batch):
            actual_B = engine.run(rows_NF[at : at + batch])
            worst = max(worst, _difference(actual_B, expected_N[at : at + batch]))
            if not worst <= TOLERANCE[precision]:
                raise EngineError(
                    f"{engine.name} differs from {reference.name} by {worst:.2g} in a batch of {batch} "
                    f"(tolerance {TOLERANCE[precision]:g})"
                )
    return worst


def _difference(actual_B: FloatArray, expected_B: FloatArray) -> float:
    """The largest difference, relative to the expected value where that is above 1.

    It is infinite where only one of the two is a number. Our own models give a probability for every row. Other models
    may give NaN or infinity for missing and extreme values; a correct engine then gives the same.
    """
    is_same_B = (actual_B == expected_B) | (np.isnan(actual_B) & np.isnan(expected_B))
    with np.errstate(all="ignore"):
        distance_B = np.abs(actual_B - expected_B) / np.maximum(1.0, np.abs(expected_B))
    distance_B = np.where(is_same_B, 0.0, np.where(np.isnan(distance_B), np.inf, distance_B))
    return float(distance_B.max(initial=0.0))
