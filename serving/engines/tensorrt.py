"""A TensorRT plan as an engine: one CUDA graph per batch bucket, pinned buffers, one stream per thread.

A small model is launch-bound on a GPU: it has some twenty kernels of a few microseconds each, and launching them one by
one takes as long again. So all steps of a batch (rows to the GPU, kernels, scores back) are captured once per bucket as
a CUDA graph. One call then launches the graph. A batch is padded up to the next bucket.

These rules come from TensorRT's documentation. `_Bucket` follows them in this order:

1. A captured graph is bound to the shapes and addresses of its execution context. Changing the context later makes the
   graph undefined. So each bucket has its own context, which is set up once and never changed.
2. Contexts of one lane never run at the same time, so they share one block of activation memory (``USER_MANAGED``).
3. The order is: profile, shapes, addresses, one run without a capture, capture. The first run does work that TensorRT
   defers until then.
4. One thread may use a context at a time. Each thread has its own lane. `warm` prepares two lanes, because a replica
   runs batches on its event loop and on the engine's thread.

The module ``tensorrt`` is an argument, here and in `serving.compile.plan_builder`. `serving.compile.opening` imports it
after the driver has listed a GPU; tests pass a fake. Version 10.13 or newer is needed. The calls used here are the same
in 11.x.
"""

from __future__ import annotations

import ctypes
import logging
import threading
from dataclasses import dataclass
from typing import Any

import numpy as np

from divisions.errors import BundleError, EngineError
from serving.engines.cuda_driver import Cuda
from serving.engines.protocol import FloatArray, batch_buckets

FLOAT_BYTES = 4
NUM_LANES = 2
MIN_VERSION = (10, 13)

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ProfileRange:
    """Batch sizes that one optimisation profile covers. TensorRT chooses kernels for ``best``."""

    least: int
    best: int
    most: int


def profile_ranges(max_batch: int) -> tuple[ProfileRange, ...]:
    """The profiles of all buckets: single rows, small batches, large batches. Each profile lengthens the build.

    >>> [(one.least, one.best, one.most) for one in profile_ranges(256)]
    [(1, 1, 1), (2, 32, 32), (33, 256, 256)]
    """
    edges = [edge for edge in (1, 32) if edge < max_batch]
    lows = [1, *(edge + 1 for edge in edges)]
    return tuple(ProfileRange(low, high, high) for low, high in zip(lows, [*edges, max_batch], strict=True))


def check_version(version: str) -> None:
    """Raises: EngineError: this TensorRT is too old."""
    if tuple(int(part) for part in version.split(".")[:2]) < MIN_VERSION:
        wanted = ".".join(map(str, MIN_VERSION))
        raise EngineError(f"TensorRT {version} is too old", remedy=f"install TensorRT {wanted} or newer")


class Logger:
    """Passes TensorRT's messages to our log. ``last_error`` explains a call that returned nothing."""

    def __init__(self, trt: Any) -> None:
        class Forward(trt.ILogger):  # type: ignore[misc]  # the base class comes from the argument
            def __init__(self) -> None:
                trt.ILogger.__init__(self)
                self.last_error = ""

            def log(self, severity: Any, msg: str) -> None:
                if severity in (trt.ILogger.INTERNAL_ERROR, trt.ILogger.ERROR):
                    self.last_error = msg.partition("\n")[0][:300]
                    log.error("TensorRT: %s", msg)
                elif severity == trt.ILogger.WARNING:
                    log.warning("TensorRT: %s", msg)

        self.native = Forward()

    @property
    def last_error(self) -> str:
        return str(self.native.last_error) or "no reason given"


