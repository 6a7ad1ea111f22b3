"""What every peer does with a request: decode the JSON, order the features, run the graph. It imports nothing of ours.

ONNX Runtime is set as in Divisions: one thread, no spinning. The decoder is the fastest that the peer's framework
allows (msgspec if it gives us bytes).
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

MAX_BATCH = 64
"""As many as the most connections that are compared: a larger batch cannot form."""


class Body(msgspec.Struct, gc=False):
    """The benchmark's request."""

    customer_id: str
    features: dict[str, float]


@dataclass(frozen=True, slots=True)
class Graph:
    """What to load: the ONNX file, and the names of its columns in order."""

    onnx: str
    features: tuple[str, ...]


class Scorer:
    """The model of one process."""

    def __init__(self, graph: Graph) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self._session = onnxruntime.InferenceSession(graph.onnx, options, providers=["CPUExecutionProvider"])
        self._input = self._session.get_inputs()[0].name
        self._features = graph.features

    def row(self, features: dict[str, float]) -> list[float]:
        """The row of one request; KeyError if a feature is missing."""
        return [features[name] for name in self._features]

    def scores(self, rows: Sequence[Sequence[float]] | NDArray[np.float32]) -> list[float]:
        scores: list[float] = self.run(np.asarray(rows, dtype=np.float32)).tolist()
        return scores

    def run(self, rows_NF: NDArray[np.float32]) -> NDArray[np.float32]:
        """Scores ``float32[N, F]`` as ``float32[N]``."""
        scores_N: NDArray[np.float32] = self._session.run(None, {self._input: rows_NF})[0]
        return scores_N


def graph_from(variables: dict[str, str]) -> Graph:
    """The graph that the environment names, for frameworks that own the command line."""
    return Graph(variables["BENCH_ONNX"], tuple(variables["BENCH_FEATURES"].split(",")))


def variables_of(graph: Graph) -> dict[str, str]:
    return {"BENCH_ONNX": graph.onnx, "BENCH_FEATURES": ",".join(graph.features)}


def port_option(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", required=True, type=int)
    port: int = parser.parse_args(arguments).port
    return port


def answer_of(customer_id: str, score: float) -> dict[str, Any]:
    return {"customer_id": customer_id, "churn_probability": score}
