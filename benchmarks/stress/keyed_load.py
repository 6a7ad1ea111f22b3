"""One caller with a key: reads a `KeyedLoad` from standard input, sends it, and prints the `LoadResult`.

A process of its own, so that callers beside each other do not share a loop.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence

import msgspec

from benchmarks.load.arrivals import Arrivals
from benchmarks.load.load_test import plan_load, run_load
from benchmarks.load.report import LoadResult

_START_S = 60.0
"""Beside the time that the requests take."""


class KeyedLoad(msgspec.Struct, frozen=True):
    """Requests at a rate, each with the same body. Without a token no key is sent."""

    url: str
    body: bytes
    token: str
    rate_rps: float
    seconds: float
    seed: int
    deadline_s: float = 2.0


def send(load: KeyedLoad) -> LoadResult:
    """Sends it from this process.

    Raises:
        OSError: nothing listens.
    """
    headers = (("authorization", f"Bearer {load.token}"),) if load.token else ()
    plan = plan_load(
        load.url,
        [load.body],
        load.rate_rps,
        load.seconds,
        Arrivals.POISSON,
        load.seed,
        load.deadline_s,
        headers=headers,
    )
    return run_load(plan)[0]


def send_together(loads: Sequence[KeyedLoad]) -> list[LoadResult]:
    """Sends several at the same time, from a process for each.

    Raises:
        RuntimeError: one of them failed; its output is quoted.
    """
    processes = []
    try:
        for load in loads:
            process = subprocess.Popen(
                [sys.executable, "-m", "benchmarks.stress.keyed_load"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
            )
            processes.append(process)
            assert process.stdin is not None
            process.stdin.write(msgspec.json.encode(load))
            process.stdin.close()
            process.stdin = None
        return [_result(process, load.seconds) for process, load in zip(processes, loads, strict=True)]
    finally:
        for process in processes:
            process.kill()
            process.wait()


def _result(process: subprocess.Popen[bytes], seconds: float) -> LoadResult:
    out, error = process.communicate(timeout=seconds + _START_S)
    if process.returncode:
        raise RuntimeError(f"a caller failed: {error.decode(errors='replace').strip()[-500:]}")
    return msgspec.json.decode(out, type=LoadResult)


def main() -> int:
    found = send(msgspec.json.decode(sys.stdin.buffer.read(), type=KeyedLoad))
    print(msgspec.json.encode(found).decode())
    return 0


if __name__ == "__main__":
    sys.exit(main())
