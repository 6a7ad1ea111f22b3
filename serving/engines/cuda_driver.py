"""NVIDIA's driver: is there a GPU, what is it, and the few calls that an engine needs.

The calls go through ``cuda.bindings.driver``, NVIDIA's own binding (package ``cuda-bindings``). Only this module
imports it, and only when a replica asks for a GPU.

The driver is asked before any library of CUDA is loaded. Without a driver such a library may do worse than raise an
error: creating a TensorRT ``Runtime`` then ends the process (seen with TensorRT 11.4).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from divisions.errors import EngineError
from serving.engines.foreign_errors import first_line

_NAME_BYTES = 256
_REMEDY = "check the GPU with nvidia-smi, or serve this version without a GPU (serving.num_gpus: 0)"


@dataclass(frozen=True, slots=True)
class GpuInfo:
    """One GPU as the driver describes it. ``uuid`` is 32 hex digits; ``driver`` is CUDA's version as ``12.8``."""

    name: str
    uuid: str
    compute_capability: tuple[int, int]
    memory_bytes: int
    driver: str


@dataclass(frozen=True, slots=True)
class GpuRates:
    """The highest clock rates of a GPU, in hertz, and what they drive."""

    memory_clock_hz: float
    bus_bits: int
    clock_hz: float
    multiprocessors: int


@dataclass(frozen=True, slots=True)
class GpuProbe:
    """The driver's answer: GPUs, or ``reason`` why there are none."""

    gpus: tuple[GpuInfo, ...] = ()
    reason: str = ""


def load_binding() -> Any:
    """Imports NVIDIA's binding of the driver.

    Raises:
        EngineError: the package is not installed, or cannot be loaded.
    """
    try:
        from cuda.bindings import driver
    except ModuleNotFoundError:
        raise EngineError("cuda-bindings is not installed: pip install 'divisions[gpu]'") from None
    except ImportError as error:
        raise EngineError(f"cuda-bindings cannot be loaded: {first_line(error)}") from error
    return driver


def probe_gpus(load: Callable[[], Any] = load_binding) -> GpuProbe:
    """Asks the driver which GPUs this process may use; never raises."""
    try:
        driver = CudaDriver(load)
        gpus = tuple(driver.describe(index) for index in range(driver.num_gpus()))
    except EngineError as error:
        return GpuProbe(reason=error.message)
    return GpuProbe(gpus) if gpus else GpuProbe(reason="the NVIDIA driver lists no GPU")


class Cuda(Protocol):
    """What engines use of CUDA, on one GPU. Addresses, streams and graphs are plain integers."""

    def enter(self) -> None:
        """Makes the GPU current in this thread. Every thread must call it before its first other call."""
        ...

    def memory(self) -> tuple[int, int]:
        """Free bytes and total bytes."""
        ...

    def allocate(self, num_bytes: int) -> int: ...

    def free(self, address: int) -> None: ...

    def allocate_pinned(self, num_bytes: int) -> int: ...

    def free_pinned(self, address: int) -> None: ...

    def create_stream(self) -> int: ...

    def destroy_stream(self, stream: int) -> None: ...

    def synchronize(self, stream: int) -> None: ...

    def copy_to_device(self, device: int, host: int, num_bytes: int, stream: int) -> None: ...

    def copy_to_host(self, host: int, device: int, num_bytes: int, stream: int) -> None: ...

    def begin_capture(self, stream: int) -> None: ...

    def end_capture(self, stream: int) -> int:
        """The captured graph, ready to be launched."""
        ...

    def launch(self, graph: int, stream: int) -> None: ...

    def destroy_graph(self, graph: int) -> None: ...


