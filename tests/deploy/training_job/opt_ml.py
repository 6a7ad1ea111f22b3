"""A folder that plays ``/opt/ml``, and the adapter as the process that SageMaker would start there."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
from pathlib import Path

import msgspec

from deploy.training_job.contract import Task
from tests.trainers.churn import raw_frame

DAY = "2025-01-13"
FIRST = Task(DAY, partition=f"partition={DAY}", file="events.csv")
COMMAND = (sys.executable, "-m", "deploy.training_job.container")
PIPELINE = """
pipeline: customer-churn-v3
model: {{name: churn-predictor, major: 3}}
features: {{holdout_fraction: 0.25}}
stages:
  data_prep: {{input: {input}}}
  training:
    hyperparams: {{epochs: {epochs}, batch_size: 32, learning_rate: 0.01, hidden: [16], embedding_dim: 4}}
  validation:
    gates: ["auc > {auc}"]
  deployment: {{endpoint: /api/v2/predict/churn}}
"""


def pipeline_text(*, auc: float = 0.6, epochs: int = 3, given: str = "events.csv") -> str:
    return PIPELINE.format(input=given, epochs=epochs, auc=auc)


def write_events(folder: Path, *, seed: int = 0) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "events.csv"
    raw_frame(1200, seed=seed).to_csv(path, index=False)
    return path


def prepare(root: Path, task: Task, pipeline: str, hosts: tuple[str, ...] = ("algo-1",)) -> Path:
    """The job's folders, with its pipeline; events are the test's own."""
    config, channel = root / "input" / "config", root / "input" / "data" / "pipeline"
    for folder in (config, channel, root / "model", root / "output"):
        folder.mkdir(parents=True, exist_ok=True)
    (config / "hyperparameters.json").write_bytes(msgspec.json.encode(task.to_hyperparameters()))
    (config / "resourceconfig.json").write_bytes(msgspec.json.encode({"current_host": hosts[0], "hosts": hosts}))
    (channel / "pipeline.yaml").write_text(pipeline)
    return root


def environment() -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("DIVISIONS_", "AWS_"))}
    return {**kept, "OMP_NUM_THREADS": "1"}


def run(root: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, str(root)], env=environment(), capture_output=True, text=True, timeout=600, check=False
    )


def pack(folder: Path, tar: Path) -> Path:
    """As other tools pack a folder: with an entry for it, and ``./`` before each name."""
    with tarfile.open(tar, "w:gz") as file:
        file.add(folder, arcname=".")
    return tar
