"""Some thousand drawn requests to a real gateway: each is answered, and by no fault of the gateway."""

from __future__ import annotations

import asyncio

import numpy as np
import uvloop

from benchmarks.stress.fuzz_client import fuzz
from benchmarks.stress.fuzz_requests import Fuzzer
from divisions.access import tokens
from divisions.access.limits import NO_LIMITS, Limits
from divisions.access.roles import Role
from tests.router.gateway.test_keys import granted, publish
from tests.router.gateway_world import SCHEMA, features, post, world

REQUESTS = 4_000


def score(rows_NF: np.ndarray) -> np.ndarray:
    """A finite score for every row that a model must take; NaN means missing."""
    return np.tanh(np.nan_to_num(rows_NF[:, 0])).astype(np.float32)


def test_whatever_comes_is_answered_and_never_by_a_fault_of_the_gateway():
    async def scenario():
        async with world(request_timeout_ms=5_000) as it:
            await it.route([await it.replica("1.1", score)])
            found = await fuzz(it.port, "churn", SCHEMA.names, REQUESTS, seed=1, clients=16)
            assert (found.unanswered, found.wrong) == (0, 0), "\n".join(found.faults)
            assert sum(found.statuses.values()) >= REQUESTS * 0.99
            assert {200, 400, 401, 404, 405, 413, 415, 422} & set(found.statuses) >= {200, 400, 404, 422}
            assert (await it.raw(post({"features": features()})))[0].status == 200

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(scenario())


def test_no_caller_without_the_right_changes_anything_on_a_gateway_that_asks_for_keys():
    async def scenario():
        known, given = granted(
            ("reader", Role.VIEWER, (), NO_LIMITS),
            ("app", Role.PREDICTOR, ("churn",), NO_LIMITS),
            ("elsewhere", Role.PREDICTOR, ("other",), NO_LIMITS),
            ("slow", Role.PREDICTOR, (), Limits(5, 1, 2, 4_000)),
            ("gone", Role.PREDICTOR, (), NO_LIMITS),
        )
        async with world(request_timeout_ms=5_000, require_key=True) as it:
            await publish(it, tokens.revoke(known, "gone"))
            await it.route([await it.replica("1.1", score)])
            found = await fuzz(it.port, "churn", SCHEMA.names, REQUESTS // 2, seed=2, clients=16, tokens=given)
            assert (found.unanswered, found.wrong) == (0, 0), "\n".join(found.faults)
            assert {200, 400, 401, 403, 422, 429} <= set(found.statuses)
            assert it.link.actors == [], "nothing has reached the controller"
            load = it.gateway._callers._load
            assert (load.in_flight, load.active) == (0, 0)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(scenario())


def test_the_same_seed_draws_the_same_requests():
    first, second = (Fuzzer(7, "churn", SCHEMA.names) for _ in range(2))
    assert [first.draw() for _ in range(50)] == [second.draw() for _ in range(50)]
    assert first.draw() != Fuzzer(8, "churn", SCHEMA.names).draw()
