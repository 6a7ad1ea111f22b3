"""Ray Serve with ``@serve.batch``, as its documentation teaches it: the baseline. A process with a cluster of its own.

    python -m benchmarks.peers.ray_serve_app --onnx MODEL --features a,b,c --port N --temp-dir DIR

The settings that matter are Ray's own environment variables (see `benchmarks.peers.ray_serve`).
"""

from __future__ import annotations

import argparse
import logging
import signal
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import ray
from ray import serve
from starlette.requests import Request
from starlette.responses import Response

MAX_BATCH = 64
BATCH_WAIT_S = 0.001  # in place of 10 ms, so that a timer is not what is measured


@serve.deployment(max_ongoing_requests=512, ray_actor_options={"num_cpus": 1})
class Model:
    """Parses the body, collects rows into batches and runs the graph; ONNX Runtime is set as in Divisions."""

    def __init__(self, onnx: str, features: list[str]) -> None:
        import msgspec
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self._session = onnxruntime.InferenceSession(onnx, options, providers=["CPUExecutionProvider"])
        self._input = self._session.get_inputs()[0].name
        self._features = features
        self._decode = msgspec.json.Decoder().decode
        self._encode = msgspec.json.Encoder().encode

    @serve.batch(max_batch_size=MAX_BATCH, batch_wait_timeout_s=BATCH_WAIT_S)  # type: ignore[untyped-decorator]
    async def predict(self, rows: list[list[float]]) -> list[float]:
        scores_N = self._session.run(None, {self._input: np.array(rows, dtype=np.float32)})[0]
        return [float(score) for score in scores_N]

    async def __call__(self, request: Request) -> Response:
        body: Any = self._decode(await request.body())
        features = body["features"]
        score = await self.predict([features[name] for name in self._features])
        answer = {"customer_id": body["customer_id"], "churn_probability": score}
        return Response(self._encode(answer), media_type="application/json")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.peers.ray_serve_app")
    parser.add_argument("--onnx", required=True, type=Path)
    parser.add_argument("--features", required=True, help="names of the model's columns, in order")
    parser.add_argument("--port", required=True, type=int)
    parser.add_argument("--temp-dir", required=True, help="short: Ray puts Unix sockets below it")
    parser.add_argument("--replicas", type=int, default=1)
    options = parser.parse_args()

    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    # Ray counts these CPUs only to place actors: the bookkeeping must not keep replicas from starting.
    ray.init(
        num_cpus=4 + options.replicas,
        include_dashboard=False,
        _temp_dir=options.temp_dir,
        logging_level=logging.WARNING,
    )
    try:
        serve.start(http_options={"host": "127.0.0.1", "port": options.port})
        bound = Model.options(num_replicas=options.replicas).bind(str(options.onnx), options.features.split(","))  # type: ignore[attr-defined]
        serve.run(bound, name="bench", route_prefix="/predict")
        stop.wait()
    finally:
        serve.shutdown()
        ray.shutdown()
    return 0


if __name__ == "__main__":
    sys.exit(main())
