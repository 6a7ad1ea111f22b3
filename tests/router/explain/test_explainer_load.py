"""Explanations when things go wrong, and beside plain requests, which come first."""

from __future__ import annotations

import asyncio
import contextlib
import threading

import msgspec
import numpy as np
import pytest

from divisions.control import RoutingTable, VersionRoute
from tests.router.explain.explained import PATH, adds_up, ask, logistic, ready
from tests.router.gateway_world import World, features, post, world


def failing(rows_NF: np.ndarray) -> np.ndarray:
    raise RuntimeError("no")


def not_a_number(rows_NF: np.ndarray) -> np.ndarray:
    return np.full(len(rows_NF), np.nan, np.float32)


@pytest.mark.parametrize("broken", [failing, not_a_number])
def test_stable_explains_what_a_bad_canary_cannot(run, broken):
    is_broken = threading.Event()

    def score(rows_NF):
        return (broken if is_broken.is_set() else logistic())(rows_NF)

    async def scenario():
        async with world() as it:
            stable, canary = await it.replica("3.1", logistic()), await it.replica("3.2", score)
            await ready(it, stable, canary=[canary], canary_bp=10_000)
            is_broken.set()
            replies = [await ask(it, {"customer_id": f"c-{n}", "features": features(6.0)}) for n in range(3)]
            assert [(each.status, each.json["version"]) for each in replies] == [(200, "3.1")] * 3
            assert all(adds_up(each.json["explanation"]) for each in replies)
            named = await ask(it, {"features": features()}, "X-Divisions-Version: 3.2", "Authorization: Bearer secret")
            assert named.status == 502  # a tester learns that it is bad

    run(scenario())


class Gate:
    """A model that can be stopped: while it is, its replica keeps what it got."""

    def __init__(self) -> None:
        self.is_closed = False
        self._opened = threading.Event()

    def __call__(self, rows_NF: np.ndarray) -> np.ndarray:
        if self.is_closed:
            self._opened.wait(30)
        return logistic()(rows_NF)

    def open(self) -> None:
        self.is_closed = False
        self._opened.set()


@contextlib.asynccontextmanager
async def gated_world(*, is_canary: bool = False):
    """A world in which a replica of stable, or the only one of a canary with all traffic, has stopped."""
    gate = Gate()
    async with world() as it:
        gated = await it.thread_replica(gate)
        if is_canary:
            await ready(it, await it.replica("3.1", logistic()), canary=[gated], canary_bp=10_000)
        else:
            await ready(it, msgspec.structs.replace(gated, app_name="churn-predictor-v3.1"))
        gate.is_closed = True
        try:
            yield it, gate
        finally:
            gate.open()


async def until_it_waits(it: World) -> None:
    """Waits until a version has rows of an explanation."""
    while all(lane.is_idle for lane in it.gateway._explainer._lanes.values()):
        await asyncio.sleep(0)


def test_a_canary_that_hangs_costs_half_of_the_time(run):
    async def scenario():
        async with gated_world(is_canary=True) as (it, _):
            reply = await ask(it, {"customer_id": "c", "features": features()}, "X-Request-Timeout-Ms: 5000")
            assert (reply.status, reply.json["version"]) == (200, "3.1")

    run(scenario())


def test_another_replica_explains_when_one_is_lost_in_between(run):
    async def scenario():
        async with gated_world() as (it, _):
            lost = next(iter(it.gateway.dispatcher.endpoints["churn"].stable.channels.values()))
            asking = asyncio.create_task(ask(it, {"features": features(6.0)}))
            while not lost.in_flight:
                await asyncio.sleep(0)
            await it.route([lost.address, await it.replica("3.1", logistic())])
            lost._transport.abort()  # as when its process dies
            reply = await asking
            assert reply.status == 200
            assert adds_up(reply.json["explanation"])

    run(scenario())


