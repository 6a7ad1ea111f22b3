"""A small Ray cluster of this process's own, with Ray Serve, for tests that call its actors."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import ray


@contextlib.contextmanager
def running_ray(num_gpus: int = 0, **environment: str) -> Iterator[Path]:
    """Yields its home, whose path and ``environment`` all of its processes inherit.

    Args:
        num_gpus: declared, not real.
    """
    from ray import serve

    folder = Path(tempfile.mkdtemp(prefix="dv"))  # pytest's long names leave no room for Ray's sockets
    home = folder / "home"
    home.mkdir()
    patch = pytest.MonkeyPatch()
    for name, text in {"DIVISIONS_HOME": str(home), "TMPDIR": str(folder), **environment}.items():
        patch.setenv(name, text)
    patch.setattr(tempfile, "tempdir", None)
    try:
        ray.init(
            address="local", num_cpus=4, num_gpus=num_gpus, include_dashboard=False, _temp_dir=str(folder / "ray"),
            namespace="divisions",
        )  # fmt: skip
        serve.start(proxy_location="Disabled")
        yield home
        serve.shutdown()
    finally:
        ray.shutdown()
        patch.undo()
        for path in folder.rglob("bundle*/*"):
            path.chmod(0o600)
        shutil.rmtree(folder, ignore_errors=True)
