"""How fast ONNX Runtime serves each kind's graph: one thread, in turns, in CPU time."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from dataclasses import replace

import msgspec
import numpy as np
from numpy.typing import NDArray

from divisions.pipeline.definition import AnyHyperparams, Hyperparams
from divisions.schema import FeatureSchema

BATCHES = (1, 32, 256)
ROUNDS = 15
ROWS_A_ROUND = 300


class KindSpeed(msgspec.Struct, frozen=True):
    """Medians over the rounds."""

    kind: str
    batch: int
    rows_per_cpu_s: float
    batch_us: float
    graph_kb: float


def measure_speed(
    schema: FeatureSchema, x_NF: NDArray[np.float32], y_N: NDArray[np.float32], kinds: Sequence[AnyHyperparams]
) -> list[KindSpeed]:
    """Trains each kind on these rows (networks for one epoch: their time does not depend on it), and runs its graph."""
    from trainers.export.onnx_export import row_runner

    graphs = {one.kind.value: _graph(schema, x_NF, y_N, one) for one in kinds}
    found = []
    for batch in BATCHES:
        runners = {kind: row_runner(graph, np.ascontiguousarray(x_NF[:batch])) for kind, graph in graphs.items()}
        times: dict[str, list[float]] = {kind: [] for kind in graphs}
        for run in runners.values():
            run()
        for _ in range(ROUNDS):
            for kind, run in runners.items():
                count = max(3, ROWS_A_ROUND // batch)
                started_s = time.process_time()
                for _ in range(count):
                    run()
                times[kind].append((time.process_time() - started_s) / count)
        for kind, graph in graphs.items():
            each_s = statistics.median(times[kind])
            found.append(KindSpeed(kind, batch, batch / each_s, each_s * 1e6, len(graph) / 1e3))
    return found


def _graph(
    schema: FeatureSchema, x_NF: NDArray[np.float32], y_N: NDArray[np.float32], hyperparams: AnyHyperparams
) -> bytes:
    from trainers.export.onnx_export import export_onnx
    from trainers.export.tree_export import export_trees
    from trainers.training.kinds import train
    from trainers.training.training_rows import TrainingData
    from trainers.training.trees import BoostedTrees

    cut = len(x_NF) * 9 // 10
    data = TrainingData(x_NF[:cut], y_N[:cut], x_NF[cut:], y_N[cut:])
    if isinstance(hyperparams, Hyperparams):
        hyperparams = replace(hyperparams, epochs=1)
    trained = train(schema, data, hyperparams, lambda *_: None)
    if isinstance(trained, BoostedTrees):
        return export_trees(trained, schema, {})
    return export_onnx(trained, schema, {})
