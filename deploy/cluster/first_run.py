"""Imports what a first training needs, while `divisions up` waits for Ray.

PyTorch, MLflow and ONNX take as long to import as Ray to start. Ray itself is left out: it reads the environment at
import, which knows the cluster only when that runs.
"""

from __future__ import annotations

import contextlib
import importlib
import threading
from collections.abc import Iterable, Iterator

from divisions.mlflow_loading import load_mlflow
from divisions.settings import Settings

MODULES = (
    "mlflow.store.tracking.sqlalchemy_store",
    "torch",
    "trainers.run",
    "trainers.export.onnx_export",
    "trainers.validation.measure",
)


def is_first(settings: Settings) -> bool:
    """Whether nothing was ever registered in this home."""
    return not settings.tracking_uri and not (settings.home / "mlflow.db").exists()


@contextlib.contextmanager
def importing(modules: Iterable[str] = MODULES) -> Iterator[threading.Thread]:
    """Imports modules in a thread during the block. After it no other import begins; the one under way goes on.

    The process waits for the thread before it ends: an interpreter that ends while a library is loaded may crash.
    """
    is_over = threading.Event()

    def work() -> None:
        with contextlib.suppress(Exception):  # who needs the module meets the error, and tells of it
            load_mlflow()
            for name in modules:
                if is_over.is_set():
                    return
                importlib.import_module(name)

    thread = threading.Thread(target=work, name="first-run")
    thread.start()
    try:
        yield thread
    finally:
        is_over.set()