class CudaDriver:
    """`Cuda` on the real driver."""

    def __init__(self, load: Callable[[], Any] = load_binding, index: int = 0) -> None:
        """Raises: EngineError: the binding is not installed, or there is no driver, or it does not work."""
        self._cu = load()
        self._index = index
        self._context: int | None = None
        try:
            self._call("cuInit", 0)
        except RuntimeError as error:  # the binding loads the driver's library at its first call
            raise EngineError(f"there is no NVIDIA driver: {first_line(error)}", remedy=_REMEDY) from None

    def num_gpus(self) -> int:
        return int(self._call("cuDeviceGetCount"))

    def describe(self, index: int) -> GpuInfo:
        device = self._call("cuDeviceGet", index)
        name: bytes = self._call("cuDeviceGetName", _NAME_BYTES, device)
        version = int(self._call("cuDriverGetVersion"))
        return GpuInfo(
            name=name.partition(b"\0")[0].decode(errors="replace"),
            uuid=self._call("cuDeviceGetUuid", device).bytes.hex(),
            compute_capability=(
                self._attribute("COMPUTE_CAPABILITY_MAJOR", device),
                self._attribute("COMPUTE_CAPABILITY_MINOR", device),
            ),
            memory_bytes=int(self._call("cuDeviceTotalMem", device)),
            driver=f"{version // 1000}.{version % 1000 // 10}",
        )

    def rates(self, index: int) -> GpuRates:
        """The clock rates. Benchmarks print a lower bound beside each measured time; serving does not need this."""
        device = self._call("cuDeviceGet", index)
        return GpuRates(
            memory_clock_hz=self._attribute("MEMORY_CLOCK_RATE", device) * 1e3,
            bus_bits=self._attribute("GLOBAL_MEMORY_BUS_WIDTH", device),
            clock_hz=self._attribute("CLOCK_RATE", device) * 1e3,
            multiprocessors=self._attribute("MULTIPROCESSOR_COUNT", device),
        )

    def enter(self) -> None:
        if self._context is None:
            # CUDA's runtime, and with it TensorRT, uses the primary context.
            device = self._call("cuDeviceGet", self._index)
            self._context = int(self._call("cuDevicePrimaryCtxRetain", device))
        self._call("cuCtxSetCurrent", self._context)

    def memory(self) -> tuple[int, int]:
        available, total = self._call("cuMemGetInfo")
        return int(available), int(total)

    def allocate(self, num_bytes: int) -> int:
        return int(self._call("cuMemAlloc", num_bytes))

    def free(self, address: int) -> None:
        self._call("cuMemFree", address)

    def allocate_pinned(self, num_bytes: int) -> int:
        return int(self._call("cuMemHostAlloc", num_bytes, 0))

    def free_pinned(self, address: int) -> None:
        self._call("cuMemFreeHost", address)

    def create_stream(self) -> int:
        # Non-blocking: the stream does not wait for the default stream.
        return int(self._call("cuStreamCreate", self._cu.CUstream_flags.CU_STREAM_NON_BLOCKING.value))

    def destroy_stream(self, stream: int) -> None:
        self._call("cuStreamDestroy", stream)

    def synchronize(self, stream: int) -> None:
        self._call("cuStreamSynchronize", stream)

    def copy_to_device(self, device: int, host: int, num_bytes: int, stream: int) -> None:
        self._call("cuMemcpyHtoDAsync", device, host, num_bytes, stream)

    def copy_to_host(self, host: int, device: int, num_bytes: int, stream: int) -> None:
        self._call("cuMemcpyDtoHAsync", host, device, num_bytes, stream)

    def begin_capture(self, stream: int) -> None:
        # Other threads may go on using CUDA during the capture. In the global mode their calls would fail.
        self._call("cuStreamBeginCapture", stream, self._cu.CUstreamCaptureMode.CU_STREAM_CAPTURE_MODE_THREAD_LOCAL)

    def end_capture(self, stream: int) -> int:
        captured = int(self._call("cuStreamEndCapture", stream))
        if not captured:
            raise EngineError("a CUDA graph could not be captured")
        try:
            return int(self._call("cuGraphInstantiate", captured, 0))
        finally:
            self._call("cuGraphDestroy", captured)

    def launch(self, graph: int, stream: int) -> None:
        self._call("cuGraphLaunch", graph, stream)

    def destroy_graph(self, graph: int) -> None:
        self._call("cuGraphExecDestroy", graph)

    def _attribute(self, name: str, device: Any) -> int:
        which = getattr(self._cu.CUdevice_attribute, f"CU_DEVICE_ATTRIBUTE_{name}")
        return int(self._call("cuDeviceGetAttribute", which, device))

    def _call(self, name: str, *arguments: Any) -> Any:
        """Calls a function of the driver; returns its one result, or a tuple of several.

        Raises:
            EngineError: the driver returns an error, or is too old to have this function.
            RuntimeError: the driver's library cannot be loaded. Only the first call, ``cuInit``, can raise it.
        """
        try:
            status, *results = getattr(self._cu, name)(*arguments)
        except RuntimeError as error:
            if name == "cuInit":
                raise
            raise EngineError(
                f"the NVIDIA driver has no {name}: {first_line(error)}", remedy="install a newer driver"
            ) from None
        except ValueError as error:  # a status that this version of the binding does not know
            raise EngineError(f"{name} failed: {first_line(error)}", remedy=_REMEDY) from None
        if status:
            raise EngineError(f"{name} failed with {getattr(status, 'name', status)}", remedy=_REMEDY)
        return results[0] if len(results) == 1 else tuple(results)
