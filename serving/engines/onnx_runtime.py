"""ONNX Runtime as an engine: on the CPU, or on one NVIDIA GPU with its CUDA or TensorRT provider.

On the CPU, one input buffer and one output buffer are bound once for each batch size. Of the four ways to call a
session (``run``, a new binding per call, ``run_with_ort_values``, a kept binding) this is the fastest. On a GPU a kept
binding is wrong: ONNX Runtime copies the input to the GPU when it is bound, not when the session runs.

A session has one thread and does not spin. Replicas share the machine with gateways, and a spinning thread would take
their core.
"""

from __future__ import annotations

import contextlib
import enum
import io
from dataclasses import dataclass
from typing import Any

import numpy as np

from divisions.errors import BundleError, EngineError
from serving.engines.external_data import refuse_external_data
from serving.engines.foreign_errors import as_engine_errors, first_line
from serving.engines.protocol import FloatArray, batch_buckets


class Provider(enum.StrEnum):
    """ONNX Runtime's names for where a graph runs."""

    CPU = "CPUExecutionProvider"
    CUDA = "CUDAExecutionProvider"
    TENSORRT = "TensorrtExecutionProvider"


@dataclass(frozen=True, slots=True)
class GpuLimits:
    """How much of the GPU the provider may use. ``precision`` is the graph's; it is only shown."""

    memory_bytes: int
    columns: int
    max_batch: int
    precision: str = "fp32"


class OnnxRuntimeEngine:
    """Runs a model ``rows float32[N, F] -> scores float32[N]``."""

    def __init__(
        self, model: bytes, columns: int, provider: Provider = Provider.CPU, limits: GpuLimits | None = None
    ) -> None:
        """Loads the model from its bytes.

        Raises:
            BundleError: it is not such a model, or has external data.
            EngineError: the provider cannot be opened.
        """
        refuse_external_data(model)
        self.columns = columns
        self.name = f"onnxruntime-{provider.name.lower()}" + (f"-{limits.precision}" if limits else "")
        self._session = _open_session(model, provider, limits)
        self._input, self._output = _check_signature(self._session, columns)
        self._keeps_bindings = provider is Provider.CPU
        self._bindings: dict[int, Any] = {}
        self._rows_BF = np.zeros((0, columns), np.float32)
        self._scores_B = np.zeros(0, np.float32)

    def warm(self, max_batch: int) -> None:
        self._bindings.clear()
        self._rows_BF = np.zeros((max_batch, self.columns), np.float32)
        self._scores_B = np.zeros(max_batch, np.float32)
        for rows in batch_buckets(max_batch):
            # `run` first: it shows a result of a wrong shape or type, which a bound buffer would hide.
            plain = self._session.run([self._output], {self._input: self._rows_BF[:rows]})[0]
            if plain.shape != (rows,) or plain.dtype != np.float32:
                raise BundleError(
                    f"the model answers {rows} rows with {plain.dtype}{list(plain.shape)}, not float32[{rows}]",
                    remedy="export the model with one float32 score per row",
                )
            self.run(self._rows_BF[:rows])

    def run(self, rows_NF: FloatArray) -> FloatArray:
        rows = len(rows_NF)
        if rows > len(self._rows_BF) or not self._keeps_bindings:
            scores: FloatArray = self._session.run([self._output], {self._input: rows_NF})[0]
            return scores
        binding = self._bindings.get(rows) or self._bind(rows)
        self._rows_BF[:rows] = rows_NF
        self._session.run_with_iobinding(binding)
        return self._scores_B[:rows].copy()

    def close(self) -> None:
        """Drops the session. Its memory goes with it, including its arena on a GPU."""
        self._bindings.clear()
        self._session = None

    def _bind(self, rows: int) -> Any:
        binding = self._session.io_binding()
        buffers = self._rows_BF.ctypes.data, self._scores_B.ctypes.data
        binding.bind_input(self._input, "cpu", 0, np.float32, [rows, self.columns], buffers[0])
        binding.bind_output(self._output, "cpu", 0, np.float32, [rows], buffers[1])
        self._bindings[rows] = binding
        return binding


def provider_options(provider: Provider, limits: GpuLimits | None) -> list[tuple[str, dict[str, str]]]:
    """ONNX Runtime's options for its providers. The arena grows as needed, up to the replica's share.

    The TensorRT provider passes nodes that it cannot run to the CUDA provider, so both get the same limit. Its
    workspace is a quarter of the share. It gets one explicit profile from 1 row to ``max_batch``; without a profile,
    TensorRT builds again for each larger batch. Its cache on disk is off: it does not verify signatures of
    cache files.
    """
    if provider is Provider.CPU or limits is None:
        return [(provider.value, {})]
    cuda = {
        "device_id": "0",
        "gpu_mem_limit": str(limits.memory_bytes),
        "arena_extend_strategy": "kSameAsRequested",
        "use_tf32": "0",
    }
    if provider is Provider.CUDA:
        return [(Provider.CUDA.value, cuda)]
    tensorrt = {
        "device_id": "0",
        "trt_max_workspace_size": str(limits.memory_bytes // 4),
        "trt_profile_min_shapes": f"rows:1x{limits.columns}",
        "trt_profile_opt_shapes": f"rows:{limits.max_batch}x{limits.columns}",
        "trt_profile_max_shapes": f"rows:{limits.max_batch}x{limits.columns}",
    }
    return [(Provider.TENSORRT.value, tensorrt), (Provider.CUDA.value, cuda)]


def _open_session(model: bytes, provider: Provider, limits: GpuLimits | None) -> Any:
    import onnxruntime

    if provider is not Provider.CPU:
        _load_libraries(onnxruntime)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.log_severity_level = 3
    for pool in ("intra_op", "inter_op"):
        options.add_session_config_entry(f"session.{pool}.allow_spinning", "0")
    try:
        # No fallback: it prints on standard output, and hides what is missing.
        session = onnxruntime.InferenceSession(
            model, options, providers=provider_options(provider, limits), enable_fallback=0
        )
    except Exception as error:  # noqa: BLE001  # the classes of ONNX Runtime's errors have no common base but Exception
        raise BundleError(f"ONNX Runtime cannot load the model: {first_line(error)}") from None
    if provider.value not in session.get_providers():
        raise EngineError(
            f"ONNX Runtime did not open {provider.value}, only {', '.join(session.get_providers())}",
            remedy="check the GPU's driver and libraries, or serve this version without a GPU",
        )
    return session


def _load_libraries(onnxruntime: Any) -> None:
    """Loads CUDA and cuDNN from NVIDIA's wheels. ONNX Runtime does not look there by itself.

    ONNX Runtime prints each library that it does not find there. We hide this output,
    because the system's libraries may be used instead. If there are none, the provider does not open, and that is
    reported.
    """
    preload = getattr(onnxruntime, "preload_dlls", None)
    if preload is not None:
        with as_engine_errors("ONNX Runtime"), contextlib.redirect_stdout(io.StringIO()):
            preload()


def _check_signature(session: Any, columns: int) -> tuple[str, str]:
    inputs, outputs = session.get_inputs(), session.get_outputs()
    if len(inputs) != 1 or len(outputs) != 1:
        raise BundleError(f"the model has {len(inputs)} inputs and {len(outputs)} outputs, not one of each")
    (given,) = inputs
    if given.type != "tensor(float)" or len(given.shape) != 2 or given.shape[1] != columns:
        raise BundleError(
            f"the model takes {given.type}{given.shape}, but its schema says float32[N, {columns}]",
            remedy="train and export the model again: graph and schema are from different runs",
        )
    return given.name, outputs[0].name
