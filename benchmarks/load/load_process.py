"""The load generator in a process of its own, so that it and its parent do not slow each other down."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import threading
from pathlib import Path

import msgspec

from benchmarks.load.report import LoadResult, Tick

_FIRST_TICK_S = 120.0
_STOP_S = 60.0


class LoadProcess:
    """Runs ``python -m benchmarks.load`` until `stop`.

    It ends when this process dies, because its standard input ends then. A Ctrl-C on the terminal does not reach it, so
    that its result is not lost.
    """

    def __init__(
        self,
        url: str,
        rows: Path,
        rate_rps: float,
        longest_s: float,
        samples: Path,
        log: Path,
        seed: int = 0,
        connections: int = 256,
        deadline_s: float = 2.0,
    ) -> None:
        command = [sys.executable, "-m", "benchmarks.load", "--stream", "--stop-on-eof"]
        command += ["--url", url, "--rows", str(rows), "--rps", f"{rate_rps:g}", "--duration", f"{longest_s:g}"]
        command += ["--seed", str(seed), "--samples", str(samples), "--connections", str(connections)]
        command += ["--deadline-ms", f"{deadline_s * 1e3:g}"]
        self._log = log
        with log.open("wb") as errors:
            self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, start_new_session=True
            )
        self._ticks: list[Tick] = []
        self._result: LoadResult | None = None
        self._has_ticked = threading.Event()
        self._reader = threading.Thread(target=self._read, name="load-reader", daemon=True)
        self._reader.start()

    @property
    def ticks(self) -> tuple[Tick, ...]:
        return tuple(self._ticks)

    def wait_until_running(self) -> None:
        """Raises: RuntimeError: the load did not begin."""
        if not self._has_ticked.wait(_FIRST_TICK_S) or not self._ticks:
            raise RuntimeError(f"the load generator did not begin: {self._log.read_text()[-500:].strip()}")

    def wait_until_ended(self, timeout_s: float) -> None:
        """Waits for the end of the plan; `stop` then has the result."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout_s)

    def stop(self) -> LoadResult:
        """Sends nothing more, waits for the requests in flight and returns the result.

        Raises:
            RuntimeError: it ended without a result.
        """
        self.close()
        if self._result is None:
            raise RuntimeError(f"the load generator ended without a result: {self._log.read_text()[-500:].strip()}")
        return self._result

    def close(self) -> None:
        """Ends the process, whatever it was doing. May be called twice."""
        if self._process.stdin is not None and not self._process.stdin.closed:
            self._process.stdin.close()
        try:
            self._process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._reader.join(_STOP_S)

    def _read(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as lines:
            for line in lines:
                if json.loads(line)["type"] == "result":
                    self._result = msgspec.json.decode(line, type=LoadResult)
                else:
                    self._ticks.append(msgspec.json.decode(line, type=Tick))
                    self._has_ticked.set()
        self._has_ticked.set()
