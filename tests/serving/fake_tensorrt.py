"""A stand-in for the module ``tensorrt``: the part of its API that we use, with its rules about order.

A fake plan is the ONNX file with its profiles; a fake context runs it with ONNX Runtime when the stream gets there. So
numbers are real, and a copy that is missing or goes to the wrong place gives wrong scores. Rules, from NVIDIA's
documentation; what the real library leaves undefined is a `TensorRtMisuse` here:

- creating a Runtime without a driver ends the process (`ProcessCrashed`)
- profile before shapes, shapes before addresses are used, all of them before a run; the stream that a profile was set
  on is synchronised before the next run
- a USER_MANAGED context has memory, as much as the engine says
- the first run after a change is not inside a capture; a context whose graph was captured is not changed any more
- no two threads use a context at the same time; no context outlives its engine

`tests/serving/test_fake_tensorrt.py` holds names and parameters against NVIDIA's own wheels.
"""

from __future__ import annotations

import ctypes
import enum
import json
import threading
from collections.abc import Sequence
from types import SimpleNamespace

import numpy as np
import onnx
import onnxruntime

from tests.serving.fake_cuda import FakeCuda

MAGIC = b"ftrt"


class TensorRtMisuse(AssertionError):
    """Something that TensorRT's documentation forbids."""


class ProcessCrashed(BaseException):
    """The real library would have ended the process."""


class FakeTensorRt:
    """The module. The attributes below the line are what tests turn."""

    class ILogger:
        INTERNAL_ERROR, ERROR, WARNING, INFO, VERBOSE = range(5)

        def __init__(self, min_severity: int = 2) -> None:
            self.min_severity = min_severity

    class MemoryPoolType(enum.IntEnum):
        WORKSPACE = 0

    class BuilderFlag(enum.IntEnum):
        REFIT = 2
        TF32 = 5
        STRICT_NANS = 17

    class TensorIOMode(enum.IntEnum):
        NONE, INPUT, OUTPUT = range(3)

    class DataType(enum.IntEnum):
        FLOAT, HALF = range(2)

    class ExecutionContextAllocationStrategy(enum.IntEnum):
        STATIC, ON_PROFILE_CHANGE, USER_MANAGED = range(3)

    class NetworkDefinitionCreationFlag(enum.IntEnum):
        STRONGLY_TYPED = 1

    def __init__(self, cuda: FakeCuda | None, version: str = "10.13.3.9") -> None:
        self.cuda = cuda
        self.__version__ = version
        # what tests turn, and what they look at
        self.builds_to_fail = 0
        self.builds_to_spoil = 0
        self.refit_fails = False
        self.null = ""
        self.activation_bytes = 4096
        self.num_builds = 0
        self.num_refits = 0
        self.timings_given: list[bytes] = []
        self.workspace_bytes = 0
        self.calls: list[str] = []

    def Builder(self, logger: ILogger) -> Builder:  # TensorRT's names
        self._check_null("Builder")
        return Builder(self, logger)

    def OnnxParser(self, network: INetworkDefinition, logger: ILogger) -> OnnxParser:
        return OnnxParser(self, network, logger)

    def Runtime(self, logger: ILogger) -> Runtime:
        if self.cuda is None:
            raise ProcessCrashed("Runtime() without a driver")
        self._check_null("Runtime")
        return Runtime(self, logger)

    def Refitter(self, engine: ICudaEngine, logger: ILogger) -> Refitter:
        return Refitter(self, engine, logger)

    def OnnxParserRefitter(self, refitter: Refitter, logger: ILogger) -> OnnxParserRefitter:
        return OnnxParserRefitter(self, refitter, logger)

    def _check_null(self, name: str) -> None:
        """What its bindings do where the library gives a null pointer."""
        if self.null == name:
            raise TypeError("pybind11::init(): factory function returned nullptr")


