"""Requests in memory: replicas in this process, and a clock that the test moves."""

from __future__ import annotations

import pytest

from tests.router.dispatch_world import DispatchWorld


@pytest.mark.parametrize("has_bookkeeping", [True, False])
def test_the_switch_of_bookkeeping_turns_off_counting_and_leaves_the_split(run, has_bookkeeping):
    async def scenario():
        it = DispatchWorld(canary_bp=4_000, has_bookkeeping=has_bookkeeping)
        answers = [it.submit(f"c-{number}") for number in range(100)]
        many = it.submit_many([f"c-{number}" for number in range(20)])
        await it.run(0.5)
        canary_share = [answer.version for answer in answers].count(b"3.2")
        assert canary_share == 36, "the split goes by the customers alone"
        assert len(many.scores) == 20
        monitor = it.endpoint.state.monitor
        assert bool(monitor.stable.digests) is has_bookkeeping
        assert bool(monitor.canary.rows) is has_bookkeeping
        assert bool(monitor.breaker.stable_requests) is has_bookkeeping
        assert any(sum(counted) for counted in it.counted().values()) is has_bookkeeping
        assert any(pool.scores for pool in it.endpoint.pools) is has_bookkeeping
        assert bool(it.dispatcher.take_reports(1 << 40, 1.0, 1 << 40)) is has_bookkeeping

    run(scenario())
