"""Training over two nodes with disks of their own and a bucket of a real S3 server (moto): a worker, a node and the run
itself are lost, one after the other, and the model is that of an undisturbed training, registered once."""

from __future__ import annotations

import contextlib
import os
import pickle
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from onnx import numpy_helper

from divisions.artifacts.cache import Bundles
from divisions.artifacts.work_store import open_work_store
from divisions.bundle import ONNX
from divisions.pipeline.file import load_pipeline
from divisions.registry import Registry
from divisions.settings import S3Settings, Settings
from tests.e2e import s3_server
from tests.e2e.ray_processes import descendants, end_all
from tests.trainers.churn import raw_frame
from trainers.data.preparation import PreparationTask, prepare
from trainers.training.training_rows import training_data, write_rows

pytestmark = pytest.mark.e2e
ROOT = Path(__file__).parents[2]
DAY = "2025-01-13"
EPOCHS = 200
WORKERS = 2
FILE = f"""
pipeline: churn
stages:
  data_prep:
    input: "s3://raw-events/partition=${{today}}"
  training:
    workers: {WORKERS}
    hyperparams: {{epochs: {EPOCHS}, batch_size: 64, hidden: [16], embedding_dim: 4, learning_rate: 0.01, patience: 0}}
  deployment:
    endpoint: /api/v2/predict/churn
"""
NODES = """
import os, sys
from ray.cluster_utils import Cluster
one, two = sys.argv[1:]
os.environ["DIVISIONS_HOME"] = one
cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
os.environ["DIVISIONS_HOME"] = two
other = cluster.add_node(num_cpus=1)
print("address", cluster.address, flush=True)
for line in sys.stdin:
    cluster.remove_node(other, allow_graceful=False)
    print("removed", flush=True)
    other = cluster.add_node(num_cpus=1)
"""


