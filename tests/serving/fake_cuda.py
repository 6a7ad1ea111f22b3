"""A GPU in memory: asynchronous streams, capture, and errors where the real driver has them.

What is enqueued happens at `synchronize`, as late as it may on a GPU, so that a missing wait shows. Memory is real
host memory with real addresses; using it after it was freed, or beyond its end, is an error.
"""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable

from divisions.errors import EngineError
from serving.engines.cuda_driver import GpuInfo, GpuProbe

T4 = GpuInfo("Tesla T4", "00" * 16, (7, 5), 15_843_721_216, "12.8")
T4_PROBE = GpuProbe((T4,))


class FakeCuda:
    def __init__(self, memory_bytes: int = T4.memory_bytes) -> None:
        self.memory_bytes = memory_bytes
        self.device: dict[int, ctypes.Array] = {}
        self.pinned: dict[int, ctypes.Array] = {}
        self.streams: dict[int, list[Callable[[], None]]] = {}
        self.captures: dict[int, list[Callable[[], None]]] = {}
        self.graphs: dict[int, list[Callable[[], None]]] = {}
        self.launches = 0
        self.capture_fails = False
        self._entered = threading.local()
        self._handles = 1000

    def enter(self) -> None:
        self._entered.value = True

    def memory(self) -> tuple[int, int]:
        return self.memory_bytes - sum(map(ctypes.sizeof, self.device.values())), self.memory_bytes

    def allocate(self, num_bytes: int) -> int:
        self._check()
        if num_bytes > self.memory()[0]:
            raise EngineError("cuMemAlloc failed with CUDA_ERROR_OUT_OF_MEMORY")
        return self._hold(self.device, num_bytes)

    def free(self, address: int) -> None:
        self._check()
        del self.device[address]

    def allocate_pinned(self, num_bytes: int) -> int:
        self._check()
        return self._hold(self.pinned, num_bytes)

    def free_pinned(self, address: int) -> None:
        self._check()
        del self.pinned[address]

    def create_stream(self) -> int:
        self._check()
        self._handles += 1
        self.streams[self._handles] = []
        return self._handles

    def destroy_stream(self, stream: int) -> None:
        assert not self.streams.pop(stream), "a stream was destroyed with work in it"

    def synchronize(self, stream: int) -> None:
        self._check()
        if stream in self.captures:
            raise EngineError("cuStreamSynchronize failed with CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED")
        work, self.streams[stream] = self.streams[stream], []
        for do in work:
            do()

    def copy_to_device(self, device: int, host: int, num_bytes: int, stream: int) -> None:
        self.check_range(self.device, device, num_bytes)
        self.check_range(self.pinned, host, num_bytes)
        self.enqueue(stream, lambda: ctypes.memmove(device, host, num_bytes))

    def copy_to_host(self, host: int, device: int, num_bytes: int, stream: int) -> None:
        self.check_range(self.device, device, num_bytes)
        self.check_range(self.pinned, host, num_bytes)
        self.enqueue(stream, lambda: ctypes.memmove(host, device, num_bytes))

    def begin_capture(self, stream: int) -> None:
        self._check()
        if stream in self.captures or self.streams[stream]:
            raise EngineError("cuStreamBeginCapture failed")
        self.captures[stream] = []

    def end_capture(self, stream: int) -> int:
        if stream not in self.captures:
            raise EngineError("cuStreamEndCapture failed with CUDA_ERROR_ILLEGAL_STATE")
        work = self.captures.pop(stream)
        if self.capture_fails:
            raise EngineError("cuStreamEndCapture failed with CUDA_ERROR_STREAM_CAPTURE_INVALIDATED")
        self._handles += 1
        self.graphs[self._handles] = work
        return self._handles

    def launch(self, graph: int, stream: int) -> None:
        self.launches += 1
        for do in self.graphs[graph]:
            self.enqueue(stream, do)

    def destroy_graph(self, graph: int) -> None:
        del self.graphs[graph]

    def enqueue(self, stream: int, do: Callable[[], object]) -> None:
        self._check()
        self.captures.get(stream, self.streams[stream]).append(do)

    def is_capturing(self, stream: int) -> bool:
        return stream in self.captures

    def check_range(self, space: dict[int, ctypes.Array], address: int, num_bytes: int) -> None:
        for begin, memory in space.items():
            if begin <= address and address + num_bytes <= begin + ctypes.sizeof(memory):
                return
        raise AssertionError(f"{num_bytes} bytes at {address:#x} are not allocated there")

    def _hold(self, space: dict[int, ctypes.Array], num_bytes: int) -> int:
        memory = ctypes.create_string_buffer(b"\xff" * num_bytes, num_bytes)  # NaN, if read as floats
        space[ctypes.addressof(memory)] = memory
        return ctypes.addressof(memory)

    def _check(self) -> None:
        if not getattr(self._entered, "value", False):
            raise EngineError("failed with CUDA_ERROR_INVALID_CONTEXT: this thread has not entered the GPU")
