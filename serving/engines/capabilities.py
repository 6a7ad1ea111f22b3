"""The engines that this process can use. It asks the driver first, and looks for CUDA's libraries only after that."""

from __future__ import annotations

import importlib.metadata
import importlib.util
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from divisions.control import EngineChoice
from serving.engines.cuda_driver import GpuProbe, probe_gpus
from serving.engines.onnx_runtime import Provider

_MISSING = {
    EngineChoice.TENSORRT: "tensorrt is not installed; docs/gpu.md says how",
    EngineChoice.ONNXRUNTIME_TENSORRT: "onnxruntime or TensorRT for it is not installed; docs/gpu.md says how",
    EngineChoice.ONNXRUNTIME_CUDA: "the installed onnxruntime has no CUDA support; docs/gpu.md says how",
    EngineChoice.TORCH: "torch is not installed, or built for CPUs only",
}


@dataclass(frozen=True, slots=True)
class Capabilities:
    """The GPUs, and why an engine cannot be used. An engine that is absent from ``missing`` may be tried."""

    gpu: GpuProbe
    missing: dict[EngineChoice, str] = field(default_factory=dict)


def probe_capabilities(
    num_gpus: float,
    probe: Callable[[], GpuProbe] = probe_gpus,
    providers: Callable[[], Sequence[str]] | None = None,
    is_installed: Callable[[str], bool] | None = None,
) -> Capabilities:
    """Looks for engines without loading any of them.

    Args:
        num_gpus: the replica's share of a GPU. With 0, the driver is not asked.
        probe: asks the driver.
        providers: returns the names of ONNX Runtime's providers.
        is_installed: whether a module is installed and is not a build for CPUs only. Does not import it.
    """
    gpus = probe() if num_gpus > 0 else GpuProbe(reason="no GPU was asked for")
    if not gpus.gpus:
        return Capabilities(gpus, dict.fromkeys(_MISSING, gpus.reason))
    is_installed = is_installed or _is_installed
    found = tuple((providers or _providers)())
    is_there = {
        EngineChoice.TENSORRT: is_installed("tensorrt"),
        # ONNX Runtime for CUDA always names this provider; it brings no TensorRT.
        EngineChoice.ONNXRUNTIME_TENSORRT: Provider.TENSORRT in found and is_installed("tensorrt"),
        EngineChoice.ONNXRUNTIME_CUDA: Provider.CUDA in found,
        EngineChoice.TORCH: is_installed("torch"),
    }
    return Capabilities(gpus, {engine: _MISSING[engine] for engine, there in is_there.items() if not there})


def versions() -> dict[str, str]:
    """The installed versions of the libraries that engines use, for reports."""
    found = {}
    for name in ("tensorrt", "onnxruntime", "onnxruntime-gpu", "torch", "onnx"):
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def _is_installed(name: str) -> bool:
    return importlib.util.find_spec(name) is not None and not versions().get(name, "").endswith("+cpu")


def _providers() -> Sequence[str]:
    import onnxruntime

    names: list[str] = onnxruntime.get_available_providers()
    return names
