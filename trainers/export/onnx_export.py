"""Exports a network to a self-contained ONNX graph, and checks that graph and model of any kind give the same
probabilities."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from divisions.bundle import GRAPH_INPUT, GRAPH_OUTPUT
from divisions.errors import TrainingError
from divisions.schema import FeatureKind, FeatureSchema
from trainers.export.network_graph import network_graph
from trainers.training.calibration import sigmoid
from trainers.training.kinds import TrainedModel, logits_of
from trainers.training.model import TabularNet, rows_a_pass

FRAMEWORK = f"torch {torch.__version__}"
INPUT_NAME = GRAPH_INPUT
OUTPUT_NAME = GRAPH_OUTPUT
PARITY_TOLERANCE = 1e-5
"""Largest allowed difference of two probabilities. Float32 sums differ by about 1e-7 if their order changes."""

PARITY_BATCH_SIZES = (1, 2, 7, 64, 257)


def export_onnx(network: TabularNet, schema: FeatureSchema, metadata: Mapping[str, str]) -> bytes:
    """The bytes of a graph ``rows float32[batch, F] -> scores float32[batch]``, including all weights.

    Raises:
        TrainingError: the graph cannot be written, or is not valid ONNX.
    """
    import onnx

    graph = network_graph(network.to("cpu").eval(), schema)
    onnx.helper.set_model_props(graph, dict(metadata))
    try:
        graph = onnx.shape_inference.infer_shapes(graph, check_type=True, strict_mode=True)
        onnx.checker.check_model(graph, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise TrainingError(
            f"the model cannot be exported to ONNX: {error}", remedy="report this with the pipeline file"
        ) from error
    data: bytes = graph.SerializeToString()
    return data


def check_parity(
    model: TrainedModel, schema: FeatureSchema, model_onnx: bytes, real_rows_NF: NDArray[np.float32], seed: int
) -> float:
    """Compares ONNX Runtime with the trained model on real, random, extreme and missing inputs in several batch sizes.

    Returns:
        The largest difference of two probabilities.

    Raises:
        TrainingError: it exceeds `PARITY_TOLERANCE`, or a score is not a probability.
    """
    session = _session(model_onnx)
    probe_NF = np.concatenate([parity_rows(schema, np.random.default_rng(seed)), real_rows_NF[:512]])
    expected_N = sigmoid(logits_of(model, probe_NF))  # in one go: what a row gets does not depend on its neighbours
    worst = 0.0
    for batch_size in PARITY_BATCH_SIZES:
        for start in range(0, len(probe_NF), batch_size):
            batch_NF = probe_NF[start : start + batch_size]
            (actual_N,) = session.run([OUTPUT_NAME], {INPUT_NAME: batch_NF})
            if actual_N.shape != (len(batch_NF),) or not ((actual_N >= 0.0) & (actual_N <= 1.0)).all():
                raise TrainingError(
                    f"the exported graph gives something that is not a probability in a batch of {len(batch_NF)}",
                    remedy="report this with the pipeline file",
                )
            worst = max(worst, float(np.abs(actual_N - expected_N[start : start + batch_size]).max()))
    if not worst <= PARITY_TOLERANCE:
        raise TrainingError(
            f"the exported graph differs from the trained model by {worst:.3g} (tolerance {PARITY_TOLERANCE:g})",
            remedy="report this with the pipeline file",
        )
    return worst


def parity_rows(schema: FeatureSchema, rng: np.random.Generator, num_random: int = 256) -> NDArray[np.float32]:
    """Difficult rows that a caller might send: extremes, missing values, unknown categories."""
    num_columns = schema.num_columns
    random_NF = (rng.normal(size=(num_random, num_columns)) * 10.0 ** rng.uniform(-3, 6, num_columns)).astype(
        np.float32
    )
    for column, feature in enumerate(schema.features):
        if feature.kind is FeatureKind.CATEGORICAL:
            random_NF[:, column] = rng.integers(0, len(feature.categories) + 3, num_random)
    holed_NF = np.where(rng.random(random_NF.shape) < 0.3, np.nan, random_NF)
    constants = (0.0, 1.0, -1.0, 3e38, -3e38, 1e-38, np.nan)
    constant_NF = np.repeat(np.asarray(constants)[:, None], num_columns, axis=1)
    return np.concatenate([random_NF, holed_NF, constant_NF]).astype(np.float32)


def score(model_onnx: bytes, rows_NF: NDArray[np.float32], batch_size: int = 4096) -> NDArray[np.float32]:
    """Scores rows with the exported graph, so that validation uses the graph that will serve."""
    return scorer(model_onnx, batch_size)(rows_NF)


def scorer(model_onnx: bytes, batch_size: int = 4096) -> Callable[[NDArray[np.float32]], NDArray[np.float32]]:
    """A function that scores rows with the exported graph, which is loaded once. Wide rows go in smaller batches."""
    session = _session(model_onnx)

    def run(rows_NF: NDArray[np.float32]) -> NDArray[np.float32]:
        size = min(batch_size, rows_a_pass(rows_NF.shape[1]))
        parts = [
            session.run([OUTPUT_NAME], {INPUT_NAME: rows_NF[start : start + size]})[0]
            for start in range(0, len(rows_NF), size)
        ]
        return np.concatenate(parts) if parts else np.zeros(0, np.float32)

    return run


def row_runner(model_onnx: bytes, row_1F: NDArray[np.float32]) -> Callable[[], object]:
    """A function that scores one row (``float32[1, F]``), for measuring how long that takes."""
    session = _session(model_onnx)
    return lambda: session.run([OUTPUT_NAME], {INPUT_NAME: row_1F})


def _session(model_onnx: bytes) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(model_onnx, options, providers=["CPUExecutionProvider"])