@dataclass
class Place:
    """The cluster of two nodes, the bucket, and the home of the run: three disks."""

    folder: Path
    endpoint: str
    nodes: subprocess.Popen[str]
    address: str

    @property
    def settings(self) -> Settings:
        s3 = S3Settings(endpoint_url=self.endpoint, access_key="any", secret_key="any")
        return Settings(home=self.folder / "run", artifacts="s3://models/team", s3=s3)

    def trainers(self) -> subprocess.Popen[str]:
        (self.folder / "churn.yaml").write_text(FILE)
        command = [sys.executable, "-m", "trainers", "--pipeline", str(self.folder / "churn.yaml"), "--today", DAY]
        return subprocess.Popen(
            [*command, "--no-deploy", "--ray-address", self.address],
            env={
                **environment(),
                "DIVISIONS_HOME": str(self.folder / "run"),
                "DIVISIONS_ARTIFACTS": "s3://models/team",
                "AWS_ENDPOINT_URL_S3": self.endpoint,
                "AWS_ACCESS_KEY_ID": "any",
                "AWS_SECRET_ACCESS_KEY": "any",
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=ROOT,
        )

    def lose_node(self) -> None:
        """The node goes with all of its processes; a new one comes in its place, with the same disk."""
        assert self.nodes.stdin is not None
        assert self.nodes.stdout is not None
        self.nodes.stdin.write("lose\n")
        self.nodes.stdin.flush()
        assert self.nodes.stdout.readline() == "removed\n"


def environment() -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("RAY_", "DIVISIONS_", "AWS_"))}
    return {**kept, "PYTHONPATH": str(ROOT)}


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Iterator[Place]:
    folder, temporary = tmp_path_factory.mktemp("place"), Path(f"/tmp/dct-{os.getpid()}")
    temporary.mkdir()
    command = [sys.executable, "-c", NODES, str(folder / "one"), str(folder / "two")]
    variables = {
        **environment(),
        "RAY_TMPDIR": str(temporary),
        "RAY_raylet_start_wait_time_s": "120",
        # A node that is lost is noticed after 3 s instead of 15 s.
        "RAY_health_check_period_ms": "1000",
        "RAY_health_check_failure_threshold": "3",
    }
    with s3_server.running() as endpoint:
        client = s3_server.client_of(endpoint)
        for bucket in ("raw-events", "models"):
            client.create_bucket(Bucket=bucket)
        sink = pa.BufferOutputStream()
        pq.write_table(pa.Table.from_pandas(raw_frame(day=DAY)), sink)
        client.put_object(Bucket="raw-events", Key=f"partition={DAY}/events.parquet", Body=sink.getvalue().to_pybytes())
        nodes = subprocess.Popen(command, env=variables, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert nodes.stdout is not None
        address = next(line.split()[1] for line in nodes.stdout if line.startswith("address"))
        yield Place(folder, endpoint, nodes, address)
        end_all(nodes)
    subprocess.run(["rm", "-rf", str(temporary)], check=True)


def follow(process: subprocess.Popen[str], disturb: dict[int, Callable[[], None]]) -> list[str]:
    """The output of a run; each disturbance comes at its epoch."""
    lines = []
    watchdog = threading.Timer(400.0, process.kill)
    watchdog.start()
    assert process.stdout is not None
    for line in process.stdout:
        lines.append(line.strip())
        found = re.search(r"epoch (\d+)/", line)
        for epoch in [each for each in disturb if found and int(found[1]) >= each]:
            disturb.pop(epoch)()
    watchdog.cancel()
    process.wait()
    assert not disturb, lines
    return lines


def kill_worker(place: Place) -> None:
    for pid in descendants(place.nodes.pid):
        with contextlib.suppress(FileNotFoundError):
            if b"ray::RayTrainWorker" in Path(f"/proc/{pid}/cmdline").read_bytes():
                os.kill(pid, signal.SIGKILL)
                return
    raise AssertionError("no worker trains")


def test_a_worker_a_node_and_the_run_are_lost_and_the_model_is_that_of_an_undisturbed_training(place, tmp_path):
    first = place.trainers()
    lines = follow(
        first,
        {
            EPOCHS * 2 // 10: lambda: kill_worker(place),
            EPOCHS * 4 // 10: place.lose_node,
            EPOCHS * 6 // 10: first.kill,
        },
    )
    text = "\n".join(lines)
    assert first.returncode == -signal.SIGKILL, text
    assert "Train: failed" not in text
    store = open_work_store(place.settings)
    # Two are kept; a worker may have been killed between a third one and the removal of the oldest.
    assert len([one for one in store.listed("churn") if one.path.endswith(".pt")]) in {2, 3}

    second = place.trainers()
    text = "\n".join(follow(second, {}))
    assert second.returncode == 0, text
    went_on = re.search(
        rf"note: an earlier run was interrupted: training goes on after epoch (\d+) of {EPOCHS}\n", text
    )
    assert went_on, text
    assert int(went_on[1]) >= EPOCHS * 5 // 10

    # Registered once, with every epoch; nothing is left in the store or on the nodes.
    registry = Registry(place.settings.home)
    (version,) = registry.list_versions()
    assert version.validation_status == "passed"
    assert sorted(run.status for run in registry.list_runs(None, 10)) == ["FINISHED", "KILLED"]
    history = registry._reads.metric_history(version.run_id, "train_loss")
    assert [step for step, _ in history] == list(range(1, EPOCHS + 1))
    assert store.listed("churn") == []
    for home in ("one", "two", "run"):
        assert not list((place.folder / home).rglob("*.npy")), "rows stay on no node"
    assert (place.folder / "one" / "training" / "rows").is_dir(), "each node has had them on its own disk"
    assert (place.folder / "two" / "training" / "rows").is_dir()

    folder, _ = Bundles.of(place.settings).open(version.bundle_path, version.bundle_sha256)
    served = weights_in((folder / ONNX).read_bytes())
    expected = undisturbed(place, tmp_path)
    for name in ("head.weight", "body.0.weight", "numeric.weight_MIE", "categorical.table.weight"):
        assert any(np.array_equal(each, expected[name]) or np.array_equal(each, expected[name].T) for each in served), (
            name
        )


def weights_in(model: bytes) -> list[np.ndarray]:
    return [numpy_helper.to_array(one) for one in onnx.load_from_string(model).graph.initializer]


def undisturbed(place: Place, folder: Path) -> dict[str, np.ndarray]:
    """The weights of the same training by plain processes of PyTorch's, without Ray."""
    (folder / "churn.yaml").write_text(FILE)
    pipeline = load_pipeline(folder / "churn.yaml")
    task = PreparationTask(
        f"s3://raw-events/partition={DAY}", pipeline.features, pipeline.label, 0, place.settings.s3, ()
    )
    prepared = prepare(task)
    data = training_data(prepared, 0)
    (folder / "task.pickle").write_bytes(pickle.dumps((prepared.table.schema, pipeline.training.hyperparams)))
    write_rows(data, folder / "rows.npy")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    arguments = [str(folder), str(len(data.train_rows_NF)), str(port)]
    ranks = [
        subprocess.Popen([sys.executable, "-c", RANK, *arguments, str(rank), str(WORKERS)], env=environment(), cwd=ROOT)
        for rank in range(WORKERS)
    ]
    assert [process.wait(300) for process in ranks] == [0] * WORKERS
    return {name: one.numpy() for name, one in torch.load(folder / "weights.pt", weights_only=True).items()}


RANK = """
import pickle, sys
from pathlib import Path
import torch
from torch import nn
from trainers.training.loop import Shard, train
from trainers.training.model import build_model, use_threads
from trainers.training.training_rows import open_rows

folder, num_train, port, rank, world_size = Path(sys.argv[1]), *map(int, sys.argv[2:])
use_threads(1)
torch.distributed.init_process_group("gloo", f"tcp://127.0.0.1:{port}", rank=rank, world_size=world_size)
schema, hyperparams = pickle.loads((folder / "task.pickle").read_bytes())
data = open_rows(folder / "rows.npy", num_train)
model = build_model(schema, data.train_rows_NF, hyperparams)
wrap = nn.parallel.DistributedDataParallel
weights = train(model, data, hyperparams, lambda *_: None, shard=Shard(rank, world_size), wrap=wrap)
if rank == 0:
    torch.save(weights, folder / "weights.pt")
"""
