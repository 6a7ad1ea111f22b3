"""What a request leaves behind: nothing that only the garbage collector could free."""

from __future__ import annotations

import asyncio
import gc
from collections import Counter

from router.http.exchange import Exchange
from router.http.request import Request
from router.predict.jobs import Job
from router.predict.upstream import Batch
from tests.router.gateway_world import features, minutes_score, post, world

PER_REQUEST = (Exchange, Request, Job, Batch)
REQUESTS = 40


def test_answered_requests_are_freed_without_the_collector():
    async def go():
        async with world() as it:
            await it.route([await it.replica("3.1", minutes_score)])
            one = post({"customer_id": "c-1", "features": features()})
            many = post({"instances": [{"customer_id": f"c-{i}", "features": features()} for i in range(3)]})
            bad = post({"customer_id": "c-1", "features": {}})
            await it.raw(one + many + bad, 3)
            gc.collect()
            gc.disable()
            try:
                for data, status in ((one, 200), (many, 200), (bad, 422)):
                    replies = await it.raw(data * REQUESTS, REQUESTS)
                    assert [reply.status for reply in replies] == [status] * REQUESTS
                await asyncio.sleep(0)
                return Counter(type(each).__name__ for each in gc.get_objects() if isinstance(each, PER_REQUEST))
            finally:
                gc.enable()

    left = asyncio.run(go())
    # A handful may still be held by the frames that handle the last of them.
    assert sum(left.values()) < REQUESTS / 4, left
