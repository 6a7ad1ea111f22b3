"""Runs a job of `divisions.sdk.jobs` in a process, for blocking code and for asyncio.

A caller that gives up (Ctrl-C, a cancelled task) ends the process by SIGTERM and waits for it: a run that is stopped
notes so in the registry. The job's progress and notices go to standard error.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TypeVar

from divisions.environment import inherited_environment
from divisions.sdk import jobs
from divisions.sdk.jobs import Order
from divisions.traces.current import current_traceparent

T = TypeVar("T")
END_S = 30.0
"""How long a process that is told to end may take."""
_LOOK_S = 1.0


def run(order: Order[T], home: Path | None) -> T:
    """Raises what `divisions.sdk.jobs.outcome` raises."""
    process = subprocess.Popen(_arguments(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=_environment(home))
    try:
        output = _communicate(process, jobs.encode(order.job))
    except BaseException:
        process.terminate()
        try:
            process.wait(END_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        raise
    return jobs.outcome(order, output, process.returncode)


async def run_async(order: Order[T], home: Path | None) -> T:
    """Raises what `divisions.sdk.jobs.outcome` raises."""
    import asyncio  # here, so that programs that use only `Client` need not import it

    process = await asyncio.create_subprocess_exec(
        *_arguments(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=_environment(home)
    )
    try:
        output, _ = await process.communicate(jobs.encode(order.job))
    except BaseException:
        if process.returncode is None:
            process.terminate()
            try:
                await asyncio.wait_for(process.wait(), END_S)
            except (TimeoutError, asyncio.CancelledError):
                process.kill()
                await process.wait()
        raise
    assert process.returncode is not None, "it was waited for"
    return jobs.outcome(order, output, process.returncode)


def _communicate(process: subprocess.Popen[bytes], job: bytes) -> bytes:
    """What a process writes until it ends.

    It looks up each second: a Ctrl-C that arrives just before a system call begins is noticed only when that call ends.
    """
    unsent: bytes | None = job
    while True:
        try:
            return process.communicate(unsent, timeout=_LOOK_S)[0]
        except subprocess.TimeoutExpired:
            unsent = None


def _arguments() -> list[str]:
    return [sys.executable, "-m", jobs.WORKER]


def _environment(home: Path | None) -> dict[str, str]:
    environment = inherited_environment()
    if home is not None:
        environment["DIVISIONS_HOME"] = str(home.resolve())
    if traceparent := current_traceparent():
        environment["TRACEPARENT"] = traceparent
    return environment
