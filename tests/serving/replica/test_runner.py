from __future__ import annotations

import numpy as np
import pytest

from divisions.clock import ManualClock
from divisions.control import Faults
from divisions.errors import InjectedFaultError
from divisions.wire import Request, Status, decode_frame
from serving.engines.protocol import batch_buckets
from serving.replica.faults import FaultyEngine
from serving.replica.runner import BatchRunner, measure_inline_rows
from tests.serving.function_engine import FunctionEngine


def timed_engine(clock: ManualClock, seconds_per_row: float) -> FunctionEngine:
    def run(rows: np.ndarray) -> np.ndarray:
        clock.advance(len(rows) * seconds_per_row)
        return rows.sum(axis=1)

    return FunctionEngine(2, run)


@pytest.mark.parametrize(("us_per_row", "expected"), [(1, 100), (10, 16), (150, 1), (300, 0)])
def test_only_batches_within_200_us_run_on_the_event_loop(us_per_row: int, expected: int) -> None:
    clock = ManualClock()
    assert measure_inline_rows(timed_engine(clock, us_per_row * 1e-6), 100, clock.monotonic_s) == expected


def test_an_engine_with_injected_failures_is_measured() -> None:
    class AlwaysFails(FunctionEngine):
        def run(self, rows_NF: np.ndarray) -> np.ndarray:
            super().run(rows_NF)
            raise InjectedFaultError("on purpose")

    clock = ManualClock()
    engine = AlwaysFails(2, timed_engine(clock, 10e-6).run)
    assert measure_inline_rows(engine, 100, clock.monotonic_s) == 16


@pytest.mark.parametrize(
    ("max_batch", "expected"), [(1, (1,)), (2, (1, 2)), (3, (1, 2, 3)), (8, (1, 2, 4, 8)), (9, (1, 2, 4, 8, 9))]
)
def test_buckets_are_powers_of_two_and_the_largest_batch(max_batch: int, expected: tuple[int, ...]) -> None:
    assert batch_buckets(max_batch) == expected


def test_a_batch_size_of_zero_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        batch_buckets(0)


def test_times_are_in_microseconds() -> None:
    clock = ManualClock()
    runner = BatchRunner(timed_engine(clock, 1e-3), clock.monotonic_s)
    clock.advance(0.25)
    request = Request(9, 3, 2, 1_000_000, np.ones((3, 2), np.float32).tobytes())
    reply = decode_frame(runner.answer(request, read_s=0.0))
    assert (reply.request_id, reply.status, reply.rows, reply.queue_us) == (9, Status.OK, 3, 250_000)
    assert reply.compute_us == pytest.approx(3_000, abs=1)


def test_a_deadline_that_is_just_met_is_met() -> None:
    clock = ManualClock()
    runner = BatchRunner(timed_engine(clock, 0.0), clock.monotonic_s)
    clock.advance(0.25)
    row = np.ones((1, 2), np.float32).tobytes()
    statuses = [
        decode_frame(runner.answer(Request(1, 1, 2, deadline_us, row), 0.0)).status
        for deadline_us in (249_999, 250_000)
    ]
    assert statuses == [Status.EXPIRED, Status.OK]


def test_injected_failures_do_not_make_a_replica_unhealthy() -> None:
    clock = ManualClock()
    engine = FaultyEngine(timed_engine(clock, 0.0), Faults(error_rate=1.0), np.random.default_rng(0))
    runner = BatchRunner(engine, clock.monotonic_s)
    reply = decode_frame(runner.answer(Request(1, 1, 2, 1_000_000, bytes(8)), 0.0))
    assert (reply.status, bytes(reply.payload)) == (Status.FAILED, b"InjectedFaultError: an injected fault")
    assert runner.consecutive_failures == 0
