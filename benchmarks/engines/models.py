"""The models that engines are compared on: the demo's, and one of the product page's size.

They are really trained. Where the product's other dependencies are missing, as on a machine that is borrowed for its
GPU, the same layers get seeded weights instead. The cost of a batch does not depend on their values.
"""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np

from divisions.bundle import ONNX, ONNX_FP16, Manifest, file_sha256, read_bundle, write_manifest
from divisions.pipeline.definition import Hyperparams
from divisions.schema import Feature, FeatureKind, FeatureSchema

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
    from trainers.demo_data import write_demo_data

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


def untrained_model(name: str, work: Path, hidden: tuple[int, ...], seed: int) -> TrainedModel:
    """The same layers behind a transform of 19 columns, as the demo's customers have, with seeded weights."""
    from trainers.export.half_precision import half_precision
    from trainers.export.onnx_export import export_onnx
    from trainers.training.model import build_model

    kinds = [FeatureKind.NUMERIC] * 16 + [FeatureKind.CATEGORICAL] * 3
    schema = FeatureSchema(
        tuple(
            Feature(f"column_{index:02d}", kind, ("a", "b", "c") if kind is FeatureKind.CATEGORICAL else ())
            for index, kind in enumerate(kinds)
        )
    )
    rows_NF = np.random.default_rng(seed).normal(size=(1_000, len(kinds))).astype(np.float32)
    model = build_model(schema, rows_NF, Hyperparams(hidden=hidden, seed=seed)).eval()
    folder = work / name
    folder.mkdir(parents=True)
    whole = export_onnx(model, schema, {})
    (folder / ONNX).write_bytes(whole)
    (folder / ONNX_FP16).write_bytes(half_precision(whole))
    files = {one: file_sha256(folder / one) for one in (ONNX, ONNX_FP16)}
    write_manifest(folder, Manifest(name, "benchmark", "seeded", "2025-01-13T00:00:00Z", schema, {}, files))
    return open_model(name, folder)


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
