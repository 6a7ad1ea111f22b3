"""MLflow's own files for a bundle, on the disk for as long as they are copied."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path

from divisions.bundle import MANIFEST, ONNX, decode_manifest, read_reference
from divisions.mlflow_format import installed, mlflow_files


@contextlib.contextmanager
def mlflow_folder(bundle: Path, run_id: str = "") -> Iterator[list[Path]]:
    """MLflow's own files for a bundle, in a folder that goes afterwards; ``MLmodel`` is the last.

    Raises:
        BundleError: the bundle's manifest is damaged.
        OSError: the bundle cannot be read, or the disk is full.
    """
    manifest = decode_manifest((bundle / MANIFEST).read_bytes(), f"bundle {bundle}")
    num_bytes = (bundle / ONNX).stat().st_size
    files = mlflow_files(manifest, read_reference(bundle, manifest.sha256), num_bytes, installed(), run_id)
    with tempfile.TemporaryDirectory(prefix="divisions-mlflow-") as folder:
        paths = []
        for name, content in reversed(files.items()):
            paths.append(Path(folder) / name)
            paths[-1].write_bytes(content)
        yield paths
