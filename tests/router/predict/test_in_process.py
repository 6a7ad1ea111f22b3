"""Versions that run inside the gateway: the same answers without a socket, and a gateway that survives them."""

from __future__ import annotations

import asyncio
import threading
import time

import msgspec
import numpy as np
import pytest

from divisions.control import EndpointRoute, Placement, RoutingTable, VersionRoute, VersionSpec
from tests.router.gateway_world import SCHEMA, features, minutes_score, world
from tests.router.waiting import until

SPEC = VersionSpec("churn-predictor", "3.1", "", "", SCHEMA, max_batch=8, placement=Placement.IN_PROCESS)


def table(epoch: int, *specs: VersionSpec) -> RoutingTable:
    routes = tuple(VersionRoute(spec, 10_000 * (not position), position > 0) for position, spec in enumerate(specs))
    return RoutingTable(epoch, (EndpointRoute("churn", "salt", routes),), specs)


def test_a_hosted_version_answers_and_is_registered(run):
    async def scenario():
        async with world() as it:
            it.link.publish(table(1, SPEC))
            await until(lambda: it.gateway.dispatcher.is_ready)
            await until(lambda: it.link.registered == {SPEC.app_name})
            replies = await asyncio.gather(*[it.predict({"features": features(float(n))}) for n in range(30)])
            assert [reply.json["churn_probability"] for reply in replies] == pytest.approx(
                [n / 1000 for n in range(30)]
            )
            many = await it.predict({"instances": [{"features": features(float(n))} for n in range(50)]})
            scores = [row["churn_probability"] for row in many.json["predictions"]]
            assert scores == pytest.approx([n / 1000 for n in range(50)])

    run(scenario())


def test_a_slow_hosted_version_does_not_hold_up_the_loop(run):
    goes_on = threading.Event()
    goes_on.set()

    def slow(rows_NF: np.ndarray) -> np.ndarray:
        time.sleep(0.05)  # so it is measured as slow
        assert goes_on.wait(60)
        return minutes_score(rows_NF)

    async def scenario():
        async with world() as it:
            it.hosted_score = slow
            it.link.publish(table(1, SPEC))
            await until(lambda: it.gateway.dispatcher.is_ready)
            goes_on.clear()
            slow_one = asyncio.ensure_future(it.predict({"features": features(7.0)}))
            await asyncio.sleep(0)
            (health,) = await it.raw(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert health.status == 200
            assert not slow_one.done()
            goes_on.set()
            assert (await slow_one).json["churn_probability"] == pytest.approx(0.007)

    run(scenario())


def test_a_hosted_version_that_fails_does_not_take_the_gateway_with_it(run):
    def broken(rows_NF: np.ndarray) -> np.ndarray:
        if rows_NF[0, 0] > 0:
            raise RuntimeError("no")
        return minutes_score(rows_NF)

    async def scenario():
        async with world() as it:
            it.hosted_score = broken
            it.link.publish(table(1, SPEC))
            await until(lambda: it.gateway.dispatcher.is_ready)
            assert (await it.predict({"features": features(1.0)})).status == 502
            assert (await it.predict({"features": features(0.0)})).status == 200

    run(scenario())


def test_a_version_that_leaves_the_table_is_closed(run):
    async def scenario():
        async with world() as it:
            it.link.publish(table(1, SPEC))
            await until(lambda: it.gateway.dispatcher.is_ready)
            it.link.publish(RoutingTable(2))
            await until(lambda: it.gateway._hosting._loaded == {})
            assert (await it.predict({"features": features()})).status == 503

    run(scenario())


def test_a_hosted_canary_shares_traffic_with_a_stable_version_in_replicas(run):
    canary = msgspec.structs.replace(SPEC, version="3.2")

    async def scenario():
        async with world() as it:
            stable = await it.replica("3.1", minutes_score)
            stable_spec = msgspec.structs.replace(SPEC, placement=Placement.REPLICAS)
            routes = (VersionRoute(stable_spec, 5_000, False, (stable,)), VersionRoute(canary, 5_000, True))
            it.link.publish(RoutingTable(1, (EndpointRoute("churn", "salt", routes),), (canary,)))
            await until(lambda: it.gateway.dispatcher.is_ready and it.link.registered == {canary.app_name})
            bodies = [{"customer_id": f"c-{n}", "features": features()} for n in range(60)]
            replies = [await it.predict(body) for body in bodies]
            assert {reply.status for reply in replies} == {200}
            assert {reply.json["version"] for reply in replies} == {"3.1", "3.2"}

    run(scenario())
