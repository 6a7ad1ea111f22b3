"""Faults on purpose: an engine that misbehaves as it was told to, to see a rollout notice it."""

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
    FaultsRefusedError: there are faults to inject, and this cluster does not allow it.
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
        faults: what to do to it.
        rng: chooses the batches that fail.
        sleep: takes seconds.
        hang: never returns.
        end_process: takes an exit status, and never returns.
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

    def rehearse(self, rows_NF: FloatArray) -> FloatArray:
        """As slow as `run`, but neither fails nor counts: a replica that measures itself has no request to harm."""
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
        scores_N = self.rehearse(rows_NF)
        if self._rng.random() < faults.error_rate:
            raise InjectedFaultError("an injected fault")
        if faults.nan_rate and self._rng.random() < faults.nan_rate:
            return np.full_like(scores_N, np.nan)
        return np.asarray(scores_N)


def _text(faults: Faults) -> str:
    """Those that are set, as the command line takes them.

    >>> _text(Faults(batch_delay_ms=10.0, hang_after=0))
    'batch_delay_ms=10, hang_after=0'
    """
    values = ((name, getattr(faults, name), getattr(Faults(), name)) for name in Faults.__struct_fields__)
    return ", ".join(f"{name}={value:g}" for name, value, default in values if value != default) or "none"
