"""The hot path as machine code: which modules are compiled, where they lie, and how a process takes them.

`deploy.compile_gateway` compiles the modules of `HOT_PATH` with mypyc, which reads the same annotated Python. What it
made is used only for the very sources and Python that it was made from, and only by a process that asks for it before
it imports them; everything else runs the Python, and so does a gateway where nothing was compiled.
"""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

import router

HOT_PATH = (
    "asgi",
    "cancellation",
    "decode",
    "dispatcher",
    "endpoint",
    "exchange",
    "heads",
    "hot_routes",
    "http",
    "jobs",
    "local_channel",
    "oip_answer",
    "oip_infer",
    "pool",
    "predict",
    "replica_warmth",
    "replies",
    "service_time",
    "split",
    "split_watch",
    "tally",
    "upstream",
)
"""Modules of `router` that a request passes through, and those whose classes inherit from theirs: compiled classes can
have no others as children."""

_PACKAGE = Path(__file__).parent


def fingerprint(package: Path = _PACKAGE) -> str:
    """What compiled code belongs to: the modules' text, and the Python that runs it."""
    digest = hashlib.sha256(sys.implementation.cache_tag.encode())
    for name in HOT_PATH:
        digest.update((package / f"{name}.py").read_bytes())
    return digest.hexdigest()[:16]


def folder(package: Path = _PACKAGE) -> Path:
    """Where the compiled modules of this code belong, whether or not they are there."""
    return package / "_native" / fingerprint(package)


def activate() -> bool:
    """Has this process import the compiled modules, if there are any; returns whether there are.

    To be called before any of them is imported.
    """
    built = folder()
    if not built.is_dir():
        return False
    sys.path.append(str(built))  # the library that all of them share
    router.__path__.insert(0, str(built / "router"))
    return True


def is_active() -> bool:
    """Whether this process runs the compiled hot path."""
    module = sys.modules.get("router.http")
    return module is not None and not str(module.__file__).endswith(".py")
