"""Runs a job of `divisions.sdk.jobs` in a process, for blocking code and for asyncio.

A caller that gives up (Ctrl-C, a cancelled task) ends the process by SIGTERM and waits for it: a run that is stopped
notes so in the registry. The job's progress and notices go to standard error.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TypeVar

from divisions.sdk import jobs
from divisions.sdk.jobs import Order
from divisions.settings import inherited_environment

T = TypeVar("T")
END_S = 30.0
"""How long a process that is told to end may take."""


def run(order: Order[T], home: Path | None) -> T:
    """Raises what `divisions.sdk.jobs.outcome` raises."""
    process = subprocess.Popen(_arguments(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=_environment(home))
    try:
        output, _ = process.communicate(jobs.encode(order.job))
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


def _arguments() -> list[str]:
    return [sys.executable, "-m", jobs.WORKER]


def _environment(home: Path | None) -> dict[str, str]:
    environment = inherited_environment()
    if home is not None:
        environment["DIVISIONS_HOME"] = str(home.resolve())
    return environment
