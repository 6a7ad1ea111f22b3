"""The hot path as machine code: which modules are compiled, where they are, and how a process loads them.

`deploy.compile_gateway` compiles the modules of `HOT_PATH` with mypyc, which reads the same annotated Python. The
result is used only with the same sources and the same Python, and only by a process that asks for it before it imports
them. All other processes run the Python, and so does a gateway when nothing was compiled.
"""

from __future__ import annotations

import hashlib
import importlib
import sys
from pathlib import Path

import router

HOT_PATH = (
    "gateway/hot_routes",
    "http/asgi",
    "http/cancellation",
    "http/connection",
    "http/exchange",
    "http/heads",
    "http/limits",
    "http/parser",
    "http/request",
    "oip/infer",
    "oip/replies",
    "predict/active_routes",
    "predict/answer_log",
    "predict/answers",
    "predict/callers",
    "predict/customer_look_up",
    "predict/decode",
    "predict/dispatcher",
    "predict/endpoint",
    "predict/failure_sink",
    "predict/free_channels",
    "predict/front",
    "predict/in_process_channel",
    "predict/jobs",
    "predict/pool",
    "predict/predict_handler",
    "predict/replica_warmup",
    "predict/reply_templates",
    "predict/reports",
    "predict/retries",
    "predict/retry_budget",
    "predict/row_sample",
    "predict/sending_ahead",
    "predict/service_time",
    "predict/shared_features",
    "predict/split_monitor",
    "predict/store_link",
    "predict/stored_features",
    "predict/tally",
    "predict/token_bucket",
    "predict/trace_buffer",
    "predict/upstream",
    "evidence/split",
)
"""The modules that a request passes through, by their path below `router`, and those with subclasses of their classes.
A compiled class can have only compiled subclasses."""

PACKAGE = Path(router.__file__).parent
"""The folder of the package `router`."""


def fingerprint(package: Path = PACKAGE) -> str:
    """Names the sources and the Python that compiled code belongs to."""
    digest = hashlib.sha256(sys.implementation.cache_tag.encode())
    for name in HOT_PATH:
        digest.update((package / f"{name}.py").read_bytes())
    return digest.hexdigest()[:16]


def folder(package: Path = PACKAGE) -> Path:
    """The folder of this code's compiled modules, even if they do not exist."""
    return package / "_native" / fingerprint(package)


def activate() -> bool:
    """Makes this process import the compiled modules, if there are any; returns whether there are.

    Call it before any of them is imported.
    """
    built = folder()
    if not built.is_dir():
        return False
    sys.path.append(str(built))  # the library that all of them share
    for wing in sorted({name.partition("/")[0] for name in HOT_PATH}):
        importlib.import_module(f"router.{wing}").__path__.insert(0, str(built / "router" / wing))
    return True


def is_active() -> bool:
    """Whether this process runs the compiled hot path."""
    module = sys.modules.get("router.http.connection")
    return module is not None and not str(module.__file__).endswith(".py")
