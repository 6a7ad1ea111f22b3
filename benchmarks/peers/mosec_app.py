"""mosec: a Rust HTTP front that hands batches to Python workers. Runs in an environment of its own.

    python -m benchmarks.peers.mosec_app --address 127.0.0.1 --port N --path SOCKETS

mosec reads its options from the command line itself. Its batches close when they are full or after ``MAX_WAIT_MS``.
"""

from __future__ import annotations

import os
from typing import Any

import msgspec
from mosec import Server, Worker

from benchmarks.peers.scorer import MAX_BATCH, Body, Scorer, answer_of, graph_from

MAX_WAIT_MS = 1  # the least that mosec takes; 0 means its default of 10


class Model(Worker):  # type: ignore[misc]  # not installed in our own environment
    """One worker process; bytes come in from the Rust side, bytes go back."""

    def __init__(self) -> None:
        super().__init__()
        self._scorer = Scorer(graph_from(dict(os.environ)))
        self._decode = msgspec.json.Decoder(Body).decode
        self._encode = msgspec.json.Encoder().encode

    def deserialize(self, data: bytes) -> Any:
        return self._decode(data)

    def serialize(self, data: Any) -> bytes:
        return self._encode(data)

    def forward(self, data: list[Body]) -> list[dict[str, Any]]:
        scores = self._scorer.scores([self._scorer.row(body.features) for body in data])
        return [answer_of(body.customer_id, score) for body, score in zip(data, scores, strict=True)]


if __name__ == "__main__":
    server = Server()
    server.append_worker(Model, num=1, max_batch_size=MAX_BATCH, max_wait_time=MAX_WAIT_MS)
    server.run()
