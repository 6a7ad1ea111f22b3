"""Deadlines, hedges and retries: lateness alone fails no request, and both versions are judged by one rule."""

from __future__ import annotations

import gc
import math
from collections import Counter

import pytest

from divisions.errors import OverloadedError
from tests.router.dispatch_world import DispatchWorld, Recorder


def outcomes(callers):
    return Counter(answer.outcome for caller in callers for answer in caller)


async def warm(it: DispatchWorld) -> None:
    """Lets the fit of batch durations see some batches."""
    await it.callers([20.0, 20.0], 40 * max(replica.batch_s for replica in it.replicas if replica.batch_s < 10.0))


@pytest.mark.parametrize("is_warm", [True, False])
@pytest.mark.parametrize("tokens", [0.0, 2_000.0])
@pytest.mark.parametrize(("batch_s", "deadline_s"), [(0.08, 0.1), (0.6, 1.0), (0.6, 0.65)])
def test_an_answer_that_is_on_its_way_is_waited_for(run, batch_s, deadline_s, tokens, is_warm):
    async def scenario():
        it = DispatchWorld(stable_s=(batch_s, batch_s))
        if is_warm:
            await warm(it)
        it.dispatcher.retries.budget.tokens = tokens
        assert outcomes(await it.callers([deadline_s], 20 * batch_s)).keys() == {"ok"}

    run(scenario())


def test_a_hedge_is_not_sent_where_it_could_only_block_the_other_replica(run):
    async def scenario():
        it = DispatchWorld(stable_s=(0.08, 0.08))
        await warm(it)
        await it.callers([0.1, 0.1], 2.0)
        for replica in it.stable:
            replica.batches.clear()
        found = await it.callers([0.1, 0.1], 4.0)
        assert outcomes(found).keys() == {"ok"}
        assert sum(len(replica.batches) for replica in it.stable) <= sum(map(len, found)) + 2

    run(scenario())


@pytest.mark.parametrize("tokens", [0.0, 2_000.0])
def test_an_impatient_caller_does_not_shorten_the_deadline_of_others(run, tokens):
    async def scenario():
        it = DispatchWorld(stable_s=(0.08, 0.08))
        await warm(it)
        it.dispatcher.retries.budget.tokens = tokens
        *patient, impatient = await it.callers([1.0] * 5 + [0.1], 12.0)
        assert outcomes(patient).keys() == {"ok"}
        assert outcomes([impatient]).keys() <= {"ok", "DeadlineExceededError"}

    run(scenario())


def test_what_a_callers_own_deadline_causes_counts_on_both_sides_alike(run):
    async def scenario():
        it = DispatchWorld(stable_s=(0.08,), canary_s=(0.08,), canary_bp=5_000)
        await warm(it)
        await it.callers([1.0] * 7 + [0.12], 120.0, pause_s=0.1)
        (stable, stable_errors), (canary, canary_errors) = it.counted().values()
        assert stable_errors > 20, "else it shows nothing"
        assert 0.5 < (canary_errors / canary) / (stable_errors / stable) < 2.0
        assert not it.endpoint.state.monitor.is_tripped

    run(scenario())


def test_a_slow_canary_that_keeps_the_deadline_answers_for_itself(run):
    async def scenario():
        it = DispatchWorld(stable_s=(0.005,), canary_s=(0.6,), canary_bp=10_000)
        await warm(it)
        before = it.counted()
        (answers,) = await it.callers([1.0], 6.0)
        assert {(answer.outcome, answer.version) for answer in answers} == {("ok", b"3.2")}
        assert it.counted()["3.2"][1] == before["3.2"][1] == 0

    run(scenario())


def test_a_hung_canary_costs_its_callers_half_their_time_and_is_charged_at_their_deadline(run):
    async def scenario():
        it = DispatchWorld(stable_s=(0.005,), canary_s=(0.005,), canary_bp=10_000)
        await it.callers([1.0], 0.1)
        answered = it.counted()["3.2"][0]
        it.canary[0].batch_s = math.inf
        answers = [it.submit(f"c-{number}") for number in range(20)]
        await it.run(0.6)
        assert {(answer.outcome, answer.version) for answer in answers} == {("ok", b"3.1")}
        assert all(0.5 <= answer.latency_s < 0.55 for answer in answers)
        assert it.counted()["3.2"] == (answered + 20, 0)
        await it.run(0.5)
        assert it.counted() == {"3.1": (0, 0), "3.2": (answered + 20, 20)}

    run(scenario())


def test_a_hung_canary_trips_the_breaker(run):
    async def scenario():
        it = DispatchWorld(stable_s=(0.005,), canary_s=(0.005,), canary_bp=2_000)
        await it.callers([1.0] * 8, 2.0)
        it.canary[0].batch_s = math.inf
        await it.callers([1.0] * 8, 5.0)
        assert it.endpoint.state.monitor.is_tripped

    run(scenario())


