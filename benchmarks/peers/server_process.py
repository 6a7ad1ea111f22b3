"""A server in a process group of its own: started, waited for, and stopped with all its children."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from benchmarks.harness.peer import Served

_POLL_S = 0.2


@contextlib.contextmanager
def server_process(
    command: Sequence[str],
    environment: Mapping[str, str],
    served: Served,
    log: Path,
    ready_s: float = 120.0,
    stop_s: float = 40.0,
    cwd: Path | None = None,
) -> Iterator[Served]:
    """Runs ``command`` with ``environment`` added to ours until the block ends; yields as soon as it answers 200.

    Raises:
        RuntimeError: it ended, or did not answer within ``ready_s``.
    """
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            env={**os.environ, **environment},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            cwd=cwd,
        )
    try:
        _wait_until_ready(process, served.url, served.body, log, ready_s)
        yield served
    finally:
        try:
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(stop_s)
        finally:  # also when a second Ctrl-C ends the waiting
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)  # the rest of its own group
            process.wait()


def _wait_until_ready(process: subprocess.Popen[bytes], url: str, body: bytes, log: Path, ready_s: float) -> None:
    ends_s, last = time.monotonic() + ready_s, "it never listened"
    while time.monotonic() < ends_s:
        if process.poll() is not None:
            raise RuntimeError(f"{url} ended with status {process.returncode}: {_tail(log)}")
        last = post(url, body)
        if not last:
            return
        time.sleep(_POLL_S)
    raise RuntimeError(f"{url} did not answer within {ready_s:g} s ({last}): {_tail(log)}")


def post(url: str, body: bytes, timeout_s: float = 5.0) -> str:
    """Posts once; returns what went wrong, or nothing."""
    import httpx

    try:
        answer = httpx.post(
            url, content=body, headers={"content-type": "application/json"}, timeout=timeout_s, trust_env=False
        )
    except httpx.HTTPError as error:
        return str(error)
    return "" if answer.status_code == 200 else f"status {answer.status_code}: {answer.text[:200]}"


def _tail(log: Path) -> str:
    return log.read_text(errors="replace")[-800:].strip()
