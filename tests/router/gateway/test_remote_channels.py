"""Channels to replicas of other nodes: encrypted, renewed without a break, and reported when they break."""

from __future__ import annotations

import asyncio

import pytest

from divisions.certificates.authority import new_authority
from divisions.certificates.names import Role
from divisions.clock import SystemClock
from router.gateway import remote_link
from router.predict import upstream
from tests.router.gateway_world import features, minutes_score, world
from tests.router.waiting import until

TOKEN = b"shared"


async def is_answered(it) -> bool:
    reply = await it.predict({"features": features(9.0)})
    return reply.status == 200 and reply.json["churn_probability"] == pytest.approx(0.009)


def ready(it) -> int:
    return it.gateway.dispatcher.endpoints["churn"].stable.ready_channels


def test_a_gateway_asks_for_one_certificate_for_all_its_channels(run):
    async def scenario():
        async with world(channel_token=TOKEN) as it:
            await it.route([await it.replica("3.1", minutes_score, over_tcp=True) for _ in range(3)])
            assert await is_answered(it)
            assert it.link.num_issued == 1

    run(scenario())


def test_replicas_of_its_own_node_need_none(run):
    async def scenario():
        async with world(channel_token=TOKEN) as it:
            await it.route([await it.replica("3.1", minutes_score)])
            it.credentials(Role.GATEWAY, "unused")
            assert await is_answered(it)
            assert it.link.num_issued == 0

    run(scenario())


def test_a_certificate_is_renewed_in_mid_traffic(run, monkeypatch):
    monkeypatch.setattr(remote_link, "CHECK_S", 0.01)

    async def scenario():
        async with world(channel_token=TOKEN) as it:
            address = await it.replica("3.1", minutes_score, over_tcp=True)
            await it.route([address])
            asked = [asyncio.create_task(it.predict({"features": features(9.0)})) for _ in range(20)]
            it.gateway._remote._renewal.obtained(0.0, 0.0)  # as if its time had come
            it.servers[0].install(it.credentials(Role.REPLICA, address.replica_id))
            it.gateway._remote._renewal._tried_s = -10.0
            await until(lambda: it.link.num_issued == 2)
            assert [(await each).status for each in asked] == [200] * 20
            assert ready(it) == 1
            await it.route([address, await it.replica("3.1", minutes_score, over_tcp=True)])
            assert await is_answered(it)

    run(scenario())


@pytest.mark.parametrize("kind", ["another cluster", "another replica", "a gateway"])
def test_a_replica_that_is_not_the_one_gets_no_work(run, kind, caplog):
    async def scenario():
        async with world(channel_token=TOKEN) as it:
            address = await it.replica("3.1", minutes_score, over_tcp=True)
            if kind == "another cluster":
                ours, it.link.authority = it.link.authority, new_authority(SystemClock().wall_s())
                it.servers[0].install(it.credentials(Role.REPLICA, address.replica_id))
                it.link.authority = ours
            elif kind == "another replica":
                it.servers[0].install(it.credentials(Role.REPLICA, "someone-else"))
            else:
                it.servers[0].install(it.credentials(Role.GATEWAY, address.replica_id))
            await it.route([address], channels=0)
            await until(lambda: "certificate verify failed" in caplog.text)
            assert ready(it) == 0
            reply = await it.predict({"features": features()}, "x-request-timeout-ms: 50")
            assert reply.status == 504
            assert caplog.text.count("certificate verify failed") <= 2, "once for each reason, not for each attempt"

    run(scenario())


def test_a_gateway_never_falls_back_to_plain_text(run):
    async def scenario():
        async with world(channel_token=TOKEN, channel_tls=False) as plain:
            address = await plain.replica("3.1", minutes_score, over_tcp=True)
            async with world(channel_token=TOKEN) as it:
                it.credentials(Role.GATEWAY, "unused")
                await it.route([address], channels=0)
                await until(lambda: it.link.num_issued == 1)
                await asyncio.sleep(0.2)
                assert ready(it) == 0
            await plain.route([address])
            assert await is_answered(plain)

    run(scenario())


def test_while_the_controller_is_away_it_uses_its_own_node_and_connects_later(run, monkeypatch):
    monkeypatch.setattr(remote_link, "CHECK_S", 0.01)

    async def scenario():
        async with world(channel_token=TOKEN) as it:
            near = await it.replica("3.1", minutes_score)
            far = await it.replica("3.1", minutes_score, over_tcp=True)
            authority, it.link.authority = it.link.authority, None
            await it.route([near, far], channels=1)
            assert await is_answered(it)
            it.link.authority = authority
            await until(lambda: ready(it) == 2)

    run(scenario())


def test_replicas_of_other_nodes_that_go_away_are_reported_together_and_once(run):
    async def scenario():
        async with world(channel_token=TOKEN) as it:
            near = await it.replica("3.1", minutes_score)
            far = [await it.replica("3.1", minutes_score, over_tcp=True) for _ in range(2)]
            await it.route([near, *far])
            for server in it.servers:
                for connection in list(server.connections):
                    connection._transport.abort()
                for listener in server._listeners:
                    listener.close()
            await until(lambda: len(it.link.lost) >= len(far))
            await asyncio.sleep(0.2)  # no second report
            assert sorted(it.link.lost) == sorted(replica.replica_id for replica in far)

    run(scenario())


def test_replicas_that_the_table_drops_are_not_reported(run):
    async def scenario():
        async with world(channel_token=TOKEN) as it:
            far = [await it.replica("3.1", minutes_score, over_tcp=True) for _ in range(2)]
            await it.route(far)
            await it.route(far[:1])
            await asyncio.sleep(0.1)
            assert it.link.lost == []

    run(scenario())


def test_one_that_refuses_us_each_time_is_asked_ever_more_slowly(run, monkeypatch):
    pauses = []
    real = asyncio.sleep

    async def sleep(seconds, *rest):
        if seconds in {0.05, 0.1, 0.2, 0.4, 0.8}:
            pauses.append(seconds)
            seconds = 0.0
        await real(seconds, *rest)

    if not upstream.__file__.endswith(".py"):
        pytest.skip("compiled code calls asyncio's own sleep")
    monkeypatch.setattr(upstream.asyncio, "sleep", sleep)

    async def scenario():
        async with world(channel_token=TOKEN, channel_tls=False) as it:
            await it.route([await it.replica("3.1", minutes_score, over_tcp=True, token=b"other")], channels=0)
            await until(lambda: len(pauses) >= 5)
            assert pauses[:5] == [0.05, 0.1, 0.2, 0.4, 0.8]

    run(scenario())


def test_after_a_cut_the_table_is_asked_for_again_and_not_waited_for(run):
    """The answer to a poll that was under way when the network was cut may never come."""

    async def scenario():
        async with world(channel_token=TOKEN) as it:
            await it.route([await it.replica("3.1", minutes_score)])
            polls = []

            async def silent(known_epoch, timeout_s, known_access):
                polls.append(known_epoch)
                await asyncio.Event().wait()

            answers, it.link.poll_table = it.link.poll_table, silent
            it.link.publish(it.link.table)
            it.gateway._is_back.set()
            await until(lambda: polls)
            told, it.link.report = it.link.report, lambda report: it.link.status()
            it.link.is_away = True
            await until(lambda: it.link.status_calls)
            it.link.is_away, it.link.report, it.link.poll_table = False, told, answers
            await it.route([await it.replica("3.1", minutes_score), await it.replica("3.1", minutes_score)])
            assert await is_answered(it)

    run(scenario())
