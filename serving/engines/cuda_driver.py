"""NVIDIA's driver through ctypes: is there a GPU, what is it, and the few calls that an engine needs.

The driver is asked before any library of CUDA is loaded, because what they do without one is not always an error:
creating a TensorRT ``Runtime`` in a process without a driver ends the process (seen with TensorRT 11.4). The driver's
own library is on every machine that has a GPU, so nothing needs to be installed to ask it.

Names and constants are those of ``cuda.h``; a name ending in ``_v2`` is the entry that the header's macro stands for.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from divisions.errors import EngineError

LIBRARY = "libcuda.so.1"

_ATTRIBUTE_MAJOR, _ATTRIBUTE_MINOR = 75, 76
_ATTRIBUTE_CLOCK_KHZ, _ATTRIBUTE_MULTIPROCESSORS = 13, 16
_ATTRIBUTE_MEMORY_CLOCK_KHZ, _ATTRIBUTE_BUS_BITS = 36, 37
_STREAM_NON_BLOCKING = 1
_CAPTURE_THREAD_LOCAL = 1
"""Other threads may go on using CUDA while a graph is captured; the global mode would make their calls fail."""

_POINTER, _SIZE, _INT, _UINT = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_uint
_ADDRESS = ctypes.c_uint64
_SIGNATURES: dict[str, tuple[Any, ...]] = {
    "cuInit": (_UINT,),
    "cuDriverGetVersion": (_POINTER,),
    "cuDeviceGetCount": (_POINTER,),
    "cuDeviceGet": (_POINTER, _INT),
    "cuDeviceGetName": (_POINTER, _INT, _INT),
    "cuDeviceGetUuid_v2": (_POINTER, _INT),
    "cuDeviceGetAttribute": (_POINTER, _INT, _INT),
    "cuDeviceTotalMem_v2": (_POINTER, _INT),
    "cuDevicePrimaryCtxRetain": (_POINTER, _INT),
    "cuCtxSetCurrent": (_POINTER,),
    "cuMemGetInfo_v2": (_POINTER, _POINTER),
    "cuMemAlloc_v2": (_POINTER, _SIZE),
    "cuMemFree_v2": (_ADDRESS,),
    "cuMemHostAlloc": (_POINTER, _SIZE, _UINT),
    "cuMemFreeHost": (_POINTER,),
    "cuMemcpyHtoDAsync_v2": (_ADDRESS, _POINTER, _SIZE, _POINTER),
    "cuMemcpyDtoHAsync_v2": (_POINTER, _ADDRESS, _SIZE, _POINTER),
    "cuStreamCreate": (_POINTER, _UINT),
    "cuStreamSynchronize": (_POINTER,),
    "cuStreamDestroy_v2": (_POINTER,),
    "cuStreamBeginCapture_v2": (_POINTER, _INT),
    "cuStreamEndCapture": (_POINTER, _POINTER),
    "cuGraphInstantiateWithFlags": (_POINTER, _POINTER, ctypes.c_ulonglong),
    "cuGraphDestroy": (_POINTER,),
    "cuGraphLaunch": (_POINTER, _POINTER),
    "cuGraphExecDestroy": (_POINTER,),
    "cuGetErrorName": (_INT, _POINTER),
}


@dataclass(frozen=True, slots=True)
class GpuInfo:
    """One GPU as the driver sees it. ``uuid`` is 32 hex digits; ``driver`` is CUDA's version as ``12.8``."""

    name: str
    uuid: str
    compute_capability: tuple[int, int]
    memory_bytes: int
    driver: str


@dataclass(frozen=True, slots=True)
class GpuRates:
    """How fast a GPU's clocks let it be: the highest ones, in hertz."""

    memory_clock_hz: float
    bus_bits: int
    clock_hz: float
    multiprocessors: int


@dataclass(frozen=True, slots=True)
class GpuProbe:
    """What the driver said: GPUs, or ``reason`` why there are none."""

    gpus: tuple[GpuInfo, ...] = ()
    reason: str = ""


def probe_gpus(load: Callable[[str], Any] = ctypes.CDLL) -> GpuProbe:
    """Asks the driver which GPUs this process may use; never raises."""
    try:
        driver = CudaDriver(load)
        gpus = tuple(driver.describe(index) for index in range(driver.num_gpus()))
    except EngineError as error:
        return GpuProbe(reason=error.message)
    return GpuProbe(gpus) if gpus else GpuProbe(reason="the NVIDIA driver sees no GPU")