def test_the_next_version_explains_when_one_is_retired_in_between(run):
    async def scenario():
        async with gated_world() as (it, _):
            asking = asyncio.create_task(ask(it, {"features": features(6.0)}))
            await until_it_waits(it)
            route = it.gateway.dispatcher.endpoints["churn"].route
            new = msgspec.structs.replace(route.versions[0].version, version="3.3")
            versions = (VersionRoute(new, 10_000, False, (await it.replica("3.3", logistic()),)),)
            it.link.publish(RoutingTable(99, (msgspec.structs.replace(route, versions=versions),)))
            reply = await asking
            assert (reply.status, reply.json["version"]) == (200, "3.3")
            assert adds_up(reply.json["explanation"])

    run(scenario())


def test_while_plain_rows_fill_a_batch_explanations_are_refused_and_plain_requests_are_not(run):
    async def scenario():
        async with gated_world() as (it, gate):
            pool = it.gateway.dispatcher.endpoints["churn"].stable
            instances = [{"customer_id": f"c-{n}", "features": features()} for n in range(40)]
            plain = asyncio.create_task(it.predict({"instances": instances}))
            while pool.queue.rows < pool.max_batch:
                await asyncio.sleep(0)
            reply = await ask(it, {"features": features(6.0)})
            assert (reply.status, reply.json["code"]) == (503, "OverloadedError")
            assert int(reply.headers["retry-after"]) >= 1
            gate.open()
            assert (await plain).status == 200
            assert (await ask(it, {"features": features(6.0)})).status == 200

    run(scenario())


def test_an_explanation_waits_while_its_replica_has_plain_rows(run):
    async def scenario():
        async with gated_world() as (it, gate):
            pool = it.gateway.dispatcher.endpoints["churn"].stable
            (channel,) = pool.channels.values()
            plain = asyncio.create_task(it.predict({"features": features()}))
            while not channel.in_flight:
                await asyncio.sleep(0)
            asking = asyncio.create_task(ask(it, {"features": features(6.0)}))
            await until_it_waits(it)
            await asyncio.sleep(0)
            assert (pool.queue.rows, len(channel.in_flight)) == (0, 1)
            late = await ask(it, {"features": features(6.0)}, "X-Request-Timeout-Ms: 50")
            assert (late.status, late.json["code"]) == (503, "OverloadedError")
            gate.open()
            assert (await plain).status == 200
            assert (await asking).status == 200

    run(scenario())


def test_a_deadline_that_cannot_be_met_is_refused_at_once(run):
    async def scenario():
        async with world() as it:
            await ready(it, await it.replica("3.1", logistic()))
            pool = it.gateway.dispatcher.endpoints["churn"].stable
            for _ in range(500):
                pool.service_time.observe(8, 1.0)  # a very slow model
            batches = pool.tally.batches
            reply = await ask(it, {"features": features(6.0)}, "X-Request-Timeout-Ms: 500")
            assert (reply.status, reply.json["code"]) == (503, "OverloadedError")
            assert pool.tally.batches == batches

    run(scenario())


def test_a_version_has_at_most_half_a_batch_of_explanations(run):
    seen: list[int] = []

    def score(rows_NF):
        seen.append(len(rows_NF))
        return logistic()(rows_NF)

    async def scenario():
        async with world() as it:
            await ready(it, await it.replica("3.1", score, max_batch=8))
            seen.clear()
            instances = [{"features": features(float(n + 5), "gold", True)} for n in range(20)]
            replies = await asyncio.gather(*(ask(it, {"instances": instances}) for _ in range(4)))
            assert {reply.status for reply in replies} == {200}
            assert max(seen) == 4
            assert sum(seen) == 4 * 20 * 8
            assert all(lane.is_idle for lane in it.gateway._explainer._lanes.values())

    run(scenario())


def test_a_caller_that_leaves_takes_its_rows_along(run):
    async def scenario():
        async with gated_world() as (it, gate):
            _, writer = await asyncio.open_connection("127.0.0.1", it.port)
            writer.write(post({"instances": [{"features": features(6.0)}] * 30}, path=PATH))
            await until_it_waits(it)
            writer.close()
            while it.gateway._explainer._lanes:  # the next sweep drops a lane in which nothing waits
                await asyncio.sleep(0.001)
            gate.open()
            assert (await ask(it, {"features": features(6.0)})).status == 200

    run(scenario())
