"""The models that engines are compared on: the demo's, and one of the product page's size. Both are really trained."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import msgspec

from divisions.bundle import ONNX, ONNX_FP16, read_bundle
from trainers.demo_data import write_demo_data

LARGE_HIDDEN = (4176, 4176, 4176)
"""35.5 million weights, 142 MB in float32: the size that the product page shows."""


@dataclass(frozen=True, slots=True)
class TrainedModel:
    """A bundle's folder, and the sizes of its graphs; ``half_bytes`` is 0 when it has no float16 variant."""

    name: str
    bundle: Path
    sha256: str
    columns: int
    model_bytes: int
    half_bytes: int

    @property
    def flops_per_row(self) -> float:
        """A multiplication and an addition for each float32 weight."""
        return self.model_bytes / 4 * 2


def open_model(name: str, bundle: Path) -> TrainedModel:
    """Raises: BundleError: the folder is no bundle, or was changed."""
    manifest = read_bundle(bundle)
    half = bundle / ONNX_FP16
    return TrainedModel(
        name,
        bundle,
        manifest.sha256,
        manifest.schema.num_columns,
        (bundle / ONNX).stat().st_size,
        half.stat().st_size if half.exists() else 0,
    )


def train_model(name: str, work: Path, hidden: tuple[int, ...], epochs: int, seed: int) -> TrainedModel:
    """Trains on the bundled telecom customers, with the product's own pipeline in a process of its own.

    Raises:
        RuntimeError: training failed.
    """
    folder = work / name
    data = write_demo_data(folder / "data")
    pipeline = folder / "pipeline.yaml"
    pipeline.write_text(_PIPELINE.format(raw=data.raw, hidden=list(hidden), epochs=epochs, seed=seed))
    command = [sys.executable, "-m", "trainers", "--pipeline", str(pipeline), "--no-deploy", "--no-ray"]
    environment = {**os.environ, "DIVISIONS_HOME": str(folder / "home")}
    done = subprocess.run([*command, "--output", "json"], env=environment, capture_output=True, check=False)
    if done.returncode:
        raise RuntimeError(f"training {name} failed: {done.stderr.decode()[-500:]}")
    return open_model(name, Path(msgspec.json.decode(done.stdout)["bundle_path"]))


_PIPELINE = """\
pipeline: "customer-churn-v3"
stages:
  data_prep:
    input: "{raw}"
  training:
    hyperparams:
      learning_rate: 0.0003
      batch_size: 256
      epochs: {epochs}
      hidden: {hidden}
      seed: {seed}
  validation:
    metric_threshold: "auc > 0"
  deployment:
    strategy: "canary: 100%"
    endpoint: "/api/v2/predict/churn"
"""
