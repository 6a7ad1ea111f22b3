"""The retry budget: how many attempts may be repeated with the version that they failed at. Pure."""

from __future__ import annotations

from typing import Final

RETRY_SHARE: Final = 0.1
"""Retries allowed per request, in the long run (SRE practice: 10 %)."""
RETRY_BURST: Final = 2_000.0
"""Retries allowed at once: what the loss of a few full batches needs."""


class RetryBudget:
    """A bucket of tokens: each request adds a part of one, each retry takes one.

    Without it a version that fails would get every request twice, and so twice the load.
    """

    __slots__ = ("tokens",)

    def __init__(self) -> None:
        self.tokens = RETRY_BURST

    def earn(self) -> None:
        """Adds the share of one request. Called for every request."""
        if self.tokens < RETRY_BURST:
            self.tokens += RETRY_SHARE

    def take(self) -> bool:
        """Takes one retry; returns False if none is left."""
        if self.tokens < 1.0:
            return False
        self.tokens -= 1.0
        return True
