"""Routing tables as they come: which is taken, what stays of the last one, and when a pool is gone for good."""

from __future__ import annotations

import math

import msgspec
import pytest

from divisions.control import EndpointRoute, ReplicaAddress, RoutingTable, VersionRoute, VersionSpec
from divisions.schema import Feature, FeatureKind, FeatureSchema
from router.evidence import split
from router.predict.dispatcher import Dispatcher
from tests.router.dispatch_world import SCHEMA, DispatchWorld, settle


def spec(version: str, schema: FeatureSchema = SCHEMA, model: str = "churn-predictor") -> VersionSpec:
    return VersionSpec(model, version, "", "", schema, max_batch=8)


def table(epoch: int, *versions: VersionRoute, endpoint: str = "churn", salt: str = "salt") -> RoutingTable:
    return RoutingTable(epoch, (EndpointRoute(endpoint, salt, versions),))


def stable(version: str = "3.1", weight_bp: int = 10_000) -> VersionRoute:
    return VersionRoute(spec(version), weight_bp, False)


def canary(version: str = "3.2", weight_bp: int = 2_000, schema: FeatureSchema = SCHEMA) -> VersionRoute:
    return VersionRoute(spec(version, schema), weight_bp, True)


def test_only_a_newer_table_is_taken(run):
    async def scenario():
        it = DispatchWorld()
        assert it.dispatcher.epoch == 1
        assert not it.dispatcher.apply(table(1, stable("9.9")))
        assert not it.dispatcher.apply(table(0, stable("9.9")))
        assert it.endpoint.stable.spec.version == "3.1"
        assert it.dispatcher.apply(table(2, stable("9.9")))
        assert (it.dispatcher.epoch, it.endpoint.stable.spec.version) == (2, "9.9")

    run(scenario())


def test_a_pool_lives_on_while_the_table_names_its_version(run):
    async def scenario():
        it = DispatchWorld(canary_bp=2_000)
        pools = it.endpoint.pools
        it.dispatcher.apply(table(2, stable(weight_bp=5_000), canary(weight_bp=5_000)))
        assert it.endpoint.pools == pools
        assert it.endpoint.threshold == split.threshold(5_000)
        it.dispatcher.apply(table(3, stable("3.2")))
        assert it.endpoint.pools == [pools[1]]
        assert it.dispatcher.routes.pool_named(pools[1].spec.app_name) is pools[1]
        assert it.dispatcher.routes.pool_named(pools[0].spec.app_name) is None

    run(scenario())


def test_a_retired_pool_is_looked_after_until_it_is_idle_over_any_number_of_tables(run):
    async def scenario():
        it = DispatchWorld(stable_s=(math.inf,))
        await settle()
        answer = it.submit("c", deadline_s=0.5)
        await settle()
        old = it.endpoint.stable
        for epoch in (2, 3, 4):
            it.dispatcher.apply(table(epoch, stable(f"4.{epoch}")))
        assert old in it.dispatcher.routes._retired
        await it.run(0.6)
        assert answer.outcome == "DeadlineExceededError", "its deadline holds although its version has left"
        it.stable[0].answer()
        await settle()
        assert old.is_idle
        it.dispatcher.apply(table(5, stable("4.5")))
        assert old not in it.dispatcher.routes._retired
        assert [pool.spec.version for pool in it.dispatcher.routes._retired] == ["4.4"]

    run(scenario())


def test_closing_ends_what_is_in_flight_in_pools_old_and_new(run):
    async def scenario():
        it = DispatchWorld(stable_s=(math.inf,))
        await settle()
        old = it.submit("c")
        await settle()
        it.dispatcher.apply(table(2, VersionRoute(spec("4.1", model="other"), 10_000, False)))
        replica = it.add_replica(it.endpoint.stable, math.inf)
        await settle()
        new = it.submit("d")
        await settle()
        assert replica.batches == [1]
        it.dispatcher.close()
        await settle()
        assert old.outcome == "ReplicaFailedError"
        assert new.results <= 1
        assert not it.dispatcher.is_ready

    run(scenario())


def test_ready_is_every_endpoint_with_a_warm_stable_version(run):
    async def scenario():
        it = DispatchWorld(stable_s=())
        assert not it.dispatcher.is_ready
        it.add_replica(it.endpoint.stable, 0.0)
        await settle()
        assert it.dispatcher.is_ready
        routes = (EndpointRoute("churn", "salt", (stable(),)), EndpointRoute("other", "salt", (stable("7.1"),)))
        it.dispatcher.apply(RoutingTable(2, routes))
        it.add_replica(it.endpoint.stable, 0.0)  # the table names no replicas, so the first has gone
        assert not it.dispatcher.is_ready
        it.add_replica(it.dispatcher.endpoints["other"].stable, 0.0)
        assert it.dispatcher.is_ready
        it.dispatcher.apply(RoutingTable(3, ()))
        assert not it.dispatcher.is_ready, "nothing is deployed"

    run(scenario())


def test_an_endpoint_without_versions_is_not_served(run):
    async def scenario():
        it = DispatchWorld()
        it.dispatcher.apply(RoutingTable(2, (EndpointRoute("churn", "salt", ()), EndpointRoute("b", "s", (stable(),)))))
        assert list(it.dispatcher.endpoints) == ["b"]

    run(scenario())


