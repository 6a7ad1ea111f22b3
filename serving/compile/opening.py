"""From a checked bundle to a warm engine: divides the GPU's memory and opens the best engine that works."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

from divisions.control import EngineChoice
from divisions.errors import BundleError, EngineError
from serving.compile.engine_cache import EngineCache, cluster_secret, plan_key
from serving.compile.gpu_memory import CONTEXT_BYTES, GpuLedger, MemoryShare, memory_share
from serving.compile.plans import OpenedPlan, PlanRequest, open_plan
from serving.engines.capabilities import Capabilities
from serving.engines.cuda_driver import Cuda, CudaDriver, GpuInfo
from serving.engines.foreign_errors import as_engine_errors, first_line
from serving.engines.onnx_runtime import GpuLimits, OnnxRuntimeEngine, Provider
from serving.engines.parity import check_parity
from serving.engines.protocol import Engine
from serving.engines.selection import OpenedEngine, open_best

log = logging.getLogger(__name__)

FOLDER = "engines"

Found = TypeVar("Found")


@dataclass(frozen=True, slots=True)
class Models:
    """A bundle's graphs, checked against its manifest. ``half`` is empty if the bundle has no float16 graph."""

    whole: bytes
    half: bytes
    columns: int


@dataclass(frozen=True, slots=True)
class EngineRequest:
    """A version's requirements of its engine. ``name`` is the name of its application."""

    name: str
    choice: EngineChoice
    num_gpus: float
    vram_gb: float | None
    max_batch: int


