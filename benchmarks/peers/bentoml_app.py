"""BentoML: a service with one batchable API. Runs in an environment of its own.

    bentoml serve benchmarks.peers.bentoml_app:Bench --host 127.0.0.1 --port N

A batchable API takes and gives lists, so a request is the benchmark's object in a list of one. Decoding is pydantic's.
"""

from __future__ import annotations

import os
from typing import Any

import bentoml
import pydantic

from benchmarks.peers.scorer import MAX_BATCH, Scorer, answer_of, graph_from

MAX_LATENCY_MS = 1_000  # what it may wait at most; its dispatcher learns to wait less. Too low a value answers 503


class Instance(pydantic.BaseModel):  # type: ignore[misc]  # not installed in our own environment
    customer_id: str
    features: dict[str, float]


@bentoml.service(
    workers=1, threads=1, traffic={"timeout": 10}, metrics={"enabled": False}, logging={"access": {"enabled": False}}
)
class Bench:
    def __init__(self) -> None:
        self._scorer = Scorer(graph_from(dict(os.environ)))

    @bentoml.api(batchable=True, max_batch_size=MAX_BATCH, max_latency_ms=MAX_LATENCY_MS, route="/predict")  # type: ignore[untyped-decorator]
    async def predict(self, instances: list[Instance], /) -> list[dict[str, Any]]:
        scores = self._scorer.scores([self._scorer.row(one.features) for one in instances])
        return [answer_of(one.customer_id, score) for one, score in zip(instances, scores, strict=True)]
