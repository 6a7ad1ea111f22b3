"""Ending tasks of Ray that nobody waits for any more."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import ray


def cancel_unfinished(results: Sequence[Any]) -> None:
    """Ends the tasks that run or wait, with their processes.

    Ray aborts this process if a task is cancelled in the instant that it ends; so those that have ended are left alone.
    """
    _, unfinished = ray.wait(list(results), num_returns=len(results), timeout=0, fetch_local=False)
    for result in unfinished:
        ray.cancel(result, force=True)