class INetworkDefinition:
    def __init__(self) -> None:
        self.model: onnx.ModelProto | None = None

    def get_input(self, index: int) -> SimpleNamespace:
        assert self.model is not None
        return SimpleNamespace(name=self.model.graph.input[index].name)


class OnnxParser:
    def __init__(self, trt: FakeTensorRt, network: INetworkDefinition, logger: FakeTensorRt.ILogger) -> None:
        self._network = network
        self._errors: list[str] = []

    @property
    def num_errors(self) -> int:
        return len(self._errors)

    def get_error(self, index: int) -> str:
        return self._errors[index]

    def parse(self, model: bytes) -> bool:
        self._network.model = onnx.ModelProto.FromString(model)
        self._errors = [f"no importer for {n.op_type}" for n in self._network.model.graph.node if n.domain == "other"]
        return not self._errors


class IOptimizationProfile:
    def __init__(self) -> None:
        self.shapes: dict[str, tuple[Sequence[int], ...]] = {}

    def set_shape(self, input: str, min: Sequence[int], opt: Sequence[int], max: Sequence[int]) -> None:
        if not all(a <= b <= c for a, b, c in zip(min, opt, max, strict=True)):
            raise ValueError("min <= opt <= max does not hold")
        self.shapes[input] = (min, opt, max)


class ITimingCache:
    def __init__(self, content: bytes) -> None:
        self.content = content

    def serialize(self) -> bytes:
        return self.content + b"t"


class IBuilderConfig:
    def __init__(self, trt: FakeTensorRt) -> None:
        self._trt = trt
        self.flags = {trt.BuilderFlag.TF32}
        self.profiles: list[IOptimizationProfile] = []
        self.timing: ITimingCache | None = None

    def set_memory_pool_limit(self, pool: int, pool_size: int) -> None:
        assert pool == self._trt.MemoryPoolType.WORKSPACE
        self._trt.workspace_bytes = pool_size

    def set_flag(self, flag: FakeTensorRt.BuilderFlag) -> None:
        self.flags.add(flag)

    def clear_flag(self, flag: FakeTensorRt.BuilderFlag) -> None:
        self.flags.discard(flag)

    def create_timing_cache(self, serialized_timing_cache: bytes) -> ITimingCache | None:
        self._trt.timings_given.append(serialized_timing_cache)
        return None if serialized_timing_cache == b"stale" else ITimingCache(serialized_timing_cache)

    def set_timing_cache(self, cache: ITimingCache, ignore_mismatch: bool) -> bool:
        self.timing = cache
        return True

    def get_timing_cache(self) -> ITimingCache | None:
        return self.timing

    def add_optimization_profile(self, profile: IOptimizationProfile) -> int:
        self.profiles.append(profile)
        return len(self.profiles) - 1


class Builder:
    def __init__(self, trt: FakeTensorRt, logger: FakeTensorRt.ILogger) -> None:
        self._trt = trt
        self._logger = logger

    def create_network(self, flags: int = 0) -> INetworkDefinition:
        if not flags & 1 << self._trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED:
            raise TensorRtMisuse("a weakly typed network, which TensorRT 11 does not have")
        return INetworkDefinition()

    def create_builder_config(self) -> IBuilderConfig:
        return IBuilderConfig(self._trt)

    def create_optimization_profile(self) -> IOptimizationProfile:
        return IOptimizationProfile()

    def build_serialized_network(self, network: INetworkDefinition, config: IBuilderConfig) -> bytes | None:
        trt = self._trt
        trt.num_builds += 1
        if network.model is None:
            raise TensorRtMisuse("a network was built before it was parsed")
        if trt.builds_to_fail > 0:
            trt.builds_to_fail -= 1
            self._logger.log(trt.ILogger.ERROR, "Error Code 10: could not find any implementation")  # type: ignore[attr-defined]
            return None
        is_spoilt = trt.builds_to_spoil > 0
        trt.builds_to_spoil -= is_spoilt
        (given,) = network.model.graph.input
        profiles = [[shape[0] for shape in one.shapes[given.name]] for one in config.profiles]
        flags = sorted(flag.name for flag in config.flags)
        return _plan(trt, network.model.SerializeToString(), profiles, flags, is_spoilt)


