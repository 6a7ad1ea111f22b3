from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from router.predict.jobs import Answer, Job, JobQueue, Version
from router.predict.service_time import ServiceTime

VERSION = Version("m-v3.1", b"m", b"3.1")


class Unexpected(Answer):
    def answered(self, job, scores, compute_us, now_s):
        raise AssertionError

    def failed(self, job, error):
        raise AssertionError


def job(rows=1, deadline_s=10.0):
    return Job(Unexpected(), [(1.0,)] * rows, range(rows), b"", VERSION, 0.0, deadline_s)


def queue_of(*jobs):
    queue = JobQueue()
    for each in jobs:
        queue.add(each)
    return queue


@given(st.lists(st.integers(1, 8), max_size=40), st.integers(8, 16))
def test_batches_keep_the_order_lose_nothing_and_respect_the_cap(sizes, max_batch):
    jobs = [job(rows) for rows in sizes]
    queue = queue_of(*jobs)
    batches = []
    while len(queue):
        batches.append(queue.form(0.0, max_batch, ServiceTime()))
    assert [each for batch in batches for each in batch] == jobs
    assert all(sum(each.rows for each in batch) <= max_batch for batch in batches)
    assert queue.rows == 0


def test_the_heads_deadline_limits_the_batch():
    service_time = ServiceTime()
    for rows in (1, 10, 20, 30):
        service_time.observe(rows, 0.010 + 0.001 * rows)
    queue = queue_of(*[job(deadline_s=0.016) for _ in range(20)])
    batch = queue.form(0.0, 256, service_time)
    assert 4 <= len(batch) <= 6  # (16 ms - 10 ms) / 1 ms per row


def test_a_head_that_is_too_late_is_taken_all_the_same():
    late = job(deadline_s=-1.0)
    service_time = ServiceTime()
    service_time.observe(1, 0.1)
    assert queue_of(late, job()).form(0.0, 8, service_time) == [late]


def test_jobs_whose_caller_has_gone_do_not_travel():
    gone, stays = job(rows=4), job(rows=4)
    queue = queue_of(gone, stays)
    gone.cancel()
    assert queue.form(0.0, 4, ServiceTime()) == [stays]
    assert queue.rows == 0


@given(st.lists(st.floats(0, 20), max_size=30), st.floats(0, 20))
def test_expiry_takes_exactly_what_is_out_of_time(deadlines, now_s):
    jobs = [job(deadline_s=deadline) for deadline in deadlines]
    queue = queue_of(*jobs)
    expired, late = queue.expire(now_s)
    assert expired == [each for each in jobs if each.deadline_s <= now_s]
    assert queue.rows == len(jobs) - len(expired)
    assert late == []
    assert queue.expire(now_s) == ([], [])


@given(st.floats(0, 0.1), st.floats(1e-6, 0.01), st.lists(st.integers(1, 256), min_size=30, max_size=60, unique=True))
def test_the_fit_finds_a_straight_line(intercept_s, slope_s, sizes):
    service_time = ServiceTime()
    for rows in sizes:
        service_time.observe(rows, intercept_s + slope_s * rows)
    assert abs(service_time.predict_s(100) - (intercept_s + slope_s * 100)) < 1e-6 + 0.01 * slope_s * 100
