"""PyTorch as an engine: the ONNX graph compiled by torch, on a GPU captured as one CUDA graph per batch bucket.

This engine is for machines that have PyTorch with CUDA, but neither TensorRT nor ONNX Runtime with CUDA. It reads the
graph once into a list of steps. It knows the operators that our exporter writes, and refuses a graph with others.
`torch.compile` fuses the many small steps of the feature transform into a few kernels. It needs Triton and a C
compiler; without them the steps are captured as they are. Only this module of serving imports torch, and only when a
version demands it (`serving.engine: torch`).
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import logging
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from divisions.environment import set_default_environment
from divisions.errors import BundleError, EngineError
from serving.engines.external_data import refuse_external_data
from serving.engines.foreign_errors import first_line
from serving.engines.protocol import FloatArray, batch_buckets

WARM_RUNS = 3
"""Runs on a side stream before a capture, as PyTorch's documentation asks. Libraries initialise themselves in them."""

COMPILER = "inductor"
"""Torch's own name for its compiler to Triton."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Step:
    """One operator, the names of its inputs, and the name of its output."""

    run: Callable[..., Any]
    inputs: tuple[str, ...]
    output: str


class TorchEngine:
    """Runs a model ``rows float32[N, F] -> scores float32[N]``."""

    def __init__(
        self,
        model: bytes,
        columns: int,
        device: str,
        precision: str = "fp32",
        memory_fraction: float = 1.0,
        compiler: str = "",
    ) -> None:
        """Loads the model.

        Args:
            model: an ONNX file.
            columns: F.
            device: ``cuda`` or ``cpu``.
            precision: the graph's; it is only shown.
            memory_fraction: the share of the GPU's memory that torch's allocator may take.
            compiler: a backend of `torch.compile`; empty for none.

        Raises:
            BundleError: it is not such a model, or has external data.
            EngineError: it has an operator that this engine does not know, or torch cannot use the device.
        """
        import torch

        refuse_external_data(model)
        if device == "cuda":
            if not torch.cuda.is_available():
                raise EngineError("this PyTorch cannot use CUDA", remedy="install a CUDA build of torch")
            torch.cuda.set_per_process_memory_fraction(memory_fraction)
            torch.backends.cuda.matmul.allow_tf32 = False
            torch.backends.cuda.matmul.allow_fp16_reduced_precision_reduction = False  # sums stay float32
            self._pool = torch.cuda.graph_pool_handle()
            # One for all: cuBLAS keeps a workspace for each stream that it has met, 32 MiB on Hopper.
            self._stream: Any = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        else:
            torch.set_num_threads(1)  # as every engine on the CPU: replicas scale by number
        self.name = f"torch-{device}" + (f"-{precision}" if device == "cuda" else "")
        self.columns = columns
        self._torch, self._device = torch, torch.device(device)
        self._input, self._output, self._weights, self._steps = _read(torch, model, columns, self._device)
        self._compiler = compiler
        self._quick: Callable[[Any], Any] = self._forward
        self._graphs: dict[int, _Captured] = {}
        self._buckets: tuple[int, ...] = ()

    @property
    def is_compiled(self) -> bool:
        return self._quick != self._forward

    def warm(self, max_batch: int) -> None:
        self._graphs.clear()
        self._buckets = batch_buckets(max_batch)
        if self._compiler:
            self._quick = self._compiled()
        # The largest first: all graphs share one pool of memory, and smaller ones then fit into it.
        for rows in reversed(self._buckets):
            with self._on_stream():
                scores = self._quick(self._torch.zeros((rows, self.columns), device=self._device))
            if tuple(scores.shape) != (rows,) or scores.dtype != self._torch.float32:
                raise BundleError(
                    f"the model answers {rows} rows with {scores.dtype}{list(scores.shape)}, not float32[{rows}]",
                    remedy="export the model with one float32 score per row",
                )
            if self._device.type == "cuda":
                self._graphs[rows] = self._capture(rows)

    def run(self, rows_NF: FloatArray) -> FloatArray:
        rows = len(rows_NF)
        bucket = next((size for size in self._buckets if size >= rows), 0)
        captured = self._graphs.get(bucket)
        if captured is None:
            with self._on_stream():
                # A frame's rows are read-only, which torch does not support.
                scores = self._quick(self._torch.from_numpy(rows_NF.copy()).to(self._device))
                return np.asarray(scores.cpu().numpy(), np.float32).copy()
        captured.host_rows[:rows] = rows_NF
        captured.graph.replay()
        self._torch.cuda.synchronize()
        return captured.host_scores[:rows].copy()

    def close(self) -> None:
        self._graphs.clear()
        self._weights.clear()
        if self._device.type == "cuda":
            self._torch.cuda.empty_cache()

    def _forward(self, rows_NF: Any) -> Any:
        values = dict(self._weights)
        values[self._input] = rows_NF
        with self._torch.no_grad():
            for step in self._steps:
                values[step.output] = step.run(*(values[name] if name else None for name in step.inputs))
        return values[self._output]

    def _compiled(self) -> Callable[[Any], Any]:
        """The steps, compiled by torch: once for one row, and once for any other number of rows."""
        _use_private_kernel_cache()
        try:
            forward: Callable[[Any], Any] = self._torch.compile(self._forward, fullgraph=True, backend=self._compiler)
            with self._on_stream():
                for rows in self._buckets:
                    forward(self._torch.zeros((rows, self.columns), device=self._device))
        except Exception as error:  # noqa: BLE001  # the model runs without it, too
            log.warning("torch cannot compile the model, its steps run one by one: %s", first_line(error))
            return self._forward
        return forward

    def _on_stream(self) -> contextlib.AbstractContextManager[Any]:
        """Runs a block's work on the engine's stream; on the CPU there is none."""
        if self._device.type != "cuda":
            return contextlib.nullcontext()
        stream: contextlib.AbstractContextManager[Any] = self._torch.cuda.stream(self._stream)
        return stream

    def _capture(self, rows: int) -> _Captured:
        """Captures three steps: rows to the GPU, kernels, scores back.

        Graphs may share a pool, because no two run at the same time and no value on the GPU outlives a run.
        """
        torch = self._torch
        host_rows = torch.zeros((rows, self.columns), pin_memory=True)
        host_scores = torch.zeros(rows, pin_memory=True)
        device_rows = torch.zeros((rows, self.columns), device=self._device)
        self._stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self._stream):
            for _ in range(WARM_RUNS):
                self._quick(device_rows)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=self._pool, stream=self._stream):
            device_rows.copy_(host_rows, non_blocking=True)
            scores = self._quick(device_rows)
            host_scores.copy_(scores, non_blocking=True)
        return _Captured(graph, host_rows.numpy(), host_scores.numpy(), (host_rows, host_scores, device_rows, scores))


@dataclass(frozen=True, slots=True)
class _Captured:
    """A graph, its pinned buffers as arrays, and the tensors that must live as long as the graph."""

    graph: Any
    host_rows: FloatArray
    host_scores: FloatArray
    kept: tuple[Any, ...]


@functools.cache
def _use_private_kernel_cache() -> None:
    """Makes a private folder for compiled kernels, and removes it at exit. Folders that the user has set stay in use.

    Torch's default is a folder with a predictable name in the temporary folder. Another user could put code there, and
    torch would run it.
    """
    folder = Path(tempfile.mkdtemp(prefix="divisions-torch-"))  # mode 0700
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    set_default_environment(
        {
            "TORCHINDUCTOR_CACHE_DIR": str(folder / "inductor"),
            "TRITON_CACHE_DIR": str(folder / "triton"),
            "TORCHINDUCTOR_COMPILE_THREADS": "1",  # no pool of processes inside a replica
        }
    )


def _read(torch: Any, model: bytes, columns: int, device: Any) -> tuple[str, str, dict[str, Any], list[_Step]]:
    import onnx
    from onnx import numpy_helper

    graph = onnx.ModelProto.FromString(model).graph
    if len(graph.input) != 1 or len(graph.output) != 1:
        raise BundleError(f"the model has {len(graph.input)} inputs and {len(graph.output)} outputs, not one of each")
    shape = [dim.dim_value for dim in graph.input[0].type.tensor_type.shape.dim]
    if shape != [0, columns] or graph.input[0].type.tensor_type.elem_type != onnx.TensorProto.FLOAT:
        raise BundleError(
            f"the model takes {shape}, but its schema says float32[N, {columns}]",
            remedy="train and export the model again: graph and schema are from different runs",
        )
    arrays = {one.name: np.array(numpy_helper.to_array(one)) for one in graph.initializer}
    makers = _operators(torch, arrays)
    unknown = sorted({node.op_type for node in graph.node} - set(makers))
    if unknown:
        raise EngineError(f"the torch engine does not know the operators {', '.join(unknown)}")
    steps = []
    for node in graph.node:
        attributes = {one.name: onnx.helper.get_attribute_value(one) for one in node.attribute}
        steps.append(_Step(makers[node.op_type](attributes, list(node.input)), tuple(node.input), node.output[0]))
    weights = {name: torch.from_numpy(array).to(device) for name, array in arrays.items()}
    return graph.input[0].name, graph.output[0].name, weights, steps


_Maker = Callable[[Mapping[str, Any], Sequence[str]], Callable[..., Any]]


def _operators(torch: Any, arrays: Mapping[str, np.ndarray]) -> dict[str, _Maker]:
    """How to run each ONNX operator. Shapes and axes are constants of the graph and are read here once, because reading
    them from the GPU during a capture would end the capture."""

    def plain(function: Callable[..., Any]) -> _Maker:
        return lambda _attributes, _names: function

    def ints(name: str) -> list[int]:
        if name not in arrays:
            raise EngineError(f"the torch engine needs {name!r} to be a constant of the graph")
        return [int(value) for value in arrays[name].reshape(-1)]

    def gather(attributes: Mapping[str, Any], _names: Sequence[str]) -> Callable[..., Any]:
        axis = attributes.get("axis", 0)

        def run(data: Any, index: Any) -> Any:
            picked = torch.index_select(data, axis, index.reshape(-1))
            return picked.reshape(*data.shape[:axis], *index.shape, *data.shape[axis:][1:])

        return run

    def reshape(_attributes: Mapping[str, Any], names: Sequence[str]) -> Callable[..., Any]:
        shape = ints(names[1])
        return lambda data, _shape: data.reshape([data.shape[i] if n == 0 else n for i, n in enumerate(shape)])

    def unsqueeze(_attributes: Mapping[str, Any], names: Sequence[str]) -> Callable[..., Any]:
        (axis,) = ints(names[1])
        return lambda data, _axes: data.unsqueeze(axis)

    def squeeze(_attributes: Mapping[str, Any], names: Sequence[str]) -> Callable[..., Any]:
        (axis,) = ints(names[1])
        return lambda data, _axes: data.squeeze(axis)

    def gemm(attributes: Mapping[str, Any], _names: Sequence[str]) -> Callable[..., Any]:
        if attributes.get("transA", 0) or attributes.get("alpha", 1.0) != 1.0 or attributes.get("beta", 1.0) != 1.0:
            raise EngineError("the torch engine knows Gemm with neither transA nor factors")
        if attributes.get("transB", 0):
            return lambda data, weight, bias=None: torch.nn.functional.linear(data, weight, bias)
        return lambda data, weight, bias=None: torch.addmm(bias, data, weight) if bias is not None else data @ weight

    def cast(attributes: Mapping[str, Any], _names: Sequence[str]) -> Callable[..., Any]:
        # ONNX's numbers of types.
        types = {1: torch.float32, 6: torch.int32, 7: torch.int64, 9: torch.bool, 10: torch.float16, 11: torch.float64}
        return lambda data: data.to(types[attributes["to"]])

    def clip(_attributes: Mapping[str, Any], _names: Sequence[str]) -> Callable[..., Any]:
        return lambda data, low=None, high=None: torch.clamp(data, low, high)

    return {
        "Gather": gather,
        "Reshape": reshape,
        "Unsqueeze": unsqueeze,
        "Squeeze": squeeze,
        "Gemm": gemm,
        "Cast": cast,
        "Clip": clip,
        "Concat": lambda attributes, _names: lambda *parts: torch.cat(parts, dim=attributes["axis"]),
        "Transpose": lambda attributes, _names: lambda data: data.permute(*attributes["perm"]),
        "IsNaN": plain(torch.isnan),
        "Where": plain(torch.where),
        "Max": plain(torch.maximum),
        "Min": plain(torch.minimum),
        "Sub": plain(torch.sub),
        "Mul": plain(torch.mul),
        "Add": plain(torch.add),
        "MatMul": plain(torch.matmul),
        "Relu": plain(torch.relu),
        "Sigmoid": plain(torch.sigmoid),
        "GreaterOrEqual": plain(torch.ge),
        "LessOrEqual": plain(torch.le),
        "And": plain(torch.logical_and),
    }
