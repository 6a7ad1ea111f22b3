"""One version's replicas at exact limits: who is admitted, who is sent what, who is late, and what is kept."""

from __future__ import annotations

import math
import re
from pathlib import Path

import numpy as np
import pytest

from divisions.control import EndpointRoute, VersionRoute
from divisions.errors import OverloadedError
from router.predict.jobs import PINNED, Job
from router.predict.pool import HUNG_S, MARGIN, QUEUE_BATCHES, QUEUE_ROWS
from router.predict.tally import MAX_KEYS
from tests.router.dispatch_world import DispatchWorld, Recorder, settle


def known(pool, seconds: float, rows: int = 8) -> None:
    """Batches take so long, whatever their size."""
    for _ in range(5):
        pool.service_time.observe(rows, seconds)


def a_job(pool, rows=1, deadline_s=1_001.0, now_s=1_000.0) -> Job:
    payload = pool.encode((1.0,)) * rows
    return Job(Recorder(), [(1.0,)] * rows, range(rows), payload, pool.version, now_s, deadline_s)


async def a_busy_pool(queued: int, *, replicas: int = 1, batch_s: float = 0.1):
    """Each replica has a batch of one row, and so many rows wait."""
    it = DispatchWorld(stable_s=(math.inf,) * replicas)
    await settle()
    pool = it.endpoint.stable
    known(pool, batch_s)
    for _ in range(replicas):
        pool.submit(a_job(pool), it.now_s)
        await settle()
    for _ in range(queued):
        pool.queue.add(a_job(pool))
    return it, pool


@pytest.mark.parametrize(
    ("queued", "rows", "replicas", "batches"),
    [(0, 1, 1, 1 + 1), (7, 1, 1, 1 + 1), (8, 1, 1, 2 + 1), (8, 8, 1, 2 + 1), (9, 8, 1, 3 + 1), (16, 16, 2, 4 / 2 + 1)],
)
def test_the_wait_is_of_all_batches_before_and_the_one_in_flight(run, queued, rows, replicas, batches):
    async def scenario():
        _, pool = await a_busy_pool(queued, replicas=replicas)
        assert pool.predicted_wait_s(rows) == pytest.approx(0.1 * batches)

    run(scenario())


def test_a_replica_that_is_overdue_or_not_ready_does_not_shorten_the_wait(run):
    async def scenario():
        _, pool = await a_busy_pool(16, replicas=2)
        first, second = pool.channels.values()
        both = pool.predicted_wait_s(16)
        first.is_overdue = True
        assert pool.predicted_wait_s(16) > both
        first.is_overdue, second.is_ready = False, False
        assert pool.predicted_wait_s(16) == pytest.approx(0.1 * (4 + 1))
        first.is_ready = False
        assert pool.predicted_wait_s(16) == pytest.approx(0.1 * (4 + 1)), "as for one that comes back"

    run(scenario())


@pytest.mark.parametrize("late_s", [-0.0001, 0.0001])
def test_a_request_is_refused_if_it_would_be_late_with_a_margin(run, late_s):
    """Only once a full batch waits: before, it joins the next one."""

    async def scenario():
        it, pool = await a_busy_pool(7)
        pool.submit(a_job(pool, deadline_s=it.now_s + 0.001), it.now_s)
        wait_s = pool.predicted_wait_s(1) * MARGIN
        assert pool.queue.rows == 8
        job = a_job(pool, deadline_s=it.now_s + wait_s - late_s)
        if late_s < 0:
            pool.submit(job, it.now_s)
            return
        with pytest.raises(OverloadedError) as caught:
            pool.submit(job, it.now_s)
        assert caught.value.retry_after_s == pytest.approx(wait_s)
        assert pool.queue.rows == 8

    run(scenario())


@pytest.mark.parametrize(("replicas", "max_batch", "most"), [(1, 32, 2048), (2, 32, 4096), (1, 8, 1024), (2, 1, 2048)])
def test_the_queue_holds_64_batches_or_1024_rows_for_each_replica(run, replicas, max_batch, most):
    async def scenario():
        it = DispatchWorld(stable_s=(math.inf,) * replicas)
        await settle()
        pool = it.endpoint.stable
        pool.max_batch = max_batch
        assert (QUEUE_BATCHES, QUEUE_ROWS) == (64, 1024)
        pool.queue.add(a_job(pool, most - 1))
        pool.check_room(1, it.now_s, it.now_s + 1.0)
        with pytest.raises(OverloadedError) as caught:
            pool.check_room(2, it.now_s, it.now_s + 1.0)
        assert caught.value.retry_after_s == 0.001, "nothing is known of the time, and nobody comes back at once"
        pool.submit(a_job(pool), it.now_s)
        with pytest.raises(OverloadedError):
            pool.submit(a_job(pool), it.now_s)

    run(scenario())


