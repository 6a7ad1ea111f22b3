"""``divisions compile``: compiles a version for this machine's GPU, as a replica does, or says which engine it has."""

from __future__ import annotations

import time
from dataclasses import asdict
from pathlib import Path

import msgspec

from divisions.bundle import ONNX_FP16, Manifest, read_model
from divisions.control import EngineChoice
from divisions.errors import EngineError
from serving.compile.engine_cache import EngineCache, cluster_secret
from serving.compile.opening import FOLDER, EngineOpener, EngineRequest, Models
from serving.engines.capabilities import probe_capabilities
from serving.engines.selection import candidates


class CompileReport(msgspec.Struct, frozen=True):
    """``engine`` is the engine of a replica on this machine. The fields after ``passed_over`` describe its TensorRT
    plan; they are empty without one.

    ``origin`` is ``cached``, ``refitted`` or ``built``. ``difference`` is the largest one from ONNX Runtime on the CPU.
    ``key`` holds everything that the plan depends on, by name.
    """

    model: str
    version: str
    gpu: str
    engine: str
    passed_over: tuple[str, ...]
    origin: str = ""
    plan_path: str = ""
    plan_bytes: int = 0
    duration_s: float = 0.0
    difference: float | None = None
    key: dict[str, str] = {}


def compile_version(
    model: str,
    version: str,
    folder: Path,
    manifest: Manifest,
    home: Path,
    ledger: Path,
    num_gpus: float,
    vram_gb: float | None,
    max_batch: int,
) -> CompileReport:
    """Finds, refits or builds the plan of a version for this machine's first GPU.

    Args:
        folder: of its bundle, every byte of which was checked.
        manifest: of the bundle.
        num_gpus: the replica's share. The plan's workspace, and with it the plan's key, depend on it.

    Raises:
        BundleError: its model was changed since then.
        OverCommitError: the GPU has no room for one more such replica.
    """
    half = read_model(folder, manifest, ONNX_FP16) if ONNX_FP16 in manifest.files else b""
    models = Models(read_model(folder, manifest), half, manifest.schema.num_columns)
    capabilities = probe_capabilities(num_gpus)
    ladder, passed_over = candidates(EngineChoice.AUTO, capabilities)
    gpu = capabilities.gpu.gpus[0].name if capabilities.gpu.gpus else ""
    if EngineChoice.TENSORRT not in ladder:
        return CompileReport(model, version, gpu, str(ladder[0]), passed_over)
    request = EngineRequest(f"{model}-v{version}", EngineChoice.TENSORRT, num_gpus, vram_gb, max_batch)
    begin_s = time.monotonic()
    try:
        opened = EngineOpener(request, models, home, ledger).tensorrt(capabilities.gpu.gpus[0])
    except EngineError as error:
        reasons = (*passed_over, f"tensorrt: {error.message}")
        return CompileReport(model, version, gpu, str(ladder[1]), reasons)
    path = EngineCache(home / FOLDER, cluster_secret(home)).plan_path(opened.key)
    return CompileReport(
        model=model,
        version=version,
        gpu=gpu,
        engine=opened.engine.name,
        passed_over=passed_over,
        origin=opened.origin.value,
        plan_path=str(path),
        plan_bytes=path.stat().st_size,
        duration_s=round(time.monotonic() - begin_s, 3),
        difference=opened.difference,
        key=asdict(opened.key),
    )