class Cuda(Protocol):
    """What engines use of CUDA, on one GPU. Addresses, streams and graphs are plain integers."""

    def enter(self) -> None:
        """Makes the GPU current in this thread; every thread must, before its first call."""
        ...

    def memory(self) -> tuple[int, int]:
        """Bytes that are free, and all there are."""
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

    def __init__(self, load: Callable[[str], Any] = ctypes.CDLL, index: int = 0) -> None:
        """Raises: EngineError: there is no driver, or it does not work."""
        try:
            self._library = load(LIBRARY)
        except OSError:
            raise EngineError(f"there is no NVIDIA driver ({LIBRARY} cannot be loaded)", remedy=_REMEDY) from None
        self._index = index
        self._context: int | None = None
        self._call("cuInit", 0)

    def num_gpus(self) -> int:
        return self._out(_INT, "cuDeviceGetCount")

    def describe(self, index: int) -> GpuInfo:
        device = self._device(index)
        name, uuid = ctypes.create_string_buffer(256), ctypes.create_string_buffer(16)
        self._call("cuDeviceGetName", ctypes.addressof(name), len(name), device)
        self._call("cuDeviceGetUuid_v2", ctypes.addressof(uuid), device)
        version = self._out(_INT, "cuDriverGetVersion")
        return GpuInfo(
            name=name.value.decode(errors="replace"),
            uuid=uuid.raw.hex(),
            compute_capability=(
                self._attribute(_ATTRIBUTE_MAJOR, device),
                self._attribute(_ATTRIBUTE_MINOR, device),
            ),
            memory_bytes=self._out(_SIZE, "cuDeviceTotalMem_v2", device),
            driver=f"{version // 1000}.{version % 1000 // 10}",
        )

    def rates(self, index: int) -> GpuRates:
        """For floors beside measured times; nothing that serves needs it."""
        device = self._device(index)
        return GpuRates(
            memory_clock_hz=self._attribute(_ATTRIBUTE_MEMORY_CLOCK_KHZ, device) * 1e3,
            bus_bits=self._attribute(_ATTRIBUTE_BUS_BITS, device),
            clock_hz=self._attribute(_ATTRIBUTE_CLOCK_KHZ, device) * 1e3,
            multiprocessors=self._attribute(_ATTRIBUTE_MULTIPROCESSORS, device),
        )

    def enter(self) -> None:
        if self._context is None:
            # The primary context is the one that CUDA's runtime, and so TensorRT, uses.
            self._context = self._out(_POINTER, "cuDevicePrimaryCtxRetain", self._device(self._index))
        self._call("cuCtxSetCurrent", self._context)

    def memory(self) -> tuple[int, int]:
        free, total = _SIZE(), _SIZE()
        self._call("cuMemGetInfo_v2", ctypes.addressof(free), ctypes.addressof(total))
        return free.value, total.value

    def allocate(self, num_bytes: int) -> int:
        return self._out(_ADDRESS, "cuMemAlloc_v2", num_bytes)

    def free(self, address: int) -> None:
        self._call("cuMemFree_v2", address)

    def allocate_pinned(self, num_bytes: int) -> int:
        return self._out(_POINTER, "cuMemHostAlloc", num_bytes, 0)

    def free_pinned(self, address: int) -> None:
        self._call("cuMemFreeHost", address)

    def create_stream(self) -> int:
        return self._out(_POINTER, "cuStreamCreate", _STREAM_NON_BLOCKING)

    def destroy_stream(self, stream: int) -> None:
        self._call("cuStreamDestroy_v2", stream)

    def synchronize(self, stream: int) -> None:
        self._call("cuStreamSynchronize", stream)

    def copy_to_device(self, device: int, host: int, num_bytes: int, stream: int) -> None:
        self._call("cuMemcpyHtoDAsync_v2", device, host, num_bytes, stream)

    def copy_to_host(self, host: int, device: int, num_bytes: int, stream: int) -> None:
        self._call("cuMemcpyDtoHAsync_v2", host, device, num_bytes, stream)

    def begin_capture(self, stream: int) -> None:
        self._call("cuStreamBeginCapture_v2", stream, _CAPTURE_THREAD_LOCAL)

    def end_capture(self, stream: int) -> int:
        graph = _POINTER()
        self._call("cuStreamEndCapture", stream, ctypes.addressof(graph))
        if not graph.value:
            raise EngineError("a CUDA graph could not be captured")
        try:
            return self._out(_POINTER, "cuGraphInstantiateWithFlags", graph.value, 0)
        finally:
            self._call("cuGraphDestroy", graph.value)

    def launch(self, graph: int, stream: int) -> None:
        self._call("cuGraphLaunch", graph, stream)

    def destroy_graph(self, graph: int) -> None:
        self._call("cuGraphExecDestroy", graph)

    def _attribute(self, which: int, device: int) -> int:
        return self._out(_INT, "cuDeviceGetAttribute", which, device)

    def _device(self, index: int) -> int:
        return self._out(_INT, "cuDeviceGet", index)

    def _out(self, kind: Any, name: str, *arguments: Any) -> int:
        """Calls a function whose first parameter is where the result goes."""
        result = kind()
        self._call(name, ctypes.addressof(result), *arguments)
        return int(result.value or 0)

    def _call(self, name: str, *arguments: Any) -> None:
        function = getattr(self._library, name, None)
        if function is None:
            raise EngineError(f"the NVIDIA driver has no {name}", remedy="install a driver of CUDA 12.2 or newer")
        # Without these, ctypes would cut addresses to 32 bits.
        function.argtypes, function.restype = _SIGNATURES[name], _INT
        status = function(*arguments)
        if status:
            raise EngineError(f"{name} failed with {self._error_name(status)}", remedy=_REMEDY)

    def _error_name(self, status: int) -> str:
        text = ctypes.c_char_p()
        function = getattr(self._library, "cuGetErrorName", None)
        if function is None:
            return str(status)
        function.argtypes, function.restype = _SIGNATURES["cuGetErrorName"], _INT
        return (text.value or b"").decode() if not function(status, ctypes.addressof(text)) else str(status)


_REMEDY = "check the GPU with nvidia-smi, or serve this version without a GPU (serving.num_gpus: 0)"
