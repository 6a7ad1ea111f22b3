"""Work that nobody waits for any more."""

from __future__ import annotations

from abc import ABC, abstractmethod


class Cancellable(ABC):
    """Something that a request has set going, and that its caller's leaving ends."""

    __slots__ = ()

    @abstractmethod
    def cancel(self) -> None:
        """The caller has gone. Called at most once, and not after the reply."""