@pytest.mark.parametrize(("queued", "rows", "is_checked"), [(0, 8, False), (0, 9, True), (7, 1, False), (7, 2, True)])
def test_what_fits_into_the_next_batch_always_has_room(run, queued, rows, is_checked):
    async def scenario():
        it, pool = await a_busy_pool(queued, batch_s=100.0)
        if is_checked:
            with pytest.raises(OverloadedError):
                pool.check_room(rows, it.now_s, it.now_s + 1.0)
        else:
            pool.check_room(rows, it.now_s, it.now_s + 1.0)

    run(scenario())


@pytest.mark.parametrize(("deadline_s", "can"), [(0.1, True), (0.0999, False)])
def test_a_hedge_must_be_in_time_at_a_free_replica(run, deadline_s, can):
    async def scenario():
        it = DispatchWorld(stable_s=(math.inf, math.inf))
        await settle()
        pool = it.endpoint.stable
        known(pool, 0.1)
        pool.submit(a_job(pool), it.now_s)
        await settle()
        busy, free = sorted(pool.channels.values(), key=lambda each: -len(each.in_flight))
        assert (len(busy.in_flight), len(free.in_flight)) == (1, 0)
        busy.is_overdue = True
        assert pool.can_hedge(a_job(pool, deadline_s=it.now_s + deadline_s), it.now_s) is can
        free.is_overdue = True
        assert not pool.can_hedge(a_job(pool, deadline_s=it.now_s + 100.0), it.now_s), "every replica is late"
        free.is_overdue, free.is_ready = False, False
        assert not pool.can_hedge(a_job(pool, deadline_s=it.now_s + 100.0), it.now_s), "the other one is not there"

    run(scenario())


@pytest.mark.parametrize(("queued", "rows", "batches"), [(0, 8, 1 + 1), (1, 8, 2 + 1), (0, 1, 1 + 1), (8, 8, 2 + 1)])
def test_a_hedge_waits_for_the_queue_and_the_batch_before_it(run, queued, rows, batches):
    async def scenario():
        it, pool = await a_busy_pool(queued)
        for late_s, can in ((0.001, True), (-0.001, False)):
            job = a_job(pool, rows, deadline_s=it.now_s + 0.1 * batches + late_s)
            assert pool.can_hedge(job, it.now_s) is can

    run(scenario())


@pytest.mark.parametrize(("waited_s", "is_overdue"), [(0.124, False), (0.126, True)])
def test_a_replica_is_overdue_a_quarter_after_the_usual_time(run, waited_s, is_overdue):
    async def scenario():
        it = DispatchWorld(stable_s=(math.inf,))
        await settle()
        pool = it.endpoint.stable
        known(pool, 0.1, rows=1)
        it.submit("c", deadline_s=0.2)  # late from 0.1 s on
        await settle()
        (channel,) = pool.channels.values()
        it.now_s += waited_s
        pool.expire(it.now_s)
        assert channel.is_overdue is is_overdue
        it.stable[0].answer()
        await settle()
        assert not channel.is_overdue
        assert it.counted()["3.1"] == (1, 0)

    run(scenario())


def test_a_second_batch_is_late_by_the_time_since_the_first_was_answered(run):
    async def scenario():
        it = DispatchWorld(stable_s=(math.inf,), max_batch=1)
        await settle()
        pool = it.endpoint.stable
        known(pool, 0.1, rows=1)
        for key in ("a", "b"):
            it.submit(key, deadline_s=0.4)
            await settle()
        (channel,) = pool.channels.values()
        assert len(channel.in_flight) == 2
        it.now_s += 0.12
        it.stable[0].answer()
        await settle()
        usual_s = pool.service_time.predict_s(1) * MARGIN
        it.now_s += usual_s - 0.001  # late for its caller, who has waited since it was sent
        pool.expire(it.now_s)
        assert not channel.is_overdue
        it.now_s += 0.002
        pool.expire(it.now_s)
        assert channel.is_overdue

    run(scenario())


