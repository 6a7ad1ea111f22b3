import json

import numpy as np
import onnxruntime

from benchmarks.harness.bench_bundle import write_workload
from divisions.bundle import read_bundle


def test_the_benchmark_model_is_a_valid_bundle_that_scores_its_own_request(tmp_path):
    workload = write_workload(tmp_path / "bundle", num_features=8, seed=3)
    manifest = read_bundle(workload.bundle, workload.bundle_sha256)
    row = manifest.schema.encode_row(json.loads(workload.body)["features"])
    session = onnxruntime.InferenceSession(workload.onnx, providers=["CPUExecutionProvider"])
    (scores_N,) = session.run(None, {"rows": np.array([row, row, row], dtype=np.float32)})
    assert scores_N.shape == (3,)
    assert ((scores_N > 0) & (scores_N < 1)).all()


def test_the_same_seed_gives_the_same_model_and_request(tmp_path):
    first, again = write_workload(tmp_path / "a", seed=1), write_workload(tmp_path / "b", seed=1)
    assert (first.bundle_sha256, first.body) == (again.bundle_sha256, again.body)
    assert write_workload(tmp_path / "c", seed=2).bundle_sha256 != first.bundle_sha256
