"""Probes beside a load: do health endpoints answer, and how much memory do processes take? They run in threads."""

from __future__ import annotations

import http.client
import threading
import time
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Self

import msgspec
import numpy as np

from benchmarks.harness.process_stats import rss_bytes

HEALTH_PATHS = ("/healthz", "/readyz", "/v2/health/ready")
PERIOD_S = 0.1
TIMEOUT_S = 1.0


class HealthResult(msgspec.Struct, frozen=True):
    """The result of the health requests. ``failed`` had another status than 200, or no answer within a second."""

    asked: int
    failed: int
    p99_ms: float
    max_ms: float


class Periodically:
    """Calls ``look`` every ``period_s`` in a thread, as long as its block lasts."""

    def __init__(self, look: Callable[[], None], period_s: float = PERIOD_S) -> None:
        self._look = look
        self._period_s = period_s
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watch", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._ended.set()
        self._thread.join(10 * TIMEOUT_S)

    def _run(self) -> None:
        while not self._ended.wait(self._period_s):
            self._look()


class HealthProbe:
    """Asks the health endpoints in turn, each time on a new connection, as a load balancer does."""

    def __init__(self, port: int, paths: Sequence[str] = HEALTH_PATHS) -> None:
        self._port = port
        self._paths = paths
        self._took_s: list[float] = []
        self._failed = 0

    def look(self) -> None:
        path = self._paths[len(self._took_s) % len(self._paths)]
        began_s = time.monotonic()
        if not self._is_healthy(path):
            self._failed += 1
        self._took_s.append(time.monotonic() - began_s)

    def _is_healthy(self, path: str) -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=TIMEOUT_S)
        try:
            connection.request("GET", path)
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    def result(self) -> HealthResult:
        took_ms = np.array(self._took_s or [0.0]) * 1e3
        p99_ms, max_ms = np.percentile(took_ms, (99, 100))
        return HealthResult(len(self._took_s), self._failed, round(float(p99_ms), 2), round(float(max_ms), 2))


class MemoryProbe:
    """Keeps the first and the largest resident memory of some processes together, in bytes."""

    def __init__(self, pids: Sequence[int]) -> None:
        self._pids = pids
        self.first_bytes = self._sum()
        self.most_bytes = self.first_bytes

    def look(self) -> None:
        self.most_bytes = max(self.most_bytes, self._sum())

    def _sum(self) -> int:
        return sum(map(rss_bytes, self._pids))
