"""Spans by their ids: the parent that a ``traceparent`` of W3C Trace Context names, and spans that are over. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

Attributes = Mapping[str, str | int | float | bool]
_TRACEPARENT: Final = re.compile(
    r"(?:00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}"
    r"|(?!00|ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(?:-[!-~]*)?)"
)
_MOST_CHARACTERS: Final = 512


@dataclass(frozen=True, slots=True)
class Parent:
    """A span of somebody else. Its ids are of 128 and 64 bits, and not 0."""

    trace_id: int
    span_id: int
    is_sampled: bool

    @property
    def text(self) -> str:
        return f"00-{self.trace_id:032x}-{self.span_id:016x}-{int(self.is_sampled):02x}"


def parent_of(text: str) -> Parent | None:
    """The span that a ``traceparent`` names; None if it is malformed, which is never an error.

    >>> parent_of("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01").is_sampled
    True
    >>> parent_of("00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01") is None
    True
    """
    if len(text) > _MOST_CHARACTERS or not _TRACEPARENT.fullmatch(text):
        return None
    _, trace_id, span_id, flags = text.split("-")[:4]
    return Parent(int(trace_id, 16), int(span_id, 16), bool(int(flags, 16) & 1))


@dataclass(frozen=True, slots=True)
class WorkSpan:
    """A span that is over. Times are seconds since the Unix epoch; ``parent_id`` is 0 at the top of a trace."""

    name: str
    trace_id: int
    span_id: int
    parent_id: int
    start_s: float
    end_s: float
    attributes: Attributes = field(default_factory=dict)
    error: str = ""
