"""MLServer: a runtime of ours behind its Open Inference Protocol endpoint. Runs in an environment of its own.

Its adaptive batching joins protocol requests only, so the request is one tensor ``rows`` FP32 [1, F] as JSON: the same
numbers without names, which is less to decode than what the others get.
"""

from __future__ import annotations

import os

import numpy as np
from mlserver import MLModel
from mlserver.types import InferenceRequest, InferenceResponse, ResponseOutput

from benchmarks.peers.scorer import Scorer, graph_from


class BenchModel(MLModel):  # type: ignore[misc]  # not installed in our own environment
    """Scores whatever batch MLServer has joined."""

    async def load(self) -> bool:
        self._scorer = Scorer(graph_from(dict(os.environ)))
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        rows = payload.inputs[0]
        data = getattr(rows.data, "root", rows.data)
        scores = self._scorer.scores(np.asarray(data, np.float32).reshape(rows.shape))
        output = ResponseOutput(name="scores", shape=[len(scores), 1], datatype="FP32", data=scores)
        return InferenceResponse(id=payload.id, model_name=self.name, outputs=[output])
