"""Imports MLflow as all of our processes do."""

from __future__ import annotations

import importlib
import logging

from divisions.environment import set_default_environment


def load_mlflow() -> None:
    """Imports MLflow, which takes seconds, without its telemetry and its lines of progress."""
    set_default_environment(
        {
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "MLFLOW_ALLOW_MODEL_CODE_EXECUTION": "false",
            "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
            "GIT_PYTHON_REFRESH": "quiet",  # otherwise MLflow warns on machines without git
        }
    )
    # MLflow and Alembic log each table that they create at INFO. Our progress output must not show that.
    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.ERROR)
    importlib.import_module("mlflow")
    logging.getLogger("mlflow").setLevel(logging.ERROR)
