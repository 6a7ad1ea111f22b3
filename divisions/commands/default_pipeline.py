"""The pipeline file that commands use when none is named: that of a checkout of Divisions."""

from __future__ import annotations

import shlex
from pathlib import Path

from divisions.errors import UsageError

PIPELINE = Path(".divisions/pipeline/ml_training.yaml")


def start_command(model: str, version: str, pipeline: Path) -> str:
    """What rolls a version out.

    >>> start_command("churn-predictor", "3.2", Path("my files/p.yaml"))
    "divisions rollout start churn-predictor --version 3.2 --pipeline 'my files/p.yaml'"
    """
    file = "" if pipeline == PIPELINE else f" --pipeline {shlex.quote(str(pipeline))}"
    return f"divisions rollout start {model} --version {version}{file}"


def require_pipeline(path: Path) -> Path:
    """Raises: UsageError: no pipeline file was named, and the current folder has none."""
    if path == PIPELINE and not path.exists():
        raise UsageError(
            f"there is no {PIPELINE} in the current folder",
            remedy="name a pipeline file with --pipeline, or run this in a checkout of Divisions",
        )
    return path
