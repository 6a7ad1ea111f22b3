from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.deploy.shipping.sagemaker.conftest import aws, moto_url
from tests.deploy.training_job import opt_ml

__all__ = ["aws", "moto_url"]


@pytest.fixture(scope="session")
def first(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """A finished job without a champion: its folder, and the process."""
    root = opt_ml.prepare(tmp_path_factory.mktemp("first"), opt_ml.FIRST, opt_ml.pipeline_text())
    opt_ml.write_events(root / "input" / "data" / "events")
    return root, opt_ml.run(root)