def _plan(trt: FakeTensorRt, model: bytes, profiles: list[list[int]], flags: list[str], is_spoilt: bool) -> bytes:
    head = {"version": trt.__version__, "profiles": profiles, "flags": flags, "spoilt": is_spoilt}
    return MAGIC + json.dumps(head).encode() + b"\n" + model


class Runtime:
    def __init__(self, trt: FakeTensorRt, logger: FakeTensorRt.ILogger) -> None:
        self._trt, self._logger = trt, logger

    def deserialize_cuda_engine(self, serialized_engine: bytes) -> ICudaEngine | None:
        if not serialized_engine.startswith(MAGIC):
            raise ProcessCrashed("a plan of a stranger was deserialised")
        head, _, model = serialized_engine[len(MAGIC) :].partition(b"\n")
        facts = json.loads(head)
        if facts["version"] != self._trt.__version__:
            self._logger.log(self._trt.ILogger.ERROR, "the plan is of another version")  # type: ignore[attr-defined]
            return None
        return ICudaEngine(self._trt, model, facts)


class ICudaEngine:
    def __init__(self, trt: FakeTensorRt, model: bytes, facts: dict) -> None:
        self._trt, self.model, self.facts = trt, model, facts
        self.session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
        self._tensors = [self.session.get_inputs()[0], self.session.get_outputs()[0]]
        self.device_memory_size_v2 = trt.activation_bytes
        self.num_io_tensors = 2
        self.num_optimization_profiles = len(facts["profiles"])
        self.refittable = "REFIT" in facts["flags"]

    def get_tensor_name(self, index: int) -> str:
        return str(self._tensors[index].name)

    def get_tensor_mode(self, name: str) -> FakeTensorRt.TensorIOMode:
        return self._trt.TensorIOMode.INPUT if name == self._tensors[0].name else self._trt.TensorIOMode.OUTPUT

    def get_tensor_dtype(self, name: str) -> FakeTensorRt.DataType:
        return self._trt.DataType.FLOAT

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        (tensor,) = [one for one in self._tensors if one.name == name]
        return tuple(dim if isinstance(dim, int) else -1 for dim in tensor.shape)

    def get_tensor_profile_shape(self, name: str, profile_index: int) -> list[tuple[int, ...]]:
        columns = self.get_tensor_shape(name)[1]
        return [(rows, columns) for rows in self.facts["profiles"][profile_index]]

    def create_execution_context(
        self, strategy: FakeTensorRt.ExecutionContextAllocationStrategy
    ) -> IExecutionContext | None:
        return IExecutionContext(self._trt, self, strategy)

    def serialize(self) -> bytes:
        return _plan(self._trt, self.model, self.facts["profiles"], self.facts["flags"], self.facts["spoilt"])


