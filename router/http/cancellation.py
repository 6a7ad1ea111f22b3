"""Work that can be stopped because its caller has gone."""

from __future__ import annotations

from abc import ABC, abstractmethod

from mypy_extensions import mypyc_attr


@mypyc_attr(allow_interpreted_subclasses=True)
class Cancellable(ABC):
    """Work that a request began. It ends when the caller leaves."""

    __slots__ = ()

    @abstractmethod
    def cancel(self) -> None:
        """The caller has gone. Called at most once, and not after the reply."""
