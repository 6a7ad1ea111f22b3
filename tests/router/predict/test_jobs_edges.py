"""Jobs, the queue and batches at the exact moments and sizes at which a decision changes."""

from __future__ import annotations

import math

import pytest

from router.predict.jobs import (
    ANSWERED,
    CANCELLED,
    FAILED,
    MIRROR,
    PINNED,
    SMALLEST_SHARE,
    SPLIT,
    WAITING,
    Answer,
    CancelAll,
    Job,
    JobQueue,
    Version,
)
from router.predict.service_time import ServiceTime
from router.predict.tally import TickTally
from router.predict.upstream import Batch

VERSION = Version("m-v3.1", b"m", b"3.1")
OTHER = Version("m-v3.2", b"m", b"3.2")


class Kept(Answer):
    def __init__(self):
        self.scores = []

    def answered(self, job, scores, compute_us, now_s):
        self.scores.append(list(scores))

    def failed(self, job, error):
        raise AssertionError


def job(rows=1, deadline_s=10.0, arrived_s=0.0, *, kind=SPLIT, is_canary=False, version=VERSION):
    made = Job(Kept(), [(1.0,)] * rows, range(rows), b"x" * rows, version, arrived_s, deadline_s)
    made.kind, made.is_canary = kind, is_canary
    return made


def queue_of(*jobs):
    queue = JobQueue()
    for each in jobs:
        queue.add(each)
    return queue


def second_of(first, version=VERSION):
    second = Job(first.answer, first.values, first.positions, b"", version, first.arrived_s, first.deadline_s)
    second.first = first
    return second


def per_row_s(seconds: float) -> ServiceTime:
    """Batches take so long for each of their rows."""
    time = ServiceTime()
    for rows in (1, 10, 20, 40) * 5:
        time.observe(rows, seconds * rows)
    return time


def test_states_and_kinds_are_told_apart():
    assert len({WAITING, ANSWERED, FAILED, CANCELLED}) == 4
    assert len({SPLIT, PINNED, MIRROR}) == 3


def test_a_new_job_waits_and_is_counted_nowhere():
    new = job(3)
    assert (new.rows, new.outcome, new.kind, new.live, new.rescue_s) == (3, WAITING, SPLIT, 1, -1.0)
    assert not new.is_canary
    assert not new.has_second
    assert new.key == b""
    assert new.is_open()


def test_half_of_the_time_is_between_its_beginning_and_its_deadline():
    assert job(deadline_s=10.0).hedge_s(4.0) == 7.0
    assert job(deadline_s=10.0).hedge_s(0.0) == 5.0


def test_a_failure_counts_once_and_a_shed_one_as_shed_too():
    tally = TickTally(0)
    failed, shed = job(), job()
    for each in (failed, shed):
        each.count_in(tally)
    failed.charge()
    failed.charge()
    shed.charge(is_shed=True)
    assert (tally.requests, tally.errors, tally.shed) == (2, 2, 1)
    assert failed.charged_to is tally
    failed.withdraw()
    assert tally.requests == 2, "what is counted is not taken back"


def test_a_job_that_is_taken_back_is_not_counted():
    tally = TickTally(0)
    first = job()
    first.count_in(tally)
    first.cancel()
    assert (tally.requests, first.outcome) == (0, CANCELLED)
    first.cancel()
    assert tally.requests == 0
    answered = job()
    answered.count_in(tally)
    answered.deliver([0.5], 1, 1.0)
    answered.cancel()
    assert (answered.outcome, tally.requests) == (ANSWERED, 1)


def test_all_jobs_of_a_request_are_taken_back_together():
    jobs = [job(), job()]
    CancelAll(jobs).cancel()
    assert [each.outcome for each in jobs] == [CANCELLED] * 2


def test_a_job_matters_until_its_caller_and_its_version_are_served():
    first = job()
    first.count_in(TickTally(0))
    second = second_of(first)
    assert second.is_open()
    second.deliver([0.5], 1, 1.0)
    assert first.outcome == ANSWERED
    assert first.is_open(), "its version is still judged by it"
    assert not second.is_open()
    first.charge()
    assert not first.is_open()


@pytest.mark.parametrize("charged_first", [True, False])
@pytest.mark.parametrize(("version", "rescued"), [(VERSION, [3.0]), (OTHER, [])])
def test_only_an_answer_of_the_same_version_rescues_a_failure(charged_first, version, rescued):
    tally = TickTally(0)
    first = job(arrived_s=4.0, version=VERSION)
    first.count_in(tally)
    second = second_of(first, version)
    if charged_first:
        first.charge()
    second.deliver([0.5], 1, 7.0)
    if not charged_first:
        first.charge()
    assert tally.rescued_s == rescued
    assert tally.errors == 1


def test_a_rescue_that_took_no_time_is_one_too():
    tally = TickTally(0)
    first = job(arrived_s=4.0)
    first.count_in(tally)
    second_of(first).deliver([0.5], 1, 4.0)
    first.charge()
    assert tally.rescued_s == [0.0]


def test_the_caller_gets_the_first_answer_alone():
    first = job()
    second = second_of(first)
    second.deliver([0.1], 1, 1.0)
    first.deliver([0.2], 1, 2.0)
    assert first.answer.scores == [[0.1]]


