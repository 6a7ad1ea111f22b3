"""Replicas that join a serving version are not judged while they warm up; nothing else is left out."""

import asyncio

import numpy as np
import pytest

from divisions.clock import SystemClock
from router.predict.replica_warmup import ReplicaWarmup
from tests.router.gateway_world import features, minutes_score, world


def warmup_of(warmup_s=30.0, warmup_requests=10):
    it = ReplicaWarmup()
    it.warmup_s, it.warmup_requests = warmup_s, warmup_requests
    return it


def test_the_first_replicas_of_a_version_do_not_warm_up():
    it = warmup_of()
    it.joined("a", 0.0)
    it.joined("b", 0.0)
    assert not it.answered("a", 1, 1.0)
    assert not it.answered("b", 1, 1.0)


@pytest.mark.parametrize(("requests", "now_s", "is_warming"), [(9, 29.0, True), (10, 29.0, False), (9, 30.0, False)])
def test_a_later_replica_warms_up_until_it_has_served_long_enough(requests, now_s, is_warming):
    it = warmup_of()
    it.answered("a", 1, 0.0)
    it.joined("b", 0.0)
    assert it.answered("b", requests, 1.0)
    assert it.answered("b", 1, now_s) is is_warming
    assert not it.answered("a", 1, now_s)


def test_outside_of_rollouts_no_replica_warms_up():
    it = warmup_of(warmup_s=0.0, warmup_requests=0)
    it.answered("a", 1, 0.0)
    it.joined("b", 0.0)
    assert not it.answered("b", 1, 0.0)


def test_answers_during_a_replicas_warm_up_are_no_evidence_and_failures_are(run):
    is_broken = asyncio.Event()

    def second(rows_NF):
        if is_broken.is_set() and rows_NF.any():
            raise ValueError("broken")
        return np.zeros(len(rows_NF), np.float32)

    async def scenario():
        async with world() as it:
            old, new = await it.replica("3.1", minutes_score), await it.replica("3.1", second)
            await it.route([old])
            assert (await it.predict({"features": features()})).status == 200
            pool = it.gateway.dispatcher.endpoints["churn"].stable
            await it.route([new], warmup=(60.0, 1_000))  # The old one is gone, its successor is here.
            counted = pool.tally.counted()
            for number in range(3):
                assert (await it.predict({"customer_id": f"{number}", "features": features()})).status == 200
            assert pool.tally.counted() == counted
            is_broken.set()
            await it.predict({"features": features()})
            assert pool.tally.counted().errors == 1
            pool.tally.settle(int(SystemClock().monotonic_s()) + 5)
            assert pool.tally.totals.requests["2xx"] >= 3, "for metrics they are answers like others"

    run(scenario())
