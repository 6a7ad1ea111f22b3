"""The driver's ctypes layer against a library in memory that has the real calling convention."""

from __future__ import annotations

import ctypes
from types import SimpleNamespace

import pytest

from divisions.errors import EngineError
from serving.engines.cuda_driver import _SIGNATURES, LIBRARY, CudaDriver, GpuRates, probe_gpus

FUNCTION = {name: ctypes.CFUNCTYPE(ctypes.c_int, *kinds) for name, kinds in _SIGNATURES.items()}
HIGH = 0x7F12_3456_7000
"""An address beyond 32 bits: it must come through whole."""


T4_ATTRIBUTES = {75: 7, 76: 5, 13: 1_590_000, 16: 40, 36: 5_001_000, 37: 256}
"""By the numbers of ``CUdevice_attribute``."""


def put(address, kind, value):
    kind.from_address(address).value = value
    return 0


class Library:
    """``libcuda.so.1`` with one T4; ``status`` makes a function fail."""

    def __init__(self, count=1, status=None, without=()):
        self.calls = []
        status = status or {}
        pointer = ctypes.c_uint64

        def name(at, size, _device):
            ctypes.memmove(at, b"Tesla T4\0", 9)
            return 0

        bodies = {
            "cuInit": lambda flags: 0,
            "cuDriverGetVersion": lambda out: put(out, ctypes.c_int, 12080),
            "cuDeviceGetCount": lambda out: put(out, ctypes.c_int, count),
            "cuDeviceGet": lambda out, index: put(out, ctypes.c_int, index),
            "cuDeviceGetName": None,
            "cuDeviceGetUuid_v2": lambda out, device: ctypes.memmove(out, bytes(range(16)), 16) and 0,
            "cuDeviceGetAttribute": lambda out, which, device: put(out, ctypes.c_int, T4_ATTRIBUTES[which]),
            "cuDeviceTotalMem_v2": lambda out, device: put(out, ctypes.c_size_t, 15_843_721_216),
            "cuDevicePrimaryCtxRetain": lambda out, device: put(out, pointer, HIGH),
            "cuMemAlloc_v2": lambda out, size: put(out, pointer, HIGH + size),
            "cuMemGetInfo_v2": lambda free, total: put(free, ctypes.c_size_t, 1) or put(total, ctypes.c_size_t, 2),
            "cuStreamCreate": lambda out, flags: put(out, pointer, HIGH),
            "cuStreamEndCapture": lambda stream, out: put(out, pointer, HIGH + 1),
            "cuGraphInstantiateWithFlags": lambda out, graph, flags: put(out, pointer, graph + 1),
            "cuGetErrorName": None,
        }
        text = ctypes.create_string_buffer(b"CUDA_ERROR_NO_DEVICE")
        self._keep = text
        for function in set(_SIGNATURES) - set(without):
            body = bodies.get(function) or (lambda *_: 0)
            if function == "cuDeviceGetName":
                body = name
            elif function == "cuGetErrorName":
                body = lambda code, out: put(out, pointer, ctypes.addressof(text))  # noqa: E731
            setattr(self, function, self._wrap(function, body, status.get(function)))

    def _wrap(self, function, body, status):
        def call(*arguments):
            assert (call.argtypes, call.restype) == (_SIGNATURES[function], ctypes.c_int)
            seen = []

            def record(*values):
                seen.append(values)
                return status if status is not None else body(*values)

            native = FUNCTION[function](record)
            result = native(*arguments)
            self.calls.append((function, *seen[0]))
            return result

        call.argtypes = call.restype = None
        return call


def test_a_t4_is_described():
    (gpu,) = probe_gpus(lambda name: Library()).gpus
    assert (gpu.name, gpu.compute_capability, gpu.memory_bytes) == ("Tesla T4", (7, 5), 15_843_721_216)
    assert (gpu.uuid, gpu.driver) == (bytes(range(16)).hex(), "12.8")


def test_its_clocks_are_in_hertz():
    assert CudaDriver(lambda name: Library()).rates(0) == GpuRates(5_001e6, 256, 1_590e6, 40)


def test_what_is_asked_for_is_the_drivers_own_library():
    asked = []

    def load(name):
        asked.append(name)
        raise OSError

    probe = probe_gpus(load)
    assert (asked, probe.gpus) == ([LIBRARY], ())
    assert probe.reason == "there is no NVIDIA driver (libcuda.so.1 cannot be loaded)"


@pytest.mark.parametrize(
    ("library", "reason"),
    [
        (lambda: Library(status={"cuInit": 100}), "cuInit failed with CUDA_ERROR_NO_DEVICE"),
        (lambda: Library(count=0), "the NVIDIA driver sees no GPU"),
        (lambda: Library(without=["cuDeviceGetUuid_v2"]), "the NVIDIA driver has no cuDeviceGetUuid_v2"),
        (SimpleNamespace, "the NVIDIA driver has no cuInit"),
    ],
)
def test_a_driver_that_does_not_work_is_a_reason(library, reason):
    probe = probe_gpus(lambda name: library())
    assert (probe.gpus, probe.reason) == ((), reason)


def test_addresses_come_through_whole():
    library = Library()
    cuda = CudaDriver(lambda name: library)
    cuda.enter()
    assert library.calls[-1] == ("cuCtxSetCurrent", HIGH)
    assert cuda.allocate(16) == HIGH + 16
    cuda.copy_to_device(HIGH, HIGH + 8, 16, HIGH + 1)
    assert library.calls[-1] == ("cuMemcpyHtoDAsync_v2", HIGH, HIGH + 8, 16, HIGH + 1)
    cuda.copy_to_host(HIGH + 8, HIGH, 4, HIGH + 1)
    assert library.calls[-1] == ("cuMemcpyDtoHAsync_v2", HIGH + 8, HIGH, 4, HIGH + 1)
    assert cuda.memory() == (1, 2)


def test_a_captured_graph_is_instantiated_and_its_template_destroyed():
    library = Library()
    cuda = CudaDriver(lambda name: library)
    stream = cuda.create_stream()
    assert library.calls[-1][2] == 1  # non-blocking: it does not wait for the default stream
    cuda.begin_capture(stream)
    assert library.calls[-1] == ("cuStreamBeginCapture_v2", HIGH, 1)  # other threads may go on using CUDA
    assert cuda.end_capture(stream) == HIGH + 2
    assert library.calls[-1] == ("cuGraphDestroy", HIGH + 1)


def test_an_error_has_the_drivers_name_for_it():
    library = Library(status={"cuMemAlloc_v2": 2})
    with pytest.raises(EngineError, match=r"cuMemAlloc_v2 failed with CUDA_ERROR_.*nvidia-smi"):
        CudaDriver(lambda name: library).allocate(1)
