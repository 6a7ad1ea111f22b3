"""Faults on purpose: an engine that is slow or fails as it was told to, to see a rollout notice it."""

from __future__ import annotations

import random
import time
from collections.abc import Callable

import numpy as np

from divisions.control import Faults
from divisions.errors import FaultsRefusedError, InjectedFaultError
from serving.engines.protocol import Engine, FloatArray


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
    """An engine that sleeps ``batch_delay_ms`` in every batch and fails a share of ``error_rate`` of them."""

    def __init__(
        self, engine: Engine, faults: Faults, rng: random.Random, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        self.name = f"{engine.name} (faults: {_text(faults)})"
        self.columns = engine.columns
        self._engine = engine
        self._faults = faults
        self._rng = rng
        self._sleep = sleep

    def warm(self, max_batch: int) -> None:
        self._engine.warm(max_batch)

    def run(self, rows_NF: FloatArray) -> FloatArray:
        if self._faults.batch_delay_ms > 0:
            self._sleep(self._faults.batch_delay_ms / 1e3)
        if self._rng.random() < self._faults.error_rate:
            raise InjectedFaultError("an injected fault")
        return np.asarray(self._engine.run(rows_NF))


def _text(faults: Faults) -> str:
    return f"batch_delay_ms={faults.batch_delay_ms:g}, error_rate={faults.error_rate:g}"
