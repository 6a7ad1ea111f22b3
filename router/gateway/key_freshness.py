"""When are an issuer's keys read again, and how long are they believed? Pure.

Keys are kept for `KEEP_S`. While the issuer is away they are believed for `STALE_S` more, then no JWT of it is: a key
that the issuer has withdrawn must end some time. A JWT whose key is not known has them read earlier. Between two
attempts are at least `PAUSE_S`, whatever came of the first one, and however many ask: nobody can make us flood the
issuer.
"""

from __future__ import annotations

import math
from typing import Final

KEEP_S: Final = 300.0
STALE_S: Final = 3_600.0
PAUSE_S: Final = 10.0


class KeyFreshness:
    """See the module. Time is an argument: of a monotonic clock."""

    def __init__(self) -> None:
        self._tried_s = -math.inf
        """When the last attempt began."""
        self._read_s = -math.inf
        """When the attempt began that brought the keys."""
        self._is_asked = False

    def wait_s(self, now_s: float) -> float:
        """For how long no attempt is due; 0 if one is."""
        has_failed = self._read_s < self._tried_s
        due_s = self._tried_s + PAUSE_S
        if not (has_failed or self._is_asked):
            due_s = max(due_s, self._read_s + KEEP_S)
        return max(0.0, due_s - now_s)

    def ask(self) -> None:
        """A key was not among those that are known."""
        self._is_asked = True

    def tried(self, now_s: float) -> None:
        """An attempt begins."""
        self._tried_s = now_s
        self._is_asked = False

    def read(self) -> None:
        """The attempt has brought keys. They are as old as its begin."""
        self._read_s = self._tried_s

    def is_usable(self, now_s: float) -> bool:
        """Whether the keys that are known may be believed."""
        return now_s < self._read_s + KEEP_S + STALE_S