class TensorRtEngine:
    """Runs a plan ``rows float32[N, F] -> scores float32[N]``.

    The caller must first ask the driver for a GPU (`serving.engines.cuda_driver.probe_gpus`): creating a ``Runtime``
    without a driver ends the process.
    """

    def __init__(self, plan: bytes, columns: int, cuda: Cuda, precision: str, budget_bytes: int, trt: Any) -> None:
        """Deserialises a plan. The caller has checked its signature.

        Args:
            plan: built by `serving.compile.plan_builder` on this GPU.
            columns: F.
            cuda: the GPU.
            precision: ``fp32`` or ``fp16``; it is only shown.
            budget_bytes: the GPU memory that this engine may use.
            trt: the module ``tensorrt``.

        Raises:
            EngineError: the plan is for another TensorRT or GPU, takes other rows, or does not fit the budget.
        """
        self.name = f"tensorrt-{precision}"
        self.columns = columns
        self.has_graphs = True
        self._trt, self._cuda = trt, cuda
        self._plan_bytes, self._budget_bytes = len(plan), budget_bytes
        self._max_batch = 0
        self._mine = threading.local()
        self._owned: list[tuple[threading.Thread, _Lane]] = []
        self._spare: list[_Lane] = []
        check_version(trt.__version__)
        cuda.enter()
        self._logger = Logger(trt)
        # The logger must outlive the runtime. The runtime must outlive its engine.
        self._runtime = trt.Runtime(self._logger.native)
        self.native = self._runtime.deserialize_cuda_engine(plan)
        if self.native is None:
            raise EngineError(f"TensorRT refuses the plan: {self._logger.last_error}")
        self.input, self.output = _check_signature(trt, self.native, columns)

    def warm(self, max_batch: int) -> None:
        if max_batch == self._max_batch:
            return
        self.close()
        self._check_budget(max_batch)
        self._cuda.enter()
        for _ in range(NUM_LANES):
            self._spare.append(_Lane(self, self._trt, self._cuda, max_batch))
        self._max_batch = max_batch
        for rows in batch_buckets(max_batch):
            scores = self.run(np.zeros((rows, self.columns), np.float32))
            if not np.isfinite(scores).all():
                raise BundleError(f"the plan answers {rows} rows of zeros with values that are not numbers")

    def run(self, rows_NF: FloatArray) -> FloatArray:
        lane: _Lane = getattr(self._mine, "lane", None) or self._claim(len(rows_NF))
        if len(rows_NF) <= self._max_batch:
            return lane.run(rows_NF)
        parts = [rows_NF[at : at + self._max_batch] for at in range(0, len(rows_NF), self._max_batch)]
        return np.concatenate([lane.run(part) for part in parts])

    def close(self) -> None:
        """Frees all memory except the plan's."""
        for lane in (*(lane for _, lane in self._owned), *self._spare):
            lane.close()
        self._mine = threading.local()
        self._owned.clear()
        self._spare.clear()
        self._max_batch = 0

    def _claim(self, rows: int) -> _Lane:
        """Gives this thread a lane: a spare one, the lane of a thread that has ended, or a new one."""
        if not self._max_batch:
            self.warm(rows)
            warmed: _Lane = self._mine.lane
            return warmed
        self._cuda.enter()
        self._spare += [lane for thread, lane in self._owned if not thread.is_alive()]
        self._owned = [(thread, lane) for thread, lane in self._owned if thread.is_alive()]
        lane = self._spare.pop() if self._spare else _Lane(self, self._trt, self._cuda, self._max_batch)
        self._owned.append((threading.current_thread(), lane))
        self._mine.lane = lane
        return lane

    def _check_budget(self, max_batch: int) -> None:
        lane_bytes = self.native.device_memory_size_v2 + max_batch * (self.columns + 1) * FLOAT_BYTES
        needed = self._plan_bytes + NUM_LANES * lane_bytes
        if needed > self._budget_bytes:
            raise EngineError(
                f"the plan needs {needed / 1e6:,.1f} MB of the GPU ({self._plan_bytes / 1e6:,.1f} for weights + "
                f"{NUM_LANES} x {lane_bytes / 1e6:,.1f} to compute in), its share is {self._budget_bytes / 1e6:,.1f}",
                remedy="lower serving.max_batch, or raise serving.num_gpus or serving.canary_num_gpus",
            )


class _Lane:
    """One thread's stream and buffers, and a bucket for every batch size."""

    def __init__(self, engine: TensorRtEngine, trt: Any, cuda: Cuda, max_batch: int) -> None:
        self._cuda = cuda
        columns, self._row_bytes = engine.columns, engine.columns * FLOAT_BYTES
        self._device: list[int] = []
        self._pinned: list[int] = []
        self._graphs: list[int] = []
        self.buckets: list[_Bucket] = []
        self.stream = cuda.create_stream()
        try:
            self.rows_device = self._allocate(max_batch * self._row_bytes)
            self.scores_device = self._allocate(max_batch * FLOAT_BYTES)
            self.rows_host, self.rows_BF = self._pin((max_batch, columns))
            self.scores_host, self._scores_B = self._pin((max_batch,))
            activation_bytes = engine.native.device_memory_size_v2
            activation = self._allocate(max(activation_bytes, 1))
            for rows in batch_buckets(max_batch):
                bucket = _Bucket(engine, trt, self, rows, (activation, activation_bytes))
                self.buckets.append(bucket)
                bucket.prepare(cuda)
                if bucket.graph is None:
                    engine.has_graphs = False
                else:
                    self._graphs.append(bucket.graph)
        except BaseException:
            self.close()
            raise

    def run(self, rows_NF: FloatArray) -> FloatArray:
        """Runs up to ``max_batch`` rows. Old values pad the batch; their scores are cut off."""
        rows = len(rows_NF)
        bucket = next(bucket for bucket in self.buckets if bucket.rows >= rows)
        self.rows_BF[:rows] = rows_NF
        if bucket.graph is None:
            bucket.enqueue(self._cuda)
        else:
            self._cuda.launch(bucket.graph, self.stream)
        self._cuda.synchronize(self.stream)
        return self._scores_B[:rows].copy()

    def close(self) -> None:
        for graph in self._graphs:
            self._cuda.destroy_graph(graph)
        self.buckets.clear()  # contexts must go before their memory
        for address in self._device:
            self._cuda.free(address)
        for address in self._pinned:
            self._cuda.free_pinned(address)
        self._cuda.destroy_stream(self.stream)

    def _allocate(self, num_bytes: int) -> int:
        self._device.append(self._cuda.allocate(num_bytes))
        return self._device[-1]

    def _pin(self, shape: tuple[int, ...]) -> tuple[int, FloatArray]:
        """Pinned host memory, which the GPU reads directly: its address, and the memory as an array."""
        num_bytes = int(np.prod(shape)) * FLOAT_BYTES
        address = self._cuda.allocate_pinned(num_bytes)
        self._pinned.append(address)
        memory: Any = (ctypes.c_char * num_bytes).from_address(address)
        array: FloatArray = np.ndarray(shape, np.float32, memory)
        array[...] = 0.0
        return address, array


