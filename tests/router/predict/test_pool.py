"""One version's replicas: who gets the next batch, and what is counted of the answers."""

from __future__ import annotations

import math

import numpy as np
import pytest

from router.evidence import histogram
from tests.router.dispatch_world import DispatchWorld, settle

COMPUTE_S = 30e-6  # what a fake replica says


def test_a_replica_that_is_closing_gets_no_more_work_and_its_batch_goes_to_another(run):
    async def scenario():
        it = DispatchWorld(stable_s=(0.01, 0.01))
        closing, other = it.stable
        closing.is_closing = True
        first = [it.submit(f"c-{number}") for number in range(2)]
        await it.run(0.1)
        assert [answer.outcome for answer in first] == ["ok"] * 2
        given = len(closing.batches)
        assert given == 1
        later = [it.submit(f"d-{number}") for number in range(30)]
        await it.run(0.5)
        assert [answer.outcome for answer in later] == ["ok"] * 30
        assert len(closing.batches) == given
        assert sum(other.batches) == 32
        assert it.counted()["3.1"] == (32, 0), "a replica that closes is no failure of its version"
        assert it.endpoint.stable.tally.totals.retries == 0

    run(scenario())


def test_a_replica_that_is_closing_and_alone_keeps_its_requests_waiting_for_the_next(run):
    async def scenario():
        it = DispatchWorld(stable_s=(0.01,))
        it.stable[0].is_closing = True
        answer = it.submit("c")
        await it.run(0.1)
        assert answer.outcome == "pending"
        it.stable.append(it.add_replica(it.endpoint.stable, 0.01))
        await it.run(0.1)
        assert answer.outcome == "ok"

    run(scenario())


@pytest.mark.parametrize(("waiting", "ahead"), [(7, []), (8, [8]), (9, [8]), (40, [8])])
def test_a_busy_replica_is_sent_one_more_batch_if_a_full_one_or_more_waits(run, waiting, ahead):
    async def scenario():
        it = DispatchWorld(stable_s=(math.inf,))
        it.submit("first")
        await settle()
        for number in range(waiting):
            it.submit(f"c-{number}")
        await settle()
        assert it.stable[0].batches == [1, *ahead]

    run(scenario())


@pytest.mark.parametrize(("replicas", "ahead"), [(1, [[8, 8, 8, 8]]), (2, [[8, 8], [8, 8]])])
def test_small_batches_are_sent_ahead_in_turn_while_replies_wait_for_the_loop(run, replicas, ahead):
    async def scenario():
        it = DispatchWorld(stable_s=(math.inf,) * replicas)
        for number in range(replicas):
            it.submit(f"first-{number}")
            await settle()
        for _ in range(100):
            it.endpoint.stable.sending_ahead.observe(0.1, 0.02, 1)
        for number in range(39):
            it.submit(f"c-{number}")
        await settle()
        assert [each.batches[1:] for each in it.stable] == ahead

    run(scenario())


def test_every_answer_is_counted_once_with_the_time_of_its_batch_and_in_its_own_second(run):
    async def scenario():
        it = DispatchWorld(stable_s=(math.inf,), max_batch=4)
        it.now_s = 1_000.9
        it.submit("alone")
        await settle()
        it.submit("a")
        it.now_s = 1_001.2  # The next batch holds requests of two seconds.
        for key in ("b", "c"):
            it.submit(key)
        await settle()
        it.now_s = 1_001.3
        it.stable[0].answer()
        await settle()
        it.now_s = 1_001.5
        it.stable[0].answer()
        await settle()
        assert it.stable[0].batches == [1, 3]
        tally = it.endpoint.stable.tally
        first, second = tally.take(1 << 40)
        for each in (first, second):
            each.fold()
        assert (first.tick, first.requests, first.answered) == (1_000, 2, 2)
        assert (second.tick, second.requests, second.answered) == (1_001, 2, 2)
        assert first.latency_sum_s == pytest.approx(0.4 + 0.6)
        assert second.latency_sum_s == pytest.approx(0.3 + 0.3)
        for each in (first, second):
            assert each.compute_sum_s == pytest.approx(2 * COMPUTE_S)
            assert each.compute.sum() == 2
            assert each.compute[histogram.bucket_indices(np.array(COMPUTE_S))] == 2
        assert (tally.batches, tally.rows) == (2, 4)

    run(scenario())


def test_scores_are_kept_during_a_rollout_of_first_attempts_that_the_split_sent(run):
    async def scenario():
        it = DispatchWorld(stable_s=(0.01,), canary_s=(0.01,), canary_bp=5_000)
        stable, canary = it.endpoint.stable, it.endpoint.canary
        it.canary[0].fails = True
        for number in range(40):
            it.submit(f"c-{number}", minutes=float(number))
        named = it.submit_named("3.1", 3)
        await it.run(0.5)
        assert named.outcome == "ok"
        kept = np.frombuffer(b"".join(stable.scores), "<f4")
        assert len(kept) == it.counted()["3.1"][0]
        assert len(set(kept.tolist())) == len(kept), "each of its own requests once"
        assert canary.scores == []
        assert len(it.stable[0].batches) > 0
        assert sum(it.stable[0].batches) == 43

    run(scenario())


def test_predictions_of_the_wait_grow_with_the_queue_and_shrink_with_replicas(run):
    async def scenario():
        one, two = DispatchWorld(stable_s=(0.1,)), DispatchWorld(stable_s=(0.1, 0.1))
        for it in (one, two):
            await it.callers([5.0], 2.0)
        pool = one.endpoint.stable
        assert pool.predicted_wait_s(1) == pytest.approx(0.2, rel=0.1)
        assert pool.predicted_wait_s(80) == pytest.approx(1.1, rel=0.1)
        assert two.endpoint.stable.predicted_wait_s(80) == pytest.approx(0.6, rel=0.1)

    run(scenario())


def test_a_reply_that_cannot_be_written_does_not_cost_the_others_of_its_batch_theirs(run, caplog):
    async def scenario():
        it = DispatchWorld(stable_s=(0.01,))
        answers = [it.submit(f"c-{number}") for number in range(3)]
        answers[0].breaks = True
        await it.run(0.1)
        assert [answer.outcome for answer in answers[1:]] == ["ok", "ok"]
        assert "a reply could not be written" in caplog.text
        assert it.counted()["3.1"] == (3, 0)

    run(scenario())
