"""How tests on a loop wait for a state: long, because the machine may be busy, and never for a time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

LIMIT_S = 120.0


async def until(holds: Callable[[], object]) -> None:
    """Goes on as soon as it holds.

    Raises:
        AssertionError: it never came to hold.
    """
    try:
        async with asyncio.timeout(LIMIT_S):
            while not holds():
                await asyncio.sleep(0.005)
    except TimeoutError:
        raise AssertionError(f"it did not come to hold in {LIMIT_S:g} s") from None
