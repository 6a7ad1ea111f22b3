"""The pipeline file that commands use when none is named: that of a checkout of Divisions."""

from __future__ import annotations

from pathlib import Path

from divisions.errors import UsageError

PIPELINE = Path(".divisions/pipeline/ml_training.yaml")


def require_pipeline(path: Path) -> Path:
    """Raises: UsageError: no pipeline file was named, and the current folder has none."""
    if path == PIPELINE and not path.exists():
        raise UsageError(
            f"there is no {PIPELINE} in the current folder",
            remedy="name a pipeline file with --pipeline, or run this in a checkout of Divisions",
        )
    return path