class _Bucket:
    """One batch size: an execution context that is set up once, and the graph captured from it."""

    def __init__(self, engine: TensorRtEngine, trt: Any, lane: _Lane, rows: int, activation: tuple[int, int]) -> None:
        self.rows = rows
        self.graph: int | None = None
        self._engine, self._lane, self._activation = engine, lane, activation
        strategy = trt.ExecutionContextAllocationStrategy.USER_MANAGED
        self._context = engine.native.create_execution_context(strategy)
        if self._context is None:
            raise EngineError(f"TensorRT cannot create an execution context for {rows} rows")

    def prepare(self, cuda: Cuda) -> None:
        """Sets up the context, runs it once, and captures the graph. If that fails, batches run call by call."""
        engine, lane, context = self._engine, self._lane, self._context
        profile = _profile_for(engine.native, engine.input, self.rows)
        if not context.set_optimization_profile_async(profile, lane.stream):
            raise EngineError(f"TensorRT refuses profile {profile} for {self.rows} rows")
        cuda.synchronize(lane.stream)
        context.set_device_memory(*self._activation)
        if not context.set_input_shape(engine.input, (self.rows, engine.columns)):
            raise EngineError(f"TensorRT refuses a batch of {self.rows} rows")
        if tuple(context.get_tensor_shape(engine.output)) != (self.rows,):
            shape = list(context.get_tensor_shape(engine.output))
            raise BundleError(
                f"the plan answers {self.rows} rows with {shape}, not [{self.rows}]",
                remedy="export the model with one float32 score per row",
            )
        for name, address in ((engine.input, lane.rows_device), (engine.output, lane.scores_device)):
            if not context.set_tensor_address(name, address):
                raise EngineError(f"TensorRT refuses the address of {name}")
        self.enqueue(cuda)
        cuda.synchronize(lane.stream)
        cuda.begin_capture(lane.stream)
        try:
            self.enqueue(cuda)
            self.graph = cuda.end_capture(lane.stream)
        except EngineError as error:
            log.warning("no CUDA graph for %d rows, running call by call: %s", self.rows, error)
            self._end_broken_capture(cuda)

    def enqueue(self, cuda: Cuda) -> None:
        """Rows to the GPU, the kernels, scores back; on the lane's stream, without waiting."""
        lane = self._lane
        num_bytes = self.rows * self._engine.columns * FLOAT_BYTES
        cuda.copy_to_device(lane.rows_device, lane.rows_host, num_bytes, lane.stream)
        if not self._context.execute_async_v3(lane.stream):
            raise EngineError(f"TensorRT cannot run a batch of {self.rows} rows")
        cuda.copy_to_host(lane.scores_host, lane.scores_device, self.rows * FLOAT_BYTES, lane.stream)

    def _end_broken_capture(self, cuda: Cuda) -> None:
        """Ends a failed capture. The stream would otherwise stay in capture mode."""
        try:
            cuda.destroy_graph(cuda.end_capture(self._lane.stream))
        except EngineError as error:
            log.debug("the capture had ended: %s", error)


def _profile_for(native: Any, name: str, rows: int) -> int:
    for profile in range(native.num_optimization_profiles):
        least, _, most = native.get_tensor_profile_shape(name, profile)
        if least[0] <= rows <= most[0]:
            return int(profile)
    raise EngineError(f"no profile of the plan covers a batch of {rows} rows", remedy="build the plan again")


def _check_signature(trt: Any, native: Any, columns: int) -> tuple[str, str]:
    names = [native.get_tensor_name(index) for index in range(native.num_io_tensors)]
    inputs = [name for name in names if native.get_tensor_mode(name) == trt.TensorIOMode.INPUT]
    outputs = [name for name in names if native.get_tensor_mode(name) == trt.TensorIOMode.OUTPUT]
    if len(inputs) != 1 or len(outputs) != 1:
        raise EngineError(f"the plan has {len(inputs)} inputs and {len(outputs)} outputs, not one of each")
    shape = tuple(native.get_tensor_shape(inputs[0]))
    types = {native.get_tensor_dtype(name) for name in names}
    if shape != (-1, columns) or types != {trt.DataType.FLOAT}:
        raise EngineError(f"the plan takes {list(shape)}, but its schema says float32[N, {columns}]")
    return inputs[0], outputs[0]
