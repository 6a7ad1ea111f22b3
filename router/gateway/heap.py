"""Gives the system back what the C library keeps of freed memory.

uvloop takes a buffer of 256 KiB for each connection with TLS. While connections come and go, the buffers leave gaps
in glibc's heap, and the process grows though what is in use does not. glibc gives the pages of such gaps back when
told to, which takes about a millisecond.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Final

TRIM_S: Final = 30.0


def glibc_trim() -> Callable[[], object] | None:
    """Trims the heap; None where the C library cannot, as musl."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    return None if trim is None else lambda: trim(ctypes.c_size_t(0))


class HeapKeeper:
    """Trims the heap every `TRIM_S`.

    Args:
        now_s: monotonic clock.
        trim: does it; None does nothing.
    """

    def __init__(self, now_s: Callable[[], float], trim: Callable[[], object] | None) -> None:
        self._now_s = now_s
        self._trim = trim
        self._due_s = now_s() + TRIM_S

    def turn(self) -> None:
        """Call it about once a second."""
        if self._trim is not None and self._now_s() >= self._due_s:
            self._trim()
            self._due_s = self._now_s() + TRIM_S
