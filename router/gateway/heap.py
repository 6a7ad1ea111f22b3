"""Gives the system back what the C library keeps of freed memory.

uvloop takes a buffer of 256 KiB for each connection with TLS. While connections come and go, the buffers leave gaps
in glibc's heap, and the process grows though what is in use does not. glibc gives the pages of such gaps back when
told to, which takes about a millisecond.
"""

from __future__ import annotations

import asyncio
import ctypes
from collections.abc import Awaitable, Callable
from typing import Final

TRIM_S: Final = 30.0


def glibc_trim() -> Callable[[], object] | None:
    """Trims the heap; None where the C library cannot, as musl."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    return None if trim is None else lambda: trim(ctypes.c_size_t(0))


async def keep_trimmed(sleep: Callable[[float], Awaitable[object]] = asyncio.sleep) -> None:
    """Trims the heap every `TRIM_S`, until it is cancelled. Where the C library cannot, it waits for that only."""
    trim = glibc_trim()
    while True:
        await sleep(TRIM_S)
        if trim is not None:
            trim()