class IExecutionContext:
    def __init__(self, trt: FakeTensorRt, engine: ICudaEngine, strategy: int) -> None:
        assert trt.cuda is not None
        self._trt, self._cuda, self._engine = trt, trt.cuda, engine
        self._needs_memory = strategy == trt.ExecutionContextAllocationStrategy.USER_MANAGED
        self._profile: int | None = None
        self._profile_is_pending = False
        self._shape: tuple[int, ...] | None = None
        self._addresses: dict[str, int] = {}
        self._has_run = False
        self._is_captured = False
        self._busy = threading.Lock()

    def set_optimization_profile_async(self, profile_index: int, stream_handle: int) -> bool:
        with self._changing("set_optimization_profile_async"):
            self._profile, self._shape, self._profile_is_pending = profile_index, None, True

            def done() -> None:
                self._profile_is_pending = False

            self._cuda.enqueue(stream_handle, done)
            return 0 <= profile_index < self._engine.num_optimization_profiles

    def set_device_memory(self, memory: int, size: int) -> None:
        with self._changing("set_device_memory"):
            if size < self._engine.device_memory_size_v2:
                raise TensorRtMisuse("too little device memory")
            self._cuda.check_range(self._cuda.device, memory, size)
            self._needs_memory = False

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        with self._changing("set_input_shape"):
            if self._profile is None:
                raise TensorRtMisuse("a shape was set before the profile")
            low, _, high = self._engine.facts["profiles"][self._profile]
            if not low <= shape[0] <= high or shape[1] != self._engine.get_tensor_shape(name)[1]:
                return False
            self._shape = shape
            return True

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        if self._shape is None:
            return self._engine.get_tensor_shape(name)
        return tuple(self._shape[0] if dim == -1 else dim for dim in self._engine.get_tensor_shape(name))

    def set_tensor_address(self, name: str, memory: int) -> bool:
        with self._changing("set_tensor_address"):
            self._addresses[name] = memory
            return True

    def execute_async_v3(self, stream_handle: int) -> bool:
        with self._exclusive("execute_async_v3"):
            self._check_ready(stream_handle)
            is_capturing = self._cuda.is_capturing(stream_handle)
            if is_capturing and not self._has_run:
                raise TensorRtMisuse("the first run of a context was inside a capture")
            self._is_captured |= is_capturing
            self._has_run = True
            given, made = (self._engine.get_tensor_name(index) for index in range(2))
            shape, source, target = self._shape, self._addresses[given], self._addresses[made]
            self._cuda.enqueue(stream_handle, lambda: self._compute(shape, source, target))
            return True

    def _check_ready(self, stream: int) -> None:
        if self._profile_is_pending:
            raise TensorRtMisuse("a run before the profile's stream was synchronised")
        if self._needs_memory:
            raise TensorRtMisuse("a run without device memory")
        if self._shape is None:
            raise TensorRtMisuse("a run before its shapes were set")
        for index in range(2):
            name = self._engine.get_tensor_name(index)
            if name not in self._addresses:
                raise TensorRtMisuse(f"a run without an address of {name}")
            num_bytes = 4 * int(np.prod(self.get_tensor_shape(name)))
            self._cuda.check_range(self._cuda.device, self._addresses[name], num_bytes)

    def _compute(self, shape: tuple[int, ...] | None, source: int, target: int) -> None:
        assert shape is not None
        rows = np.ndarray(shape, np.float32, (ctypes.c_char * (4 * shape[0] * shape[1])).from_address(source)).copy()
        (scores,) = self._engine.session.run(None, {self._engine.get_tensor_name(0): rows})
        if self._engine.facts["spoilt"]:
            scores = scores + np.float32(0.1)
        ctypes.memmove(target, np.ascontiguousarray(scores).ctypes.data, 4 * shape[0])

    def _changing(self, call: str):
        if self._is_captured:
            raise TensorRtMisuse(f"{call} on a context whose graph was captured")
        return self._exclusive(call)

    def _exclusive(self, call: str):
        if self._busy.locked():
            raise TensorRtMisuse(f"{call} while another thread uses the context")
        self._trt.calls.append(call)
        return self._busy


class Refitter:
    def __init__(self, trt: FakeTensorRt, engine: ICudaEngine, logger: FakeTensorRt.ILogger) -> None:
        self._trt, self._engine = trt, engine
        self.model = b""
        if not engine.refittable:
            raise TensorRtMisuse("a plan that was built without REFIT")

    def refit_cuda_engine(self) -> bool:
        if not self.model:
            raise TensorRtMisuse("a refit without weights")
        self._engine.model = self.model
        self._trt.num_refits += 1
        return True


class OnnxParserRefitter:
    def __init__(self, trt: FakeTensorRt, refitter: Refitter, logger: FakeTensorRt.ILogger) -> None:
        self._trt, self._refitter = trt, refitter

    def refit_from_bytes(self, model: bytes) -> bool:
        if self._trt.refit_fails:
            return False
        self._refitter.model = model
        return True
