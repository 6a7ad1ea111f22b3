import numpy as np
import pytest

from benchmarks.harness.machine import Machine
from benchmarks.load.http_client import Outcome
from benchmarks.load.samples import Samples
from benchmarks.stress.loss_result import LossesResult, failures_in, longest_gap_s, loss_of, render_losses


def run_of(*requests: tuple[float, float, Outcome]) -> Samples:
    """Of planned time, latency and outcome, from second 100 on."""
    planned, latency, outcome = zip(*requests, strict=True)
    none = np.zeros(len(requests), np.uint8)
    return Samples(100.0, np.array(planned), np.array(latency), np.array(outcome, np.uint8), none, ("",), np.zeros(0))


def test_requests_count_from_those_under_way_when_it_broke_to_those_planned_before_its_end():
    run = run_of(
        (0.0, 0.5, Outcome.FAILED),  # over before it
        (0.0, 2.0, Outcome.FAILED),  # under way
        (2.0, 0.1, Outcome.OK),
        (2.5, 0.1, Outcome.REFUSED),
        (3.0, 0.1, Outcome.TIMED_OUT),  # planned after it
    )
    assert failures_in(run, (101.0, 103.0)) == (3, 2)


@pytest.mark.parametrize(
    ("answered", "gap"),
    [
        ([], 6.0),
        ([3.0], 6.0),
        ([0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0], 1.0),
        ([0.0, 2.0, 9.0], 7.0),
        ([0.0, 9.0, 10.0], 9.0),  # it began before and ended after
        ([0.0, 1.0, 7.5, 20.0], 6.5),  # the last gap is another's
    ],
)
def test_the_longest_gap_is_that_between_answers_that_touches_the_span(answered, gap):
    assert longest_gap_s(answered, (1.0, 7.0)) == gap


def test_requests_to_a_lost_gateway_are_counted_apart():
    runs = {"one": run_of((1.0, 0.1, Outcome.OK)), "two": run_of((1.0, 0.1, Outcome.FAILED), (1.5, 0.1, Outcome.OK))}
    loss = loss_of("a worker", runs, {"two"}, (100.0, 110.0), [99.0, 104.0, 111.0], 107.5, "PROMOTED")
    assert (loss.requests_elsewhere, loss.failed_elsewhere) == (1, 0)
    assert (loss.requests_there, loss.failed_there) == (2, 1)
    assert (loss.undecided_s, loss.full_strength_s, loss.seconds) == (7.0, 7.5, 10.0)
    result = LossesResult(Machine("a cpu", 2, "Linux 6", "3.11", {}, 0.1), 3, 100.0, (loss,))
    assert "| a worker | 0 of 1 | 1 of 2 | 7.0 | 7.5 | PROMOTED |" in render_losses(result)
