"""The samples of a load run: one entry for each request, kept raw so that any percentile can be exact."""

from __future__ import annotations

from array import array
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.load.http_client import Exchange, Outcome


@dataclass(frozen=True, slots=True)
class Samples:
    """All finished requests, in the order in which they ended.

    ``scheduled_s`` are offsets from ``start_wall_s``, ``latency_s`` count from the scheduled time; both float64
    ``[N]``. ``outcome`` holds `Outcome`, ``version`` an index into ``versions`` (the name is empty where no answer
    named one). ``lag_s`` is, for each request *sent* (**Shape** ``[M]``), how late the generator itself was.
    """

    start_wall_s: float
    scheduled_s: NDArray[np.float64]
    latency_s: NDArray[np.float64]
    outcome: NDArray[np.uint8]
    version: NDArray[np.uint8]
    versions: tuple[str, ...]
    lag_s: NDArray[np.float64]

    def save(self, path: Path) -> None:
        np.savez_compressed(
            path,
            start_wall_s=np.float64(self.start_wall_s),
            scheduled_s=self.scheduled_s,
            latency_s=self.latency_s,
            outcome=self.outcome,
            version=self.version,
            versions=np.array(self.versions, dtype=np.str_),
            lag_s=self.lag_s,
        )

    @classmethod
    def load(cls, path: Path) -> Samples:
        with np.load(path) as data:
            return cls(
                start_wall_s=float(data["start_wall_s"]),
                scheduled_s=data["scheduled_s"],
                latency_s=data["latency_s"],
                outcome=data["outcome"],
                version=data["version"],
                versions=tuple(str(name) for name in data["versions"]),
                lag_s=data["lag_s"],
            )


class Recorder:
    """Collects samples as they come; appending to typed arrays keeps the generator's own cost and memory low."""

    def __init__(self, start_s: float, start_wall_s: float) -> None:
        self._start_s = start_s
        self._start_wall_s = start_wall_s
        self._scheduled = array("d")
        self._latency = array("d")
        self._outcome = array("B")
        self._version = array("B")
        self._lag = array("d")
        self._versions: dict[str, int] = {}
        self.outcomes = [0] * len(Outcome)
        self.reasons: Counter[str] = Counter()

    @property
    def sent(self) -> int:
        return len(self._lag)

    @property
    def finished(self) -> int:
        return len(self._latency)

    def add_sent(self, scheduled_s: float, now_s: float) -> None:
        self._lag.append(now_s - scheduled_s)

    def add_done(self, exchange: Exchange, now_s: float) -> None:
        self._scheduled.append(exchange.scheduled_s - self._start_s)
        self._latency.append(now_s - exchange.scheduled_s)
        self._outcome.append(exchange.outcome)
        # 256 versions in one run would be a misuse; the last index then stands for "the rest".
        self._version.append(min(self._versions.setdefault(exchange.version, len(self._versions)), 255))
        self.outcomes[exchange.outcome] += 1
        if exchange.reason:
            self.reasons[exchange.reason] += 1

    def samples(self, first: int = 0, first_sent: int = 0) -> Samples:
        """The samples from the ``first`` finished and ``first_sent`` sent request on; a copy."""
        return Samples(
            start_wall_s=self._start_wall_s,
            scheduled_s=np.array(self._scheduled[first:], dtype=np.float64),
            latency_s=np.array(self._latency[first:], dtype=np.float64),
            outcome=np.array(self._outcome[first:], dtype=np.uint8),
            version=np.array(self._version[first:], dtype=np.uint8),
            versions=tuple(self._versions),
            lag_s=np.array(self._lag[first_sent:], dtype=np.float64),
        )
