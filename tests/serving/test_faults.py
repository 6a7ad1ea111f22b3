from __future__ import annotations

import random

import numpy as np
import pytest

from divisions.control import Faults
from divisions.errors import FaultsRefusedError, InjectedFaultError
from serving.engines.protocol import FunctionEngine
from serving.faults import FaultyEngine, check_allowed

ROWS = np.ones((2, 3), np.float32)


def faulty(faults: Faults, slept: list[float], seed: int = 0) -> FaultyEngine:
    engine = FunctionEngine(3, lambda rows: rows.sum(axis=1))
    return FaultyEngine(engine, faults, random.Random(seed), slept.append)


def test_faults_are_refused_unless_the_cluster_allows_them() -> None:
    with pytest.raises(FaultsRefusedError, match="batch_delay_ms=10"):
        check_allowed(Faults(batch_delay_ms=10.0), allow_faults=False)
    check_allowed(Faults(batch_delay_ms=10.0), allow_faults=True)
    check_allowed(None, allow_faults=False)


def test_every_batch_is_delayed_but_warming_is_not() -> None:
    slept: list[float] = []
    engine = faulty(Faults(batch_delay_ms=10.0), slept)
    engine.warm(8)
    assert slept == []
    assert [engine.run(ROWS).tolist() for _ in range(3)] == [[3.0, 3.0]] * 3
    assert slept == [0.01] * 3


def test_a_share_of_batches_fails_and_the_same_ones_for_the_same_seed() -> None:
    def failures(seed: int) -> list[int]:
        engine, failed = faulty(Faults(error_rate=0.25), [], seed), []
        for number in range(400):
            try:
                engine.run(ROWS)
            except InjectedFaultError:
                failed.append(number)
        return failed

    assert failures(1) == failures(1) != failures(2)
    assert 70 <= len(failures(1)) <= 130


def test_no_faults_change_nothing_and_the_name_tells_of_them() -> None:
    slept: list[float] = []
    engine = faulty(Faults(), slept)
    assert (engine.run(ROWS).tolist(), slept, engine.columns) == ([3.0, 3.0], [], 3)
    assert engine.name == "function (faults: batch_delay_ms=0, error_rate=0)"
