"""What a request occupies: work that can be stopped because its caller has gone, and what is free again after it."""

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


@mypyc_attr(allow_interpreted_subclasses=True)
class Held(ABC):
    """What a request holds until it is answered, or its caller has gone."""

    __slots__ = ()

    @abstractmethod
    def release(self) -> None:
        """The request is over. Called once."""