class EngineOpener:
    """Opens one version's engine in this process."""

    def __init__(
        self,
        request: EngineRequest,
        models: Models,
        home: Path,
        ledger: Path,
        cuda: Cuda | None = None,
        trt: ModuleType | Any | None = None,
    ) -> None:
        """``ledger`` is the node's folder for claims on GPUs. ``cuda`` and ``trt`` replace the real driver and
        TensorRT."""
        self._request, self._models, self._home, self._ledger = request, models, home, ledger
        self._cuda, self._trt = cuda, trt
        self._share: MemoryShare | None = None
        self._fp16_passed_over: list[str] = []

    def open(self, capabilities: Capabilities) -> OpenedEngine:
        """Raises:
        EngineUnavailableError, OverCommitError, BundleError: see `serving.engines.selection.open_best`.
        """
        gpu = capabilities.gpu.gpus[0] if capabilities.gpu.gpus else None
        openers = {
            EngineChoice.TENSORRT: lambda: self.tensorrt(_require_gpu(gpu)).engine,
            EngineChoice.ONNXRUNTIME_TENSORRT: lambda: self._onnx_runtime(
                EngineChoice.ONNXRUNTIME_TENSORRT, Provider.TENSORRT, _require_gpu(gpu)
            ),
            EngineChoice.ONNXRUNTIME_CUDA: lambda: self._onnx_runtime(
                EngineChoice.ONNXRUNTIME_CUDA, Provider.CUDA, _require_gpu(gpu)
            ),
            EngineChoice.ONNXRUNTIME_CPU: self.reference,
            EngineChoice.TORCH: lambda: self._torch(_require_gpu(gpu)),
        }
        best = open_best(self._request.choice, capabilities, openers)
        opened = OpenedEngine(best.engine, (*self._fp16_passed_over, *best.passed_over))
        log.info("%s runs on %s; passed over: %s", self._request.name, opened.engine.name, opened.note or "nothing")
        if self._share is not None and gpu is not None and opened.engine.name.endswith("-cpu"):
            # Engines that failed on the GPU have freed their memory. CUDA's context stays until the process ends.
            self._claim(gpu, CONTEXT_BYTES)
        return opened

    def reference(self) -> OnnxRuntimeEngine:
        """The reference for comparisons: the float32 graph on the CPU."""
        return OnnxRuntimeEngine(self._models.whole, self._models.columns)

    def tensorrt(self, gpu: GpuInfo) -> OpenedPlan:
        """Opens the float16 graph if the bundle has one and it passes on this GPU, else the float32 graph.

        Raises:
            EngineError: neither of them works.
        """
        share = self._claimed(gpu)
        trt = self._trt if self._trt is not None else _import_tensorrt()
        cuda = self._cuda if self._cuda is not None else CudaDriver()
        with as_engine_errors("the cache of plans"):
            cache = EngineCache(self._home / FOLDER, cluster_secret(self._home))
        reference = self.reference()

        def open_(precision: str, model: bytes) -> OpenedPlan:
            request = self._plan_request(model, precision, gpu, share, trt)
            return open_plan(trt, cuda, cache, request, reference)

        return self._best_precision(EngineChoice.TENSORRT, open_)

    def _plan_request(self, model: bytes, precision: str, gpu: GpuInfo, share: MemoryShare, trt: Any) -> PlanRequest:
        max_batch = self._request.max_batch
        return PlanRequest(
            model_onnx=model,
            columns=self._models.columns,
            max_batch=max_batch,
            precision=precision,
            workspace_bytes=share.workspace_bytes,
            budget_bytes=share.engine_bytes,
            key=plan_key(model, gpu, trt.__version__, precision, max_batch, share.workspace_bytes),
        )

    def _onnx_runtime(self, choice: EngineChoice, provider: Provider, gpu: GpuInfo) -> Engine:
        columns, max_batch = self._models.columns, self._request.max_batch
        share_bytes = self._claimed(gpu).engine_bytes
        if provider is Provider.TENSORRT and self._trt is None:
            # If TensorRT's wheel is installed, its import loads the libraries that the provider needs.
            with contextlib.suppress(EngineError):
                _import_tensorrt()

        def open_(precision: str, model: bytes) -> Engine:
            limits = GpuLimits(share_bytes, columns, max_batch, precision)
            return self._checked(OnnxRuntimeEngine(model, columns, provider, limits), precision)

        return self._best_precision(choice, open_)

    def _torch(self, gpu: GpuInfo) -> Engine:
        from serving.engines.torch_cuda import COMPILER, TorchEngine

        columns = self._models.columns
        fraction = self._claimed(gpu).engine_bytes / gpu.memory_bytes

        def open_(precision: str, model: bytes) -> Engine:
            return self._checked(TorchEngine(model, columns, "cuda", precision, fraction, COMPILER), precision)

        return self._best_precision(EngineChoice.TORCH, open_)

    def _best_precision(self, choice: EngineChoice, open_: Callable[[str, bytes], Found]) -> Found:
        """Opens the float16 graph if the bundle has one and it passes on this GPU, else the float32 graph."""
        if self._models.half:
            try:
                with as_engine_errors(choice.value):
                    return open_("fp16", self._models.half)
            except (EngineError, BundleError) as error:
                log.warning("%s in float16 is passed over: %s", choice, error)
                self._fp16_passed_over.append(f"{choice}-fp16: {error.message}")
        with as_engine_errors(choice.value):
            return open_("fp32", self._models.whole)

    def _checked(self, engine: Engine, precision: str) -> Engine:
        try:
            engine.warm(self._request.max_batch)
            difference = check_parity(engine, self.reference(), self._request.max_batch, precision)
        except BaseException:
            engine.close()
            raise
        log.info("%s differs from the reference by %.1e at most", engine.name, difference)
        return engine

    def _claimed(self, gpu: GpuInfo) -> MemoryShare:
        """This replica's share. The first call adds it to the node's ledger."""
        if self._share is None:
            share = memory_share(gpu.memory_bytes, self._request.vram_gb, self._request.num_gpus)
            self._claim(gpu, share.share_bytes)
            self._share = share
        return self._share

    def _claim(self, gpu: GpuInfo, num_bytes: int) -> None:
        GpuLedger(self._ledger).claim(gpu.uuid, gpu.name, self._request.name, num_bytes, gpu.memory_bytes)


def _require_gpu(gpu: GpuInfo | None) -> GpuInfo:
    if gpu is None:  # cannot happen: without a GPU, engines that need one are listed as missing
        raise EngineError("there is no GPU")
    return gpu


def _import_tensorrt() -> Any:
    """Imports TensorRT. Call it only after the driver has listed a GPU."""
    try:
        import tensorrt
    except Exception as error:
        raise EngineError(f"tensorrt cannot be imported: {first_line(error)}") from error
    return tensorrt