def test_a_replica_hangs_from_five_seconds_on_once_nobody_waits_for_it(run):
    async def scenario():
        it = DispatchWorld(stable_s=(math.inf,))
        await settle()
        pool = it.endpoint.stable
        answer = it.submit("c", deadline_s=1.0)
        await settle()
        (channel,) = pool.channels.values()
        began_s = it.now_s
        for waited_s, is_hung in ((1.0, False), (HUNG_S - 0.001, False), (HUNG_S, True)):
            it.now_s = began_s + waited_s
            pool.expire(it.now_s)
            assert answer.outcome == "DeadlineExceededError"
            assert channel.is_overdue
            assert channel.is_hung is is_hung
            assert pool.ready_channels == (0 if is_hung else 1)
        it.stable[0].answer()
        await settle()
        assert not channel.is_hung

    run(scenario())


def test_the_time_after_which_a_replica_hangs_is_documented():
    text = " ".join((Path(__file__).parents[3] / "docs" / "data-plane.md").read_text().split())
    assert int(re.search(r"once its batch takes over (\d+) s and no caller waits", text)[1]) == HUNG_S


def test_a_caller_that_waits_longer_keeps_a_slow_replica_from_hanging(run):
    async def scenario():
        it = DispatchWorld(stable_s=(math.inf,))
        await settle()
        it.submit("c", deadline_s=60.0)
        await settle()
        it.now_s += 59.0
        it.endpoint.stable.expire(it.now_s)
        (channel,) = it.endpoint.stable.channels.values()
        assert not channel.is_hung

    run(scenario())


@pytest.mark.parametrize(("weight_bp", "keys"), [(0, True), (1, False)])
def test_what_is_kept_of_answers_depends_on_the_rollout(run, weight_bp, keys):
    async def scenario():
        it = DispatchWorld(stable_s=(0.0,), canary_s=(0.0,), canary_bp=2_000)
        stable, canary = it.endpoint.pools
        versions = (
            VersionRoute(stable.spec, 10_000 - weight_bp, False),
            VersionRoute(canary.spec, weight_bp, True),
        )
        for pool in (stable, canary):
            pool.follow(EndpointRoute("churn", "salt", versions, warmup_s=3.0, warmup_requests=7))
            assert pool.keeps_scores
            assert (pool.warmup.warmup_s, pool.warmup.warmup_requests) == (3.0, 7)
        assert (stable.keeps_keys, canary.keeps_keys) == (keys, False)
        stable.scores.append(b"1234")
        stable.follow(EndpointRoute("churn", "salt", versions[:1]))
        assert (stable.keeps_scores, stable.keeps_keys, stable.scores) == (False, True, [])

    run(scenario())


def test_customers_of_a_second_are_kept_up_to_a_number(run):
    async def scenario():
        it = DispatchWorld(stable_s=(math.inf,), max_batch=MAX_KEYS + 50)
        await settle()
        for number in range(MAX_KEYS + 5):
            it.submit(f"c-{number}")
        await settle()
        it.now_s += 0.25
        it.stable[0].answer()
        await settle()
        (tally,) = it.endpoint.stable.tally.take(1 << 40)
        assert (len(tally.keys), len(tally.key_latencies_s), tally.requests) == (MAX_KEYS, MAX_KEYS, MAX_KEYS + 5)
        assert set(tally.key_latencies_s) == {0.25}
        assert tally.keys[0] == b"c-0"

    run(scenario())


def test_scores_are_kept_of_what_the_split_sent_in_runs(run):
    async def scenario():
        it = DispatchWorld(stable_s=(math.inf,), canary_s=(), canary_bp=1)
        await settle()
        pool = it.endpoint.stable
        jobs = [a_job(pool, rows) for rows in (1, 2, 1, 1)]
        for number, job in enumerate(jobs):
            job.payload = np.full(job.rows, 1_000.0 * number, "<f4").tobytes()
            job.count_in(pool.tally.at(it.now_s))
            pool.submit(job, it.now_s)
        jobs[2].kind = PINNED
        await settle()
        it.stable[0].answer()
        await settle()
        assert np.frombuffer(b"".join(pool.scores), "<f4").tolist() == [0.0, 1.0, 1.0, 3.0]
        assert len(pool.scores) == 2

    run(scenario())


def test_a_second_attempt_is_not_counted_and_hides_no_job_behind_it(run):
    async def scenario():
        it = DispatchWorld(stable_s=(math.inf,), canary_s=(), canary_bp=1)
        await settle()
        pool = it.endpoint.stable
        tally = pool.tally.at(it.now_s)
        jobs = [a_job(pool) for _ in range(3)]
        for number, job in enumerate(jobs):
            if number != 1:
                job.count_in(tally)
            pool.submit(job, it.now_s)
        await settle()
        it.stable[0].answer()
        await settle()
        assert len(tally.latencies_s) == 2

    run(scenario())
