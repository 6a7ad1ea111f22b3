"""The gateway without its counting, for one comparison only: what is all the bookkeeping of a canary worth in speed?

`switch_off` replaces, in this process, everything that observes a request on behalf of a rollout: counts and latencies
by version and second, scores, customers and sampled rows of the split's watch, the breaker, the salts, the reports.
The split itself stays, so that both sides send the same requests to the same versions.
"""

from __future__ import annotations

from typing import Any

from router.dispatcher import Dispatcher
from router.endpoint import Endpoint
from router.split_watch import Arm
from router.tally import TickTally, VersionTally


class _Sink(list[Any]):
    """Takes everything, keeps nothing."""

    def append(self, value: Any, /) -> None: ...


def _blank_tally() -> TickTally:
    tally = TickTally(0)
    tally.latencies_s = _Sink()
    tally.computed = _Sink()
    tally.keys = _Sink()
    tally.key_latencies_s = _Sink()
    return tally


def switch_off() -> None:
    """Call it before a gateway is built. There is no way back in this process."""
    blank = _blank_tally()
    made = Endpoint.__init__

    def without_keeping(self: Endpoint, *arguments: Any) -> None:
        made(self, *arguments)
        for pool in self.pools:
            pool.keeps_keys = pool.keeps_scores = False

    Endpoint.__init__ = without_keeping  # type: ignore[method-assign, assignment]
    Endpoint.sweep = lambda self, now_s: None  # type: ignore[method-assign]
    VersionTally.at = lambda self, now_s: blank  # type: ignore[method-assign]
    Dispatcher.take_reports = lambda self, *arguments: {}  # type: ignore[method-assign]
    Arm.saw = lambda self, digest, payload: None  # type: ignore[method-assign]
