"""Python servers as peers: each in an environment of its own, with dynamic batching on and set for throughput."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from benchmarks.harness.bench_bundle import Workload
from benchmarks.harness.peer import Served
from benchmarks.harness.ports import free_ports
from benchmarks.peers.environment import RUNTIME, PeerEnvironment
from benchmarks.peers.scorer import MAX_BATCH, Graph, variables_of
from benchmarks.peers.server_process import server_process

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, slots=True)
class Launch:
    """How to start one server: options after the interpreter, what its environment adds, and where it answers."""

    arguments: Sequence[str]
    variables: dict[str, str]
    path: str


@dataclass(frozen=True, slots=True)
class PythonServer:
    """One framework.

    Args:
        environment: where it is installed.
        note: how it is set.
        launch: from the port and an empty folder to how it starts.
        body: from the workload to the body of its protocol.
    """

    environment: PeerEnvironment
    note: str
    launch: Callable[[int, Path], Launch]
    body: Callable[[Workload], bytes]

    @property
    def name(self) -> str:
        return self.environment.name

    def prepare(self, build: Path, say: Callable[[str], None]) -> None:
        self.environment.prepare(build, say)

    @contextlib.contextmanager
    def serving(self, workload: Workload, work: Path) -> Iterator[Served]:
        (port,) = free_ports(1)
        launch = self.launch(port, work)
        # `work` is <build>/<benchmark>/<run>: environments are shared by all benchmarks, below <build>.
        python = self.environment.python(_build_of(work))
        graph = Graph(str(workload.onnx), workload.schema.names)
        variables = variables_of(graph) | launch.variables | {"PYTHONPATH": str(ROOT)}
        served = Served(f"http://127.0.0.1:{port}{launch.path}", self.body(workload))
        with server_process([str(python), *launch.arguments], variables, served, work / "server.log", cwd=work):
            yield served


def _build_of(work: Path) -> Path:
    return next(parent for parent in work.parents if (parent / "peers").is_dir())


def _same(workload: Workload) -> bytes:
    return workload.body


def _in_a_list(workload: Workload) -> bytes:
    return b"[" + workload.body + b"]"


def _as_tensor(workload: Workload) -> bytes:
    features = json.loads(workload.body)["features"]
    row = [features[name] for name in workload.schema.names]
    return msgspec.json.encode({"inputs": [{"name": "rows", "shape": [1, len(row)], "datatype": "FP32", "data": row}]})


def _mosec(port: int, work: Path) -> Launch:
    options = ["--address", "127.0.0.1", "--port", str(port), "--path", str(work / "s"), "--log-level", "warning"]
    return Launch(["-m", "benchmarks.peers.mosec_app", *options, "--timeout", "10000"], {}, "/inference")


def _litserve(port: int, work: Path) -> Launch:
    del work
    return Launch(["-m", "benchmarks.peers.litserve_app", "--port", str(port)], {}, "/predict")


def _bentoml(port: int, work: Path) -> Launch:
    serve = ["-m", "bentoml", "serve", "benchmarks.peers.bentoml_app:Bench"]
    variables = {"BENTOML_HOME": str(work / "home"), "BENTOML_DO_NOT_TRACK": "True", "BENTOCTL_DO_NOT_TRACK": "True"}
    return Launch([*serve, "--host", "127.0.0.1", "--port", str(port)], variables, "/predict")


def _mlserver(port: int, work: Path) -> Launch:
    grpc_port, metrics_port = free_ports(2)
    settings = {
        "host": "127.0.0.1",
        "http_port": port,
        "grpc_port": grpc_port,
        "metrics_port": metrics_port,
        "metrics_endpoint": None,
        "debug": False,
        "parallel_workers": 0,
    }
    model = {
        "name": "bench",
        "implementation": "benchmarks.peers.mlserver_app.BenchModel",
        "max_batch_size": MAX_BATCH,
        "max_batch_time": 0.001,
    }
    (work / "settings.json").write_text(json.dumps(settings), encoding="utf-8")
    (work / "model-settings.json").write_text(json.dumps(model), encoding="utf-8")
    program = "import sys; from mlserver.cli import main; sys.argv[0] = 'mlserver'; main()"
    return Launch(["-c", program, "start", str(work)], {}, "/v2/models/bench/infer")


MOSEC = PythonServer(
    PeerEnvironment("mosec", ("mosec==0.9.8", *RUNTIME)),
    f"Rust front, one worker process, msgspec, batches of up to {MAX_BATCH} or 1 ms (the least it takes)",
    _mosec,
    _same,
)
BENTOML = PythonServer(
    PeerEnvironment("bentoml", ("bentoml==1.4.39", *RUNTIME)),
    f"one worker, batchable API of up to {MAX_BATCH} (its own adaptive wait), metrics and access log off; "
    "the body is the same object in a list of one",
    _bentoml,
    _in_a_list,
)
LITSERVE = PythonServer(
    PeerEnvironment("litserve", ("litserve==0.2.19", *RUNTIME)),
    f"one API server, one worker, ZeroMQ queue, batches of up to {MAX_BATCH} or 1 ms",
    _litserve,
    _same,
)
MLSERVER = PythonServer(
    PeerEnvironment("mlserver", ("mlserver==1.7.1", *RUNTIME)),
    f"model in the server's process, adaptive batching of up to {MAX_BATCH} or 1 ms, metrics off; the body is its "
    "protocol's tensor of the same numbers",
    _mlserver,
    _as_tensor,
)
