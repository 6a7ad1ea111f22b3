"""``python -m trainers`` as users start it: on its own Ray cluster, and without one where Ray does not matter."""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from divisions.bundle import read_bundle
from divisions.pipeline.definition import Resources
from divisions.registry import Registry
from tests.e2e.command_line import clean_environment
from tests.e2e.ray_processes import descendants, kill_all
from tests.trainers.churn import HYPERPARAMS, SCHEMA, training_data

pytestmark = pytest.mark.e2e
ROOT = Path(__file__).parents[2]
PIPELINE = ROOT / ".divisions" / "pipeline" / "ml_training.yaml"
DAY = "2025-01-13"


@pytest.fixture(scope="module")
def raw(tmp_path_factory) -> Path:
    """The product's demo data: real telecom customers."""
    folder = tmp_path_factory.mktemp("demo")
    subprocess.run(
        [sys.executable, "-m", "trainers.demo_data", "--out", str(folder)], check=True, timeout=400, cwd=ROOT
    )
    return folder / "raw"


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def cluster(home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """A Ray cluster with token auth on free ports. The fixture ends it and its children by their pids."""
    (home / "ray_token").write_text(secrets.token_hex(32))
    (home / "ray_token").chmod(0o600)
    gcs, *others = (str(port) for port in free_ports(5))
    names = (
        "dashboard-agent-listen-port",
        "dashboard-agent-grpc-port",
        "runtime-env-agent-port",
        "metrics-export-port",
    )
    command = [str(Path(sys.executable).parent / "ray"), "start", "--head", "--block", "--num-cpus", "4"]
    command += ["--node-ip-address", "127.0.0.1", "--port", gcs, "--include-dashboard=false", "--disable-usage-stats"]
    # Ray's sockets are in this folder, and the path of a socket has at most 107 characters.
    command += ["--temp-dir", f"/tmp/dt-{os.getpid()}", "--min-worker-port", "0", "--max-worker-port", "0"]
    command += [f"--{name}={port}" for name, port in zip(names, others, strict=True)]
    log_path = tmp_path_factory.mktemp("logs") / "ray.log"
    log = log_path.open("w")
    # Ray gives its own daemon 30 s to start, which is too little on a machine that is busy with other tests.
    variables = environment(home) | {"RAY_raylet_start_wait_time_s": "120"}
    process = subprocess.Popen(command, env=variables, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT)
    (home / "cluster.json").write_text(json.dumps({"ray_address": f"127.0.0.1:{gcs}"}))
    wait_for_start(log_path, process)
    yield process.pid
    kill_all(process)
    log.close()
    shutil.rmtree(f"/tmp/dt-{os.getpid()}", ignore_errors=True)


def is_worker(pid: int) -> bool:
    try:
        return b"ray::divisions-training" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except FileNotFoundError:
        return False


def free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


def wait_for_start(log: Path, process: subprocess.Popen[bytes], timeout_s: float = 240.0) -> None:
    end_s = time.monotonic() + timeout_s
    while "Ray runtime started" not in log.read_text():
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < end_s, log.read_text()
        time.sleep(0.2)


def environment(home: Path) -> dict[str, str]:
    token = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(home / "ray_token")}
    return {**clean_environment(), **token, "DIVISIONS_HOME": str(home)}


def start(home: Path, *arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "trainers", "--pipeline", str(PIPELINE), "--today", DAY, *arguments]
    variables = {name: value for name, value in environment(home).items() if not name.startswith("RAY_")}
    return subprocess.Popen(
        command,
        env=variables,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )


