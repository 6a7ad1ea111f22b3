"""Freed memory goes back to the system, seldom and for as long as the gateway lives."""

import ctypes

import pytest

from divisions.clock import ManualClock
from router.gateway.heap import TRIM_S, HeapKeeper, glibc_trim


def test_the_heap_is_trimmed_once_in_each_period():
    clock, trims = ManualClock(), []
    keeper = HeapKeeper(clock.monotonic_s, lambda: trims.append(clock.monotonic_s()))
    began_s = clock.monotonic_s()
    for _ in range(int(3 * TRIM_S)):
        clock.advance(1.0)
        keeper.turn()
    assert trims == [began_s + TRIM_S, began_s + 2 * TRIM_S, began_s + 3 * TRIM_S]


def test_a_c_library_that_cannot_trim_is_left_alone(monkeypatch):
    monkeypatch.setattr(ctypes, "CDLL", lambda name: object())
    assert glibc_trim() is None
    clock = ManualClock()
    keeper = HeapKeeper(clock.monotonic_s, None)
    clock.advance(TRIM_S)
    keeper.turn()


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
