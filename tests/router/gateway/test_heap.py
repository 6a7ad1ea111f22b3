"""Freed memory goes back to the system, seldom and for as long as the gateway lives."""

import asyncio
import ctypes

import pytest

from router.gateway import heap
from router.gateway.heap import TRIM_S, glibc_trim, keep_trimmed


def turns(number: int) -> list[float]:
    """How long each of the pauses was, until it is cancelled in the last."""
    pauses: list[float] = []

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == number:
            raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(keep_trimmed(sleep))
    return pauses


def test_the_heap_is_trimmed_after_each_pause(monkeypatch):
    trims: list[int] = []
    monkeypatch.setattr(heap, "glibc_trim", lambda: lambda: trims.append(1))
    assert turns(4) == [TRIM_S] * 4
    assert len(trims) == 3


def test_a_c_library_that_cannot_trim_ends_nothing(monkeypatch):
    monkeypatch.setattr(ctypes, "CDLL", lambda name: object())
    assert glibc_trim() is None
    assert turns(3) == [TRIM_S] * 3


def test_gaps_go_back_to_the_system():
    trim = glibc_trim()
    if trim is None:
        pytest.skip("this C library cannot trim")
    libc = ctypes.CDLL(None)
    libc.malloc.restype = ctypes.c_void_p
    libc.free.argtypes = [ctypes.c_void_p]
    blocks = [libc.malloc(100_000) for _ in range(600)]  # below the size that glibc maps apart
    for block in blocks:
        ctypes.memset(block, 1, 100_000)
    for block in blocks[:-1]:  # the last one is above all the others in the heap
        libc.free(block)
    before = resident_bytes()
    trim()
    after = resident_bytes()
    libc.free(blocks[-1])
    assert before - after > 30_000_000


def resident_bytes():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4_096