def trainers(home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    with start(home, *arguments) as process:
        try:
            stdout, stderr = process.communicate(timeout=400)
        finally:
            process.kill()
    return subprocess.CompletedProcess(process.args, process.returncode, stdout, stderr)


@pytest.fixture(scope="module")
def registered(home: Path, cluster: int, raw: Path) -> dict[str, Any]:
    """The outcome of the product page's pipeline on Ray, and in ``stderr`` what it has told."""
    done = trainers(home, "--input", f"{raw}/partition=${{today}}", "--no-deploy", "--output", "json")
    assert done.returncode == 0, done.stderr
    return {**json.loads(done.stdout), "stderr": done.stderr}


def test_the_product_pages_pipeline_trains_on_ray_and_registers_a_version_that_passed(home, registered):
    outcome = registered
    assert outcome["version"] == "3.1"
    assert outcome["validation_status"] == "passed"
    assert outcome["metrics"]["auc"] >= 0.88
    read_bundle(Path(outcome["bundle_path"]), outcome["bundle_sha256"])
    # One notice per resource that the cluster lacks, and no error: a T4 becomes CPUs.
    assert outcome["stderr"].count("note: training asks for a T4, the cluster has none: using CPUs") == 1
    assert "Traceback" not in outcome["stderr"]
    assert Registry(home).get_version("churn-predictor", "staging").run_id == outcome["run_id"]


def test_training_continues_from_its_checkpoint_after_a_worker_was_killed(home, cluster, tmp_path):
    """Its weights equal those of an undisturbed run."""
    hyperparams = replace(HYPERPARAMS, epochs=600)
    script = tmp_path / "train.py"
    script.write_text(DRIVER)
    driver = subprocess.Popen(
        [sys.executable, str(script), str(home), str(tmp_path / "weights.pt")],
        env={**environment(home), "PYTHONPATH": f"{ROOT}:{ROOT / 'tests' / 'trainers'}"}
        | {"RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.25"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    watchdog = threading.Timer(400.0, driver.kill)
    watchdog.start()
    epochs, killed, notes = [], [], []
    assert driver.stdout is not None
    for line in driver.stdout:
        if not line.strip().isdigit():
            notes.append(line.strip())
            continue
        epochs.append(int(line))
        if epochs[-1] >= 60 and not killed:
            killed = [pid for pid in descendants(cluster) if is_worker(pid)]
            os.kill(killed[0], signal.SIGKILL)
    watchdog.cancel()
    assert driver.wait(timeout=60) == 0
    assert killed
    assert epochs == list(range(1, 601))
    # Ray would print a paragraph. One line says what died and where, and its own text is in a log.
    again, death = sorted(notes, key=lambda note: not note.startswith("note: training starts again"))
    assert again.startswith("note: training starts again, 1 of at most 3 times: "), notes
    assert re.match(rf"note: process {killed[0]} on [0-9.]+ was killed, or it crashed: ", death), notes
    assert f"Worker PID: {killed[0]}" in (home / "logs" / "ray.log").read_text()

    from trainers.training.loop import train
    from trainers.training.model import build_model

    data = training_data()
    expected = train(build_model(SCHEMA, data.train_rows_NF, hyperparams), data, hyperparams, lambda *_: None)
    weights = torch.load(tmp_path / "weights.pt", weights_only=True)
    assert all(torch.equal(weights[name], expected[name]) for name in expected)


DRIVER = f"""
import sys
from dataclasses import replace
from pathlib import Path
import torch
from divisions.pipeline.definition import Resources
from divisions.settings import Settings
from churn import HYPERPARAMS, SCHEMA, training_data
from trainers.training import ray_session
from trainers.training.cluster_file import cluster_address
from trainers.training.compute import TrainingTask
from divisions.progress import LineProgress
from trainers.training.ray_compute import RayCompute
from trainers.training.ray_messages import RayMessages, take_messages

home = Path(sys.argv[1])
messages = RayMessages(home / "logs" / "ray.log", LineProgress(sys.stdout))
take_messages(messages)
ray_session.connect(cluster_address(Settings(home=home)))
task = TrainingTask("churn", SCHEMA, training_data(), replace(HYPERPARAMS, epochs=600))
show = lambda epoch, metrics: (sys.stdout.write(f"{{epoch}}\\n"), sys.stdout.flush())  # at once: others print, too
model = RayCompute(Settings(home=home), messages).train(task, {Resources()!r}, 1, show)
torch.save(model.state_dict(), sys.argv[2])
"""


def test_a_run_that_was_killed_goes_on_and_registers_what_an_undisturbed_run_registers(
    home, cluster, raw, registered, tmp_path
):
    interrupted = tmp_path / "interrupted"
    interrupted.mkdir()
    for file in ("ray_token", "cluster.json"):
        shutil.copy(home / file, interrupted / file)
    arguments = ["--input", f"{raw}/partition=${{today}}", "--no-deploy"]
    with start(interrupted, *arguments) as first:
        try:
            wait_for_a_checkpoint(interrupted / "training", first)
        finally:
            first.kill()
            text, errors = first.communicate(timeout=60)
    assert first.returncode == -signal.SIGKILL, text + errors
    again = trainers(interrupted, *arguments)
    assert again.returncode == 0, again.stdout + again.stderr

    told = again.stdout + again.stderr
    went_on = re.search(r"an earlier run was interrupted: training goes on after epoch (\d+) of 50$", told, re.M)
    assert went_on, told
    assert 5 <= int(went_on[1]) < 50
    registry, undisturbed = Registry(interrupted), Registry(home)
    (version,) = registry.list_versions()
    assert version.bundle_sha256 == registered["bundle_sha256"]
    history = registry.metric_history(version.run_id, "train_loss")
    assert [epoch for epoch, _ in history] == list(range(1, len(history) + 1))  # it may end early, both alike
    assert history == undisturbed.metric_history(registered["run_id"], "train_loss")
    # The registry tells the two runs apart, nobody claims either, and no rows of customers stay.
    runs_by_status = {run.status: run.run_id for run in registry.list_runs(None, 10)}
    assert runs_by_status.keys() == {"KILLED", "FINISHED"}
    assert runs_by_status["FINISHED"] == version.run_id
    assert list((interrupted / "run-claims").iterdir()) == []
    assert [one for one in (interrupted / "training").rglob("*") if one.suffix in {".pt", ".npy"}] == []


def wait_for_a_checkpoint(folder: Path, run: subprocess.Popen[str], timeout_s: float = 240.0) -> None:
    """A run that is killed when its first checkpoint is there has nine tenths of its epochs to go."""
    end_s = time.monotonic() + timeout_s
    while not any(folder.rglob("epoch-*.pt")):
        assert run.poll() is None, run.communicate(timeout=60)
        assert time.monotonic() < end_s
        time.sleep(0.02)


def test_a_search_outlives_its_trials_and_leaves_nothing_when_it_is_interrupted(home, cluster, tmp_path):
    """Trials on Ray Tune, one at a time: one diverges, one is killed, one finishes, one is stopped by ASHA."""
    script = tmp_path / "search.py"
    script.write_text(SEARCH)
    driver = subprocess.Popen(
        [sys.executable, str(script), str(home)],
        env={**environment(home), "PYTHONPATH": f"{ROOT}:{ROOT / 'tests' / 'trainers'}"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    watchdog = threading.Timer(300.0, driver.kill)
    watchdog.start()
    lines, killed = [], []
    assert driver.stdout is not None
    assert driver.stdin is not None
    for line in driver.stdout:
        lines.append(line.strip())
        if lines[-1] == "kill":
            killed = trial_processes(cluster)  # that of the first trial may still be ending
            for pid in killed:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            driver.stdin.write("killed\n")
            driver.stdin.flush()
    watchdog.cancel()
    assert driver.wait(60) == 0, lines
    told = [line for line in lines if line.startswith("note: trial ")]
    assert told[0].startswith("note: trial 1 of 4 failed: the loss is no longer finite in epoch 1; the others go on"), (
        told
    )
    found = re.match(r"note: trial 2 of 4 failed: process ([0-9]+) on [0-9.]+ was killed, or it crashed; the", told[1])
    assert found, told
    assert int(found[1]) in killed
    assert told[2].startswith("note: trial 3 of 4 is the best so far: validation loss 0."), told
    ends = [json.loads(line.partition(" ")[2]) for line in lines if line.startswith("ends ")]
    outlived, interrupted = ends
    assert outlived == ["failed", "failed", "finished", "stopped"]
    assert interrupted == ["out of time", "not begun"]
    # Tune's own words are in the log, and nothing of it runs on.
    assert not [line for line in lines if "Trial" in line or "Traceback" in line], lines
    assert "Trial task failed" in (home / "logs" / "search.log").read_text()
    end_s = time.monotonic() + 60.0
    while trial_processes(cluster):
        assert time.monotonic() < end_s, "trials run on"
        time.sleep(0.1)


def trial_processes(cluster: int) -> list[int]:
    found = []
    for pid in descendants(cluster):
        try:
            if b"ray::ImplicitFunc" in Path(f"/proc/{pid}/cmdline").read_bytes():
                found.append(pid)
        except FileNotFoundError:
            continue
    return found


SEARCH = f"""
import json, signal, sys
from dataclasses import replace
from pathlib import Path
from divisions.pipeline.definition import Resources
from divisions.progress import LineProgress
from divisions.settings import Settings
from churn import HYPERPARAMS, SCHEMA, training_data
from trainers.training import ray_session
from trainers.training.cluster_file import cluster_address, prepare_environment
from trainers.training.compute import SearchTask, TrainingTask
from trainers.training.ray_compute import RayCompute
from trainers.training.ray_messages import RayMessages, take_messages
from trainers.training.scoreboard import Scoreboard

signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background process ignores it
settings = Settings(home=Path(sys.argv[1]))
messages = RayMessages(settings.home / "logs" / "search.log", LineProgress(sys.stdout))
take_messages(messages)
prepare_environment(settings)
ray_session.connect(cluster_address(settings))
compute = RayCompute(settings, messages)
good = replace(HYPERPARAMS, epochs=40, learning_rate=0.01)
task = TrainingTask("churn", SCHEMA, training_data(), good)

class Board(Scoreboard):
    on_first = {{}}

    def heard(self, number, news):
        super().heard(number, news)
        self.on_first.pop(number, lambda: None)()  # the trial waits meanwhile

def search(candidates, budget_s, on_first):
    board = Board(candidates, messages.progress.notice)
    board.on_first = on_first
    try:
        compute.search(SearchTask(task, candidates, budget_s), {Resources(num_cpus=3.0)!r}, board)
    except KeyboardInterrupt:
        print("interrupted", flush=True)
    print("ends", json.dumps([trial.end for trial in board.close()]), flush=True)

def kill():
    print("kill", flush=True)
    sys.stdin.readline()

diverging = replace(good, learning_rate=10.0, weight_decay=10.0)
search((diverging, good, good, replace(good, learning_rate=1e-9)), 240.0, {{2: kill}})
long = replace(good, epochs=4_000)  # far longer than it takes to notice a signal
search((long, long), 240.0, {{1: lambda: signal.raise_signal(signal.SIGINT)}})
compute.finish()
"""


def test_ibms_customers_are_refused_by_the_gate_and_nothing_is_served(tmp_path):
    """IBM Telco: the honest AUC is 0.845, and the pipeline asks for more than 0.85."""
    folder = tmp_path / "raw"
    command = [sys.executable, "-m", "trainers.demo_data", "--out", str(folder), "--dataset", "wa_churn"]
    subprocess.run(command, check=True, timeout=400, cwd=ROOT)
    home = tmp_path / "home"
    done = trainers(home, "--input", f"{folder}/raw/partition=${{today}}", "--no-ray")
    assert done.returncode == 1
    (message,) = [line for line in done.stderr.splitlines() if line.startswith("error:")]
    assert "auc > 0.85: auc is 0.8" in message
    (version,) = Registry(home).list_versions()
    assert (version.validation_status, version.aliases) == ("failed", ())
    # What it has printed is kept, its error included, in the home and among its artifacts.
    kept = (home / "logs" / "runs" / f"{version.run_id}.log").read_text()
    lines = [line[20:] for line in kept.splitlines()]
    assert [line for line in done.stdout.splitlines() if line not in lines][1:] == []  # the last line is the outcome
    assert lines[-1] == message
    Registry(home).download_artifact(version.run_id, "run.log", tmp_path)
    assert (tmp_path / "run.log").read_text() == kept
    assert not (home / "features" / "online.db").exists()


def test_without_a_cluster_the_remedy_is_named(tmp_path):
    done = trainers(tmp_path / "home", "--input", "nowhere")
    assert done.returncode == 1
    assert "is up. start one with `divisions up`" in done.stderr
    assert not (tmp_path / "home").exists()


def test_a_cluster_that_has_ended_is_reported_at_once(tmp_path):
    (port,) = free_ports(1)
    done = trainers(tmp_path / "home", "--input", "nowhere", "--ray-address", f"127.0.0.1:{port}")
    assert done.returncode == 1
    assert f"nothing answers at 127.0.0.1:{port}" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_wrong_usage_has_its_own_exit_status(tmp_path):
    assert trainers(tmp_path / "home", "--today-is", "monday").returncode == 2