def test_a_canary_that_cannot_take_the_endpoints_requests_gets_none(run, caplog):
    async def scenario():
        it = DispatchWorld()
        other = FeatureSchema((Feature("minutes", FeatureKind.CATEGORICAL, ("a", "b")),))
        it.dispatcher.apply(table(2, stable(weight_bp=8_000), canary(schema=other)))
        assert it.endpoint.canary is None
        assert it.endpoint.threshold == it.endpoint.mirror_threshold == 0
        assert "gets no traffic" in caplog.text
        assert it.endpoint.pool_for(b"anybody") is it.endpoint.stable

    run(scenario())


def test_customers_are_split_by_their_place(run):
    async def scenario():
        it = DispatchWorld(canary_bp=2_000)
        keys = [b"c-%d" % number for number in range(2_000)]
        chosen = [it.endpoint.pool_for(key) is it.endpoint.canary for key in keys]
        assert chosen == [split.place(b"salt", key) < split.threshold(2_000) for key in keys]
        assert 320 < sum(chosen) < 480

    run(scenario())


def test_copies_of_requests_go_to_the_canary_by_the_same_places(run):
    async def scenario():
        it = DispatchWorld(canary_bp=2_000)
        route = EndpointRoute("churn", "salt", (stable(), canary(weight_bp=0)), mirror_bp=5_000)
        it.dispatcher.apply(RoutingTable(2, (route,)))
        endpoint = it.endpoint
        assert (endpoint.threshold, endpoint.mirror_threshold) == (0, split.threshold(5_000))
        it.stable = [it.add_replica(pool, 0.0) for pool in (endpoint.stable, endpoint.canary)]
        await settle()
        keys = [f"c-{number}" for number in range(100)]
        for key in keys:
            it.submit(key)
            await it.run(0.005)
        copies = sum(split.place(b"salt", key.encode()) < endpoint.mirror_threshold for key in keys)
        assert it.counted() == {"3.1": (100, 0), "3.2": (copies, 0)}
        assert 30 < copies < 70

    run(scenario())


def test_a_monitor_lasts_as_long_as_its_rollout(run):
    async def scenario():
        it = DispatchWorld(canary_bp=2_000)
        first = it.endpoint.state.monitor
        assert (first.salt, first.weight_bp, it.endpoint.monitor) == ("salt", 2_000, first)
        it.dispatcher.apply(table(2, stable(weight_bp=5_000), canary(weight_bp=5_000)))
        assert it.endpoint.state.monitor is first
        assert first.weight_bp == 5_000
        it.dispatcher.apply(table(3, stable(weight_bp=5_000), canary(weight_bp=5_000), salt="another"))
        second = it.endpoint.state.monitor
        assert second is not first
        it.dispatcher.apply(table(4, stable(weight_bp=5_000), canary("3.3", weight_bp=5_000), salt="another"))
        assert it.endpoint.state.monitor not in (first, second)
        it.dispatcher.apply(table(5, stable()))
        assert it.endpoint.state.monitor is None
        assert it.endpoint.updates()[0] is None
        assert it.endpoint.updates()[2] is None

    run(scenario())


def test_a_canary_without_weight_is_not_recorded(run):
    async def scenario():
        it = DispatchWorld()
        it.dispatcher.apply(table(2, stable(), canary(weight_bp=0)))
        assert it.endpoint.monitor is None
        assert it.endpoint.state.monitor is not None

    run(scenario())


def test_a_tripped_breaker_ends_the_canarys_share_also_in_the_next_table(run):
    async def scenario():
        it = DispatchWorld(stable_s=(0.0,), canary_s=(0.0,), canary_bp=5_000)
        it.canary[0].fails = True
        for number in range(100):
            it.submit(f"c-{number}")
            await it.run(0.005)
        assert it.endpoint.state.monitor.is_tripped
        for epoch in (2, 3):
            assert it.endpoint.threshold == it.endpoint.mirror_threshold == 0
            assert it.endpoint.monitor is None
            assert it.endpoint.pool_for(b"anybody") is it.endpoint.stable
            assert it.endpoint.updates()[2] is not None
            it.dispatcher.apply(table(epoch, stable(weight_bp=4_000), canary(weight_bp=6_000)))

    run(scenario())


@pytest.mark.parametrize(
    ("stable_nodes", "canary_nodes", "prefers"),
    [
        (("here", "there"), None, True),
        (("there",), None, True),
        (("here", "there"), ("here",), True),
        (("here", "there"), ("there",), False),
        (("there",), ("here", "there"), False),
        (("there",), ("there",), False),
    ],
)
def test_both_arms_of_a_rollout_prefer_this_node_or_neither(run, stable_nodes, canary_nodes, prefers):
    """Otherwise the arm that is near looks faster than the other one, whatever the models do."""

    def replicas(app: str, nodes: tuple[str, ...]) -> tuple[ReplicaAddress, ...]:
        return tuple(ReplicaAddress(f"{app}-{node}", app, node, "/none.sock", "127.0.0.1:9", 8) for node in nodes)

    async def scenario():
        dispatcher = Dispatcher(lambda: 0.0, b"", "here")
        versions = [msgspec.structs.replace(stable(), replicas=replicas("s", stable_nodes))]
        if canary_nodes is not None:
            versions.append(msgspec.structs.replace(canary(), replicas=replicas("c", canary_nodes)))
        dispatcher.apply(table(1, *versions))
        assert [pool.free.prefers_local for pool in dispatcher.endpoints["churn"].pools] == [prefers] * len(versions)
        dispatcher.apply(table(2, versions[0]))
        assert dispatcher.endpoints["churn"].stable.free.prefers_local
        dispatcher.close()

    run(scenario())
