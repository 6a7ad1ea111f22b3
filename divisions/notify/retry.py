"""What follows from a server's answer: done, once more after a pause, or given up. Pure."""

from __future__ import annotations

from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Final

import msgspec

FIRST_S: Final = 1.0
LONGEST_S: Final = 300.0
MOST_RETRY_AFTER_S: Final = 900.0
OLDEST_S: Final = 3_600.0
"""A notice that is older is not sent any more: nobody needs to be called for it."""
_TRANSIENT: Final = frozenset({408, 425, 429})


class Reply(msgspec.Struct, frozen=True):
    """A server's answer. ``status`` is 0 if there was none; ``fault`` then says why, without the URL."""

    status: int
    retry_after_s: float | None = None
    fault: str = ""

    @property
    def is_good(self) -> bool:
        return 200 <= self.status < 300

    @property
    def is_final(self) -> bool:
        """Whether the same request would be answered in the same way for ever."""
        return 300 <= self.status < 500 and self.status not in _TRANSIENT


def pause_s(tries: int, reply: Reply) -> float:
    """How long to wait after so many tries: doubled each time, and as long as the server asks for, within bounds.

    >>> [pause_s(tries, Reply(500)) for tries in (1, 2, 3, 20)]
    [1.0, 2.0, 4.0, 300.0]
    >>> pause_s(1, Reply(429, retry_after_s=30.0)), pause_s(1, Reply(429, retry_after_s=1e9))
    (30.0, 900.0)
    """
    own = min(FIRST_S * 2.0 ** min(tries - 1, 30), LONGEST_S)
    return own if reply.retry_after_s is None else max(own, min(reply.retry_after_s, MOST_RETRY_AFTER_S))


def retry_after_s(text: str | None, now_s: float) -> float | None:
    """The header ``Retry-After``: seconds or a date; None if it is missing or senseless.

    >>> retry_after_s("120", 0.0), retry_after_s("Thu, 01 Jan 1970 00:01:00 GMT", 20.0), retry_after_s("soon", 0.0)
    (120.0, 40.0, None)
    """
    if text is None:
        return None
    text = text.strip()
    if text.isascii() and text.isdigit():
        return min(float(text[:12]), 1e12)
    try:
        date = parsedate_to_datetime(text)
        return max((date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp() - now_s, 0.0)
    except (ValueError, TypeError, OverflowError, IndexError):
        return None
