"""Ingestion over a Ray cluster of two nodes: the rows of one machine, also when processes die in the middle."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from divisions.pipeline.definition import Features
from divisions.settings import S3Settings
from tests.e2e.command_line import clean_environment
from tests.e2e.ray_processes import end_all
from tests.trainers.cluster_data.dirty import assert_same, write_dirty
from trainers.data.ingest import Reading, read_events
from trainers.data.preparation import PreparationTask, prepare

pytestmark = pytest.mark.e2e
ROOT = Path(__file__).parents[2]
NODES = """
import sys, time
from ray.cluster_utils import Cluster
cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 2, "include_dashboard": False})
cluster.add_node(num_cpus=2)
print("address", cluster.address, flush=True)
sys.stdin.read()
"""


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """A head and another node, two raylets on this machine. They end with this process's end of the pipe."""
    temporary = Path(f"/tmp/dn-{os.getpid()}")
    variables = {**environment(), "RAY_TMPDIR": str(temporary), "RAY_raylet_start_wait_time_s": "120"}
    temporary.mkdir()
    process = subprocess.Popen(
        [sys.executable, "-c", NODES], env=variables, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    yield next(line.split()[1] for line in process.stdout if line.startswith("address"))
    end_all(process)
    subprocess.run(["rm", "-rf", str(temporary)], check=True)


def environment() -> dict[str, str]:
    return {**clean_environment(), "PYTHONPATH": str(ROOT)}


DRIVER = """
import os, pickle, signal, sys
from functools import partial
from pathlib import Path
import ray
from divisions.pipeline.definition import Distribution, Features, Resources
from divisions.progress import LineProgress
from divisions.settings import S3Settings, Settings
from trainers.cluster_data import ray_workers
from trainers.cluster_data.reading import read_by_size
from trainers.data.ingest import Reading
from trainers.data.preparation import PreparationTask
from trainers.training import ray_session
from trainers.training.ray_compute import RayCompute
from trainers.training.ray_messages import RayMessages

address, raw, folder, death = sys.argv[1:]
ray_session.connect(address)

def die_once(marker, name):
    # Runs in the process of Ray: the first one of this kind ends as the out-of-memory killer ends it.
    if name in sys._getframe(1).f_code.co_name and not os.path.exists(marker):
        Path(marker).touch()
        os.kill(os.getpid(), signal.SIGKILL)

class KilledBuckets(ray_workers.RayBuckets):
    def call(self, call):
        if call.method == "pick":
            ray.kill(self.handles[0].actor)
        return super().call(call)

if death == "bucket":
    ray_workers.RayBuckets = KilledBuckets
on_start = partial(die_once, folder + "/died", "_read") if death == "reader" else int
nodes = len(ray_session.nodes())
place = partial(ray_workers.placed_workers, 3, 1.0, 0, on_start)
events = read_by_size(
    raw, s3=S3Settings(), allow_buckets=(), features=Features(), label="churn", num_nodes=nodes, place=place,
    wanted=Distribution.ALWAYS, reading=Reading(is_latest_only=True, newest=Path(folder) / "newest.parquet"),
)
if death == "none":
    # As a run does it: the preparation is a task, and finds its room itself.
    messages = RayMessages(Path(folder) / "ray.log", LineProgress(sys.stdout))
    task = PreparationTask(raw, Features(), "churn", 0, S3Settings(), (), distributed=Distribution.ALWAYS)
    prepared = RayCompute(Settings(home=Path(folder)), messages).prepare("churn", task, Resources(num_cpus=1.0))
    Path(folder, "prepared.pickle").write_bytes(pickle.dumps(prepared))
Path(folder, "events.pickle").write_bytes(pickle.dumps(events))
print("nodes", nodes)
"""


@pytest.mark.parametrize("death", ["none", "reader", "bucket"])
def test_two_nodes_give_the_rows_of_one_machine(address, tmp_path, death):
    raw = write_dirty(tmp_path / "raw")
    script = tmp_path / "driver.py"
    script.write_text(DRIVER)
    done = subprocess.run(
        [sys.executable, str(script), address, str(raw), str(tmp_path), death],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stderr + done.stdout
    assert "nodes 2" in done.stdout
    assert (tmp_path / "died").exists() == (death == "reader")
    events = pickle.loads((tmp_path / "events.pickle").read_bytes())
    reading = Reading(is_latest_only=True, newest=tmp_path / "alone.parquet")
    alone = read_events(
        str(raw), s3=S3Settings(), allow_buckets=(), features=Features(), label="churn", reading=reading
    )
    assert_same(alone, events)
    assert events.notes[-1] == "read over 2 nodes: data_prep.distributed is always"
    if death == "none":
        prepared = pickle.loads((tmp_path / "prepared.pickle").read_bytes())
        task = PreparationTask(str(raw), Features(), "churn", 0, S3Settings(), ())
        assert prepared.data_sha256 == prepare(task).data_sha256
        assert "read over 2 nodes: data_prep.distributed is always" in prepared.table.notes
