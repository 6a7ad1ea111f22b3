"""LitServe: FastAPI in front, a worker process behind a queue. Runs in an environment of its own.

    python -m benchmarks.peers.litserve_app --port N

Decoding is Starlette's (the standard library's json): LitServe hands over objects, not bytes. Annotations are evaluated
here, because FastAPI takes the one of ``decode_request`` for the request's form: `Request` means any JSON.
"""

import os
from typing import Any

import litserve
from fastapi import Request

from benchmarks.peers.scorer import MAX_BATCH, Scorer, answer_of, graph_from, port_option

BATCH_TIMEOUT_S = 0.001  # with 0 it takes what is there and hardly ever batches


class Model(litserve.LitAPI):  # type: ignore[misc]  # not installed in our own environment
    """The model's side of LitServe's queue."""

    def setup(self, device: str) -> None:
        del device
        self._scorer = Scorer(graph_from(dict(os.environ)))

    def decode_request(self, request: Request) -> Any:
        return request  # parsed by now

    def predict(self, inputs: list[dict[str, Any]]) -> list[dict[str, Any]]:
        scores = self._scorer.scores([self._scorer.row(body["features"]) for body in inputs])
        return [answer_of(body["customer_id"], score) for body, score in zip(inputs, scores, strict=True)]

    def batch(self, inputs: list[Any]) -> list[Any]:
        return inputs

    def unbatch(self, output: list[Any]) -> list[Any]:
        return output

    def encode_response(self, output: dict[str, Any]) -> dict[str, Any]:
        return output


if __name__ == "__main__":
    server = litserve.LitServer(
        Model(max_batch_size=MAX_BATCH, batch_timeout=BATCH_TIMEOUT_S),
        accelerator="cpu",
        devices=1,
        workers_per_device=1,
        fast_queue=True,  # ZeroMQ in place of multiprocessing's manager
    )
    server.run(
        host="127.0.0.1",
        port=port_option(),
        num_api_servers=1,
        generate_client_file=False,
        log_level="warning",
        access_log=False,
    )