def test_the_last_row_that_fits_joins_a_batch():
    jobs = [job(3), job(5), job(1)]
    queue = queue_of(*jobs)
    assert queue.form(0.0, 8, ServiceTime()) == jobs[:2]
    assert (queue.rows, len(queue)) == (1, 1)
    assert queue_of(job(3), job(6)).form(0.0, 8, ServiceTime())[0].rows == 3


def test_a_head_larger_than_a_batch_is_taken_alone():
    large = job(20)
    assert queue_of(large, job()).form(0.0, 8, ServiceTime()) == [large]


@pytest.mark.parametrize(("deadline_s", "taken"), [(0.0, 4), (0.0041, 4), (0.0061, 6), (0.0161, 16), (1.0, 16)])
def test_a_late_head_shrinks_a_batch_to_a_quarter_at_most(deadline_s, taken):
    assert SMALLEST_SHARE == 4, "a quarter, as the class says"
    jobs = [job(deadline_s=deadline_s), *[job() for _ in range(39)]]
    assert len(queue_of(*jobs).form(0.0, 16, per_row_s(0.001))) == taken


def test_a_quarter_is_of_what_waits_if_that_is_less_than_a_batch():
    jobs = [job(deadline_s=0.0), *[job() for _ in range(7)]]
    assert len(queue_of(*jobs).form(0.0, 256, per_row_s(0.001))) == 2


def test_what_no_longer_matters_leaves_the_queue_with_its_rows():
    gone, stays = job(4), job(2)
    queue = queue_of(gone, stays)
    assert queue.rows == 6
    gone.cancel()
    assert queue.form(0.0, 8, ServiceTime()) == [stays]
    assert (queue.rows, len(queue)) == (0, 0)


def test_expiry_at_the_moment_of_the_deadline_and_not_before():
    waits = job(deadline_s=10.0)
    queue = queue_of(waits)
    assert queue.expire(9.999) == ([], [])
    assert queue.expire(10.0) == ([waits], [])
    assert (queue.rows, len(queue)) == (0, 0)


@pytest.mark.parametrize(
    ("kind", "is_canary", "is_hedged"),
    [(SPLIT, True, True), (SPLIT, False, False), (PINNED, True, False), (MIRROR, True, False)],
)
def test_a_waiting_canarys_request_is_late_at_half_of_its_time(kind, is_canary, is_hedged):
    waits = job(arrived_s=0.0, deadline_s=10.0, kind=kind, is_canary=is_canary)
    queue = queue_of(waits)
    assert queue.expire(4.999) == ([], [])
    assert queue.expire(5.0) == ([], [waits] if is_hedged else [])
    assert (queue.rows, len(queue)) == (1, 1), "it stays"
    assert queue.expire(9.999)[0] == []
    assert queue.expire(10.0)[0] == [waits]


def test_a_request_with_a_second_attempt_is_not_late_again():
    waits = job(is_canary=True)
    waits.has_second = True
    assert queue_of(waits).expire(6.0) == ([], [])


def test_the_queue_looks_again_at_the_earliest_of_its_times():
    early, late = job(deadline_s=3.0), job(deadline_s=8.0, is_canary=True)
    queue = queue_of(late, early)
    assert queue.expire(3.0) == ([early], [])
    assert queue.expire(4.0) == ([], [late])
    assert queue.expire(8.0) == ([late], [])
    again = job(deadline_s=9.0)
    queue.add(again)
    assert queue.expire(9.0) == ([again], [])


def test_draining_gives_what_matters_and_leaves_nothing():
    gone, stays = job(4), job(2)
    queue = queue_of(gone, stays)
    gone.cancel()
    assert queue.drain() == [stays]
    assert (queue.rows, len(queue), queue.expire(100.0)) == (0, 0, ([], []))


def test_a_batch_knows_its_rows_and_how_long_its_callers_wait():
    jobs = [job(2, 10.0), job(3, 6.0), job(1, 14.0)]
    batch = Batch(jobs, 2.0)
    assert batch.rows == 6
    assert batch.due_s == 4.0, "half of the shortest time"
    assert batch.left_us == 12_000_000, "the longest"
    assert bytes(batch.payload()) == b"x" * 6
    assert Batch(jobs[:1], 20.0).left_us == 0
    assert Batch([job(2)], 0.0).payload() == b"xx"


@pytest.mark.parametrize(("now_s", "expired", "late", "due_s"), [
    (3.999, [], [], 4.0),
    (4.0, [], ["early"], 4.0),
    (5.999, [], ["early"], 4.0),
    (6.0, ["early"], ["later"], 6.0),
    (10.0, ["early", "later"], [], math.inf),
])  # fmt: skip
def test_a_batch_in_flight_is_late_and_over_at_exact_moments(now_s, expired, late, due_s):
    names = {"early": job(deadline_s=6.0), "later": job(deadline_s=10.0)}
    batch = Batch(list(names.values()), 2.0)
    found = batch.overdue(now_s)
    assert found == ([names[name] for name in expired], [names[name] for name in late])
    assert batch.due_s == due_s


def test_second_attempts_and_copies_are_never_late():
    first, mirror, hedged = job(), job(kind=MIRROR), job()
    hedged.has_second = True
    batch = Batch([second_of(first), mirror, hedged], 0.0)
    assert batch.overdue(9.0) == ([], [])
    assert batch.due_s == 10.0
    assert len(batch.overdue(10.0)[0]) == 3
