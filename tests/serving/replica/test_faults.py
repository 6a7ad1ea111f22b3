from __future__ import annotations

import random

import numpy as np
import pytest

from divisions.clock import ManualClock
from divisions.control import Faults
from divisions.errors import FaultsRefusedError, InjectedFaultError
from serving.replica.faults import CRASH_STATUS, FaultyEngine, check_allowed
from serving.replica.runner import measure_inline_rows
from tests.serving.function_engine import FunctionEngine

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


def test_without_faults_nothing_changes_and_the_name_lists_faults() -> None:
    slept: list[float] = []
    engine = faulty(Faults(), slept)
    assert (engine.run(ROWS).tolist(), slept, engine.columns) == ([3.0, 3.0], [], 3)
    assert engine.name == "function (faults: none)"


class Stopped(Exception):
    """Stands for a call that never returns."""


def stopping(faults: Faults) -> FaultyEngine:
    def hang() -> None:
        raise Stopped("hangs")

    def end_process(status: int) -> None:
        raise Stopped(f"exit status {status}")

    engine = FunctionEngine(3, lambda rows: rows.sum(axis=1))
    return FaultyEngine(engine, faults, random.Random(0), lambda _seconds: None, hang, end_process)


@pytest.mark.parametrize(
    ("faults", "what"),
    [(Faults(hang_after=2), "hangs"), (Faults(crash_after=2), f"exit status {CRASH_STATUS}")],
)
def test_after_the_given_number_of_batches_it_hangs(faults: Faults, what: str) -> None:
    engine = stopping(faults)
    assert [engine.run(ROWS).tolist() for _ in range(2)] == [[3.0, 3.0]] * 2
    for _ in range(2):
        with pytest.raises(Stopped, match=what):
            engine.run(ROWS)


@pytest.mark.parametrize("faults", [Faults(hang_after=0), Faults(crash_after=0)])
def test_hang_after_zero_answers_no_batch(faults: Faults) -> None:
    with pytest.raises(Stopped):
        stopping(faults).run(ROWS)


@pytest.mark.parametrize("faults", [Faults(hang_after=0), Faults(crash_after=0), Faults(error_rate=1.0)])
def test_a_replica_with_faults_can_measure_itself_and_starts(faults: Faults) -> None:
    clock = ManualClock()
    engine = stopping(faults)
    engine.warm(8)
    assert measure_inline_rows(engine, 8, clock.monotonic_s) == 8
    with pytest.raises((Stopped, InjectedFaultError)):
        engine.run(ROWS)


def test_the_measurement_includes_the_delay() -> None:
    clock = ManualClock()
    engine = FaultyEngine(
        FunctionEngine(3, lambda rows: rows.sum(axis=1)), Faults(batch_delay_ms=1.0), random.Random(0), clock.advance
    )
    assert measure_inline_rows(engine, 8, clock.monotonic_s) == 0


def test_a_share_of_batches_is_answered_with_nan() -> None:
    engine = faulty(Faults(nan_rate=0.25), [])
    answers = [engine.run(ROWS) for _ in range(400)]
    bad = [scores for scores in answers if np.isnan(scores).any()]
    assert 70 <= len(bad) <= 130
    assert all(np.isnan(scores).all() and scores.shape == (2,) for scores in bad)


@pytest.mark.parametrize("name", ["nan_rate", "hang_after", "crash_after"])
def test_every_fault_is_refused_by_name(name: str) -> None:
    with pytest.raises(FaultsRefusedError, match=f"{name}=1"):
        check_allowed(Faults(**{name: 1}), allow_faults=False)
