"""The machine that a figure was measured on. A figure without it cannot be compared."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import msgspec

from divisions.settings import load_settings
from router.gateway import native

PACKAGES = ("divisions", "ray", "numpy", "onnxruntime", "httptools", "uvloop")


class Machine(msgspec.Struct, frozen=True):
    """``load_average`` is of the last minute when the run began: it shows other work on the machine.

    ``is_compiled`` says whether gateways ran their hot path as machine code; None in results that are older than that.
    """

    cpu: str
    cores: int
    kernel: str
    python: str
    packages: dict[str, str]
    load_average: float
    is_compiled: bool | None = None


def describe_machine(packages: tuple[str, ...] = PACKAGES) -> Machine:
    return Machine(
        cpu=_cpu_model(),
        cores=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        kernel=f"{platform.system()} {platform.release()}",
        python=platform.python_version(),
        packages={name: found for name in packages if (found := _version(name))},
        load_average=round(os.getloadavg()[0], 2),
        is_compiled=load_settings().compiled and native.folder().is_dir(),
    )


def _cpu_model() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""
