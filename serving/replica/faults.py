"""Injected faults: an engine that misbehaves on purpose, to test that a rollout detects it."""

from __future__ import annotations

import os
import random
import threading
import time
from collections.abc import Callable

import numpy as np

from divisions.control import Faults
from divisions.errors import FaultsRefusedError, InjectedFaultError
from serving.engines.protocol import Engine, FloatArray

CRASH_STATUS = 70
"""EX_SOFTWARE of sysexits.h."""


def _hang() -> None:
    threading.Event().wait()


def check_allowed(faults: Faults | None, allow_faults: bool) -> None:
    """Raises:
    FaultsRefusedError: the version asks for faults, and this cluster does not allow them.
    """
    if faults is not None and not allow_faults:
        raise FaultsRefusedError(
            f"this version asks for faults to be injected ({_text(faults)}), which this cluster does not allow",
            remedy="take `faults` out of the version, or start the cluster with DIVISIONS_ALLOW_FAULTS=1 (never "
            "in production)",
        )


class FaultyEngine:
    """An engine that is slow, fails, answers NaN, hangs or takes its process down, as `Faults` says.

    Args:
        engine: the real one.
        faults: the faults to inject.
        rng: chooses the batches that fail.
        sleep: sleeps for some seconds.
        hang: never returns.
        end_process: ends the process with an exit status; never returns.
    """

    def __init__(
        self,
        engine: Engine,
        faults: Faults,
        rng: random.Random,
        sleep: Callable[[float], None] = time.sleep,
        hang: Callable[[], object] = _hang,
        end_process: Callable[[int], object] = os._exit,
    ) -> None:
        self.name = f"{engine.name} (faults: {_text(faults)})"
        self.columns = engine.columns
        self._engine = engine
        self._faults = faults
        self._rng = rng
        self._sleep = sleep
        self._hang = hang
        self._end_process = end_process
        self._num_batches = 0

    def warm(self, max_batch: int) -> None:
        self._engine.warm(max_batch)

    def close(self) -> None:
        self._engine.close()

    def dry_run(self, rows_NF: FloatArray) -> FloatArray:
        """As slow as `run`, but it neither fails nor counts as a batch. A replica uses it to measure itself."""
        if self._faults.batch_delay_ms > 0:
            self._sleep(self._faults.batch_delay_ms / 1e3)
        return self._engine.run(rows_NF)

    def run(self, rows_NF: FloatArray) -> FloatArray:
        faults = self._faults
        if faults.crash_after is not None and self._num_batches >= faults.crash_after:
            self._end_process(CRASH_STATUS)
        if faults.hang_after is not None and self._num_batches >= faults.hang_after:
            self._hang()
        self._num_batches += 1
        scores_N = self.dry_run(rows_NF)
        if self._rng.random() < faults.error_rate:
            raise InjectedFaultError("an injected fault")
        if faults.nan_rate and self._rng.random() < faults.nan_rate:
            return np.full_like(scores_N, np.nan)
        return np.asarray(scores_N)


def _text(faults: Faults) -> str:
    """The faults that are set, in the command line's format.

    >>> _text(Faults(batch_delay_ms=10.0, hang_after=0))
    'batch_delay_ms=10, hang_after=0'
    """
    values = ((name, getattr(faults, name), getattr(Faults(), name)) for name in Faults.__struct_fields__)
    return ", ".join(f"{name}={value:g}" for name, value, default in values if value != default) or "none"