def test_a_hung_replica_gets_no_work_until_it_answers_and_its_requests_are_answered_elsewhere(run):
    async def scenario():
        it = DispatchWorld(stable_s=(0.01, 0.01))
        await it.callers([1.0] * 2, 0.5)
        hung, other = it.stable
        hung.batch_s = math.inf
        found = await it.callers([1.0] * 8, 5.0)
        assert outcomes(found).keys() == {"ok"}
        assert len(hung.batches) < 60
        given, served = len(hung.batches), len(other.batches)
        await it.callers([1.0] * 8, 1.0)
        assert len(hung.batches) == given
        assert len(other.batches) > served
        hung.batch_s = 0.01
        hung.answer()
        await it.callers([1.0] * 8, 0.5)
        assert len(hung.batches) > given

    run(scenario())


def test_readiness_follows_replicas_that_hang_and_not_those_that_are_slow(run):
    async def scenario():
        it = DispatchWorld(stable_s=(0.01,))
        await it.callers([1.0], 0.5)
        (replica,) = it.stable
        replica.batch_s = 0.6  # Sixty times as slow as before, and callers that do not wait for it.
        for _ in range(20):
            it.submit("c", deadline_s=0.1)
            await it.run(0.2)
            assert it.dispatcher.is_ready
        replica.batch_s = math.inf
        await it.callers([0.1], 7.0)
        assert not it.dispatcher.is_ready
        replica.batch_s = 0.01
        replica.answer()
        await it.run(0.1)
        assert it.dispatcher.is_ready

    run(scenario())


def test_a_version_is_judged_by_first_attempts_and_metrics_count_what_callers_got(run):
    async def scenario():
        it = DispatchWorld(stable_s=(0.01, 0.01))
        broken, _ = it.stable
        broken.fails = True
        found = await it.callers([1.0] * 4, 1.0)
        assert outcomes(found).keys() == {"ok"}
        await it.run(1.0)
        pool = it.endpoint.stable
        requests, errors = pool.tally.counted()
        assert errors > 0
        pool.tally.take(1 << 40)
        pool.tally.settle(1 << 40)
        assert pool.tally.totals.requests == {"2xx": requests}
        assert pool.tally.totals.latency.sum() == requests
        assert pool.tally.totals.retries == errors

    run(scenario())


def test_a_late_first_attempt_that_answers_after_its_hedge_is_no_failure(run):
    async def scenario():
        it = DispatchWorld(stable_s=(0.01, 0.01))
        await it.callers([1.0] * 2, 0.2)
        before = it.counted()["3.1"]
        late, _ = it.stable
        late.batch_s = 0.7
        answers = [it.submit(f"c-{number}", 1.0) for number in range(2)]
        await it.run(0.05)
        answers.append(it.submit("c-2", 1.0))
        await it.run(0.65)
        assert [answer.outcome for answer in answers] == ["ok"] * 3
        assert [answer.results for answer in answers] == [1] * 3, "a caller is answered once"
        await it.run(0.6)
        assert it.counted()["3.1"] == (before[0] + 3, before[1])
        assert it.endpoint.stable.tally.totals.retries >= 1

    run(scenario())


def test_a_request_of_many_rows_that_is_shed_half_way_is_taken_back_whole(run):
    async def scenario():
        it = DispatchWorld(stable_s=(0.5,))
        await warm(it)
        before = it.counted()["3.1"]
        batches = len(it.stable[0].batches)
        shed = it.submit_many([f"c-{number}" for number in range(40)], deadline_s=0.9)
        assert shed.outcome == "OverloadedError"
        await it.run(5.0)
        assert shed.results == 0, "the exception was the answer"
        assert len(it.stable[0].batches) == batches, "nothing of it is computed"
        requests, errors = it.counted()["3.1"]
        assert (requests - before[0], errors - before[1]) == (1, 1), "one part was shed; the others were never tried"
        assert it.endpoint.stable.queue.rows == 0

    run(scenario())


def test_both_arms_count_what_they_shed(run):
    async def scenario():
        it = DispatchWorld(stable_s=(0.4,), canary_s=(0.4,), canary_bp=5_000, max_batch=2)
        await warm(it)
        for number in range(200):
            it.submit(f"c-{number}", deadline_s=0.9)
        await it.run(3.0)
        (stable, stable_errors), (canary, canary_errors) = it.counted().values()
        assert stable_errors / stable == pytest.approx(canary_errors / canary, rel=0.2)

    run(scenario())


def test_refusals_under_overload_are_freed_without_the_collector(run):
    async def scenario():
        it = DispatchWorld(stable_s=(math.inf,), max_batch=2)

        def refused() -> int:
            number = 0
            for _ in range(2_000):
                try:
                    it.dispatcher.submit_one(it.endpoint, b"c", (1.0,), Recorder(), it.now_s, it.now_s + 0.1)
                except OverloadedError:
                    number += 1
            return number

        assert refused()
        gc.collect()
        gc.disable()
        try:
            assert refused() > 900
            return sum(isinstance(each, OverloadedError) for each in gc.get_objects())
        finally:
            gc.enable()

    assert run(scenario()) == 0
