"""A score that is no number costs its own request alone."""

from __future__ import annotations

import math

import pytest

from tests.router.dispatch_world import DispatchWorld


@pytest.mark.parametrize("bad_place", range(4))
def test_a_row_without_a_score_does_not_fail_the_others_of_its_batch(run, bad_place):
    async def scenario():
        it = DispatchWorld()
        minutes = [1.0, 2.0, 3.0, 4.0]
        minutes[bad_place] = math.nan
        callers = [it.submit(f"c-{place}", minutes=value) for place, value in enumerate(minutes)]
        await it.run(0.1)
        assert it.stable[0].batches[0] == 4
        bad = callers.pop(bad_place)
        assert bad.outcome == "ReplicaFailedError"
        assert [caller.outcome for caller in callers] == ["ok"] * 3
        assert [caller.scores for caller in callers] == [
            [pytest.approx(value / 1000)] for value in minutes if not math.isnan(value)
        ]
        (tally,) = it.endpoint.stable.tally.take(before_tick=1_000_000)
        assert (tally.requests, len(tally.latencies_s) + tally.answered, tally.errors) == (4, 3, 1)

    run(scenario())


def test_the_scores_that_are_kept_are_those_of_answers(run):
    async def scenario():
        it = DispatchWorld()
        it.endpoint.stable.keeps_scores = True
        for value in (1.0, math.nan, 2.0):
            it.submit("c", minutes=value)
        await it.run(0.1)
        kept = memoryview(b"".join(it.endpoint.stable.scores)).cast("f").tolist()
        assert kept == [pytest.approx(0.001), pytest.approx(0.002)]

    run(scenario())
