"""The gateway over real sockets: what callers see while replicas come, go, fail and hang."""

from __future__ import annotations

import asyncio
import inspect
import threading
import time

import numpy as np
import pytest

from divisions.online_store import OnlineRow
from divisions.online_writer import OnlineStoreWriter
from divisions.schema import Feature, FeatureKind, FeatureSchema
from router.evidence import histogram
from router.gateway.child import STOP_S
from router.gateway.gateway import Gateway
from tests.router.gateway_world import SCHEMA, features, minutes_score, post, read_reply, world
from tests.router.waiting import until


def constant(score: float):
    return lambda rows_NF: np.full(len(rows_NF), score, np.float32)


def test_one_row_is_answered_with_its_version_and_timings(run):
    async def scenario():
        async with world() as it:
            await it.route([await it.replica("3.1", minutes_score)])
            reply = await it.predict(
                {"customer_id": 'c-"1"', "features": features(250.0)},
                "X-Request-Id: r-1",
                "Content-Type: application/json",
            )
            assert reply.status == 200
            assert reply.json == {
                "customer_id": 'c-"1"',
                "churn_probability": 0.25,
                "model": "churn-predictor",
                "version": "3.1",
                "request_id": "r-1",
            }
            assert reply.headers["x-model-version"] == "3.1"
            assert reply.headers["x-request-id"] == "r-1"
            assert reply.headers["server-timing"].startswith("queue;dur=")

    run(scenario())


def test_a_batch_over_many_frames_comes_back_whole_and_in_order(run):
    async def scenario():
        async with world() as it:
            await it.route(
                [await it.replica("3.1", minutes_score), await it.replica("3.1", minutes_score)],
                [await it.replica("3.2", minutes_score)],
                5_000,
            )
            instances = [{"customer_id": f"c-{n}", "features": features(float(n))} for n in range(100)]
            reply = await it.predict({"instances": instances})
            assert reply.status == 200
            found = reply.json["predictions"]
            assert [each["customer_id"] for each in found] == [f"c-{n}" for n in range(100)]
            assert [each["churn_probability"] for each in found] == pytest.approx([n / 1000 for n in range(100)])
            assert {each["version"] for each in found} == {"3.1", "3.2"}
            assert reply.headers["x-model-version"] == "3.1,3.2"

    run(scenario())


def test_the_split_is_sticky_and_each_arm_is_counted(run):
    async def scenario():
        async with world() as it:
            await it.route([await it.replica("3.1", constant(0.1))], [await it.replica("3.2", constant(0.9))], 2_000)
            bodies = [{"customer_id": f"c-{n}", "features": features()} for n in range(400)]
            first = [(await it.predict(body)).json["version"] for body in bodies]
            second = [(await it.predict(body)).json["version"] for body in bodies]
            assert first == second
            assert 50 < first.count("3.2") < 110
            canary = first.count("3.2") * 2
            assert _sum(it) == {"churn-predictor-v3.1": (800 - canary, 0), "churn-predictor-v3.2": (canary, 0)}

    run(scenario())


def test_a_failing_canary_costs_its_callers_nothing_and_is_charged(run):
    def broken(rows_NF):
        raise RuntimeError("no")

    failing = {"on": False}

    def canary(rows_NF):
        return broken(rows_NF) if failing["on"] else minutes_score(rows_NF)

    async def scenario():
        async with world() as it:
            await it.route([await it.replica("3.1", minutes_score)], [await it.replica("3.2", canary)], 10_000)
            failing["on"] = True
            replies = [await it.predict({"customer_id": f"c-{n}", "features": features(5.0)}) for n in range(20)]
            assert {reply.status for reply in replies} == {200}
            assert {reply.json["version"] for reply in replies} == {"3.1"}
            versions = _sum(it)
            assert versions["churn-predictor-v3.2"] == (20, 20)
            assert versions.get("churn-predictor-v3.1", (0, 0)) == (0, 0)  # stable is neither credited nor charged

    run(scenario())


def fails_if(failing):
    def score(rows_NF):
        if failing["on"]:
            raise RuntimeError("no")
        return minutes_score(rows_NF)

    return score


def test_however_many_requests_a_canary_leaves_behind_stable_answers_all(run):
    failing = {"on": False}

    async def scenario():
        async with world() as it:
            await it.route(
                [await it.replica("3.1", minutes_score)], [await it.replica("3.2", fails_if(failing))], 10_000
            )
            failing["on"] = True
            it.gateway.dispatcher.retries.budget.tokens = -100.0
            replies = [await it.predict({"customer_id": f"c-{n}", "features": features()}) for n in range(20)]
            assert {(reply.status, reply.json["version"]) for reply in replies} == {(200, "3.1")}

    run(scenario())


def test_a_version_that_fails_is_not_asked_for_everything_twice(run):
    failing = {"on": False}

    async def scenario():
        async with world() as it:
            await it.route([await it.replica("3.1", fails_if(failing))])
            failing["on"] = True
            it.gateway.dispatcher.retries.budget.tokens = 2.75  # Ten requests add one more between them.
            replies = [await it.predict({"customer_id": f"c-{n}", "features": features()}) for n in range(10)]
            assert [reply.status for reply in replies] == [502] * 10
            assert [b"retry budget" in reply.body for reply in replies] == [False] * 3 + [True] * 7
            assert it.gateway.dispatcher.endpoints["churn"].stable.tally.totals.retries == 3

    run(scenario())


def _sum(it) -> dict[str, tuple[int, int]]:
    total: dict[str, tuple[int, int]] = {}
    endpoints = [each for group in it.gateway.dispatcher.take_reports(1 << 60, 1.0, 0).values() for each in group]
    endpoints += [each for report in it.link.reports for each in report.endpoints]
    for endpoint in endpoints:
        for version in endpoint.versions:
            requests, errors = total.get(version.app_name, (0, 0))
            total[version.app_name] = (requests + version.requests, errors + version.errors)
            assert sum(version.buckets.values()) == version.requests
            assert version.buckets.get(histogram.OVERFLOW, 0) >= version.errors
    return total


def test_replicas_that_break_their_channel_lose_no_request(run):
    async def scenario():
        async with world() as it:
            await it.route([await it.replica("3.1", minutes_score), await it.replica("3.1", minutes_score)])
            stop = asyncio.Event()
            statuses: list[int] = []

            async def client(number: int) -> None:
                while not stop.is_set():
                    body = {"customer_id": f"c-{number}", "features": features()}
                    statuses.append((await it.predict(body)).status)

            clients = [asyncio.create_task(client(number)) for number in range(8)]
            breaks = 0
            while breaks < 10 or len(statuses) <= 50:
                await asyncio.sleep(0.05)
                breaks += 1
                channel = next(iter(it.gateway.dispatcher.endpoints["churn"].stable.channels.values()))
                if channel._transport is not None:
                    channel._transport.abort()
            stop.set()
            await asyncio.gather(*clients)
            assert set(statuses) == {200}

    run(scenario())


class Hanging:
    """An engine that hangs from `begins` until `ends`."""

    def __init__(self) -> None:
        self._may_answer = threading.Event()
        self._may_answer.set()

    def __call__(self, rows_NF):
        self._may_answer.wait(120)
        return minutes_score(rows_NF)

    def begins(self) -> None:
        self._may_answer.clear()

    def ends(self) -> None:
        self._may_answer.set()


def test_a_hung_canary_is_given_up_in_time_for_stable_to_answer(run):
    hanging = Hanging()

    async def scenario():
        async with world(request_timeout_ms=4_000) as it:
            slow = await it.thread_replica(hanging)
            await it.route([await it.replica("3.1", minutes_score)], [slow], 10_000)
            hanging.begins()
            replies = await asyncio.gather(
                *[it.predict({"customer_id": f"c-{n}", "features": features()}) for n in range(20)]
            )
            assert {reply.status for reply in replies} == {200}
            assert {reply.json["version"] for reply in replies} == {"3.1"}
            canary = it.gateway.dispatcher.endpoints["churn"].canary
            while canary.tally.counted() != (20, 20):  # A version has until the deadline to answer.
                await asyncio.sleep(0.01)
            hanging.ends()

    run(scenario())


def test_hung_stable_replicas_mean_a_deadline_error_and_not_a_hung_caller(run):
    hanging = Hanging()

    async def scenario():
        async with world() as it:
            slow = await it.thread_replica(hanging)
            await it.route([slow])
            hanging.begins()
            begin = time.monotonic()
            reply = await it.predict({"customer_id": "c", "features": features()}, "x-request-timeout-ms: 200")
            assert reply.status == 504
            assert time.monotonic() - begin < 60
            hanging.ends()

    run(scenario())


def test_a_replica_gets_a_second_batch_ahead_of_time_only_if_it_is_full(run):
    hanging = Hanging()

    async def scenario():
        async with world() as it:
            await it.route([await it.thread_replica(hanging)])
            hanging.begins()
            stable = it.gateway.dispatcher.endpoints["churn"].stable
            (channel,) = stable.channels.values()

            def in_flight():
                return [batch.rows for batch in channel.in_flight.values()]

            calls = []
            for wanted, left in ((1, 0), (8, 7), (9, 0), (25, 16)):
                while len(calls) < wanted:
                    body = {"customer_id": f"c-{len(calls)}", "features": features(minutes=float(len(calls)))}
                    calls.append(asyncio.create_task(it.predict(body)))
                await asyncio.wait_for(until(lambda left=left: stable.queue.rows == left and in_flight()), 60)
                await asyncio.sleep(0.03)
                assert in_flight() == ([1] if wanted < 9 else [1, 8])
            hanging.ends()
            replies = await asyncio.gather(*calls)
            assert [reply.json["churn_probability"] for reply in replies] == pytest.approx(
                [n / 1000 for n in range(25)], abs=1e-6
            )

    run(scenario())


def test_features_come_from_the_online_store(run):
    async def scenario():
        async with world() as it:
            await it.route([await it.replica("3.1", minutes_score)])
            empty = await it.predict({"customer_id": "c-7"})
            assert (empty.status, empty.json["code"]) == (503, "OnlineStoreError")
            assert "no customers of this endpoint" in empty.json["detail"]
            row = OnlineRow("c-7", 1.0, {"minutes": 70, "plan": "gold", "abroad": None, "state": "KS"})
            OnlineStoreWriter(it.folder / "online.db", "churn").upsert([row])
            known = await it.predict({"customer_id": "c-7"})
            assert known.json["churn_probability"] == pytest.approx(0.07)
            unknown = await it.predict({"customer_id": "c-8"})
            assert unknown.status == 404

    run(scenario())


def test_a_retired_version_disappears_without_losing_requests(run):
    async def scenario():
        async with world() as it:
            old, new = await it.replica("3.1", constant(0.1)), await it.replica("3.2", constant(0.2))
            await it.route([old], [new], 5_000)
            stop = asyncio.Event()
            statuses: list[int] = []

            async def client() -> None:
                while not stop.is_set():
                    statuses.append((await it.predict({"features": features()})).status)

            clients = [asyncio.create_task(client()) for _ in range(8)]
            moves = 0
            while moves < 5 or len(statuses) <= 50:
                moves += 1
                await asyncio.sleep(0.02)
                await it.route([old])
                await asyncio.sleep(0.02)
                await it.route([old], [new], 9_000)
            stop.set()
            await asyncio.gather(*clients)
            assert set(statuses) == {200}

    run(scenario())


def test_serving_goes_on_while_the_controller_is_away(run):
    async def scenario():
        async with world() as it:
            await it.route([await it.replica("3.1", minutes_score)])
            it.link.is_away = True
            it.link._changed.set()
            for _ in range(10):
                assert (await it.predict({"features": features()})).status == 200
                await asyncio.sleep(0.01)

    run(scenario())


def test_replicas_on_another_node_are_reached_by_tcp_with_the_token(run):
    async def scenario():
        async with world(channel_token=b"shared") as it:
            await it.route([await it.replica("3.1", minutes_score, over_tcp=True)])
            assert (await it.predict({"features": features(9.0)})).json["churn_probability"] == pytest.approx(0.009)

    run(scenario())


def test_a_wrong_channel_token_is_refused(run):
    async def scenario():
        async with world(channel_token=b"mine") as it:
            await it.route([await it.replica("3.1", minutes_score, over_tcp=True, token=b"theirs")], channels=0)
            await asyncio.sleep(0.2)
            assert it.gateway.dispatcher.endpoints["churn"].stable.ready_channels == 0
            reply = await it.predict({"features": features()}, "x-request-timeout-ms: 50")
            assert reply.status == 504

    run(scenario())


def test_a_gateway_that_comes_later_has_its_table_when_it_listens(run):
    async def scenario():
        async with world() as it:
            await it.route([await it.replica("3.1", minutes_score)])
            later = it.build()
            it.port = await later.start()
            assert later.dispatcher.epoch == it.link.table.epoch
            assert (await it.predict({"features": features()})).status == 200
            await later.stop(0.2)

    run(scenario())


def test_a_gateway_that_stops_breaks_no_request_of_a_kept_connection(run):
    """The caller asks again as soon as it is answered, as a load balancer does, until it is told to go elsewhere."""

    async def scenario():
        async with world() as it:
            await it.route([await it.replica("3.1", minutes_score)])
            later = it.build()
            reader, writer = await asyncio.open_connection("127.0.0.1", await later.start())
            replies = []
            stopping = None
            while not replies or replies[-1].headers.get("connection") != "close":
                writer.write(post({"features": features()}))
                replies.append(await asyncio.wait_for(read_reply(reader), 60))
                assert replies[-1] is not None, "the connection was closed instead"
                stopping = stopping or asyncio.create_task(later.stop())
                await asyncio.sleep(0.01)
            await asyncio.wait_for(stopping, 60)
            assert {reply.status for reply in replies} == {200}
            writer.close()

    run(scenario())


def test_a_gateway_listens_without_a_table_when_the_controller_is_away(run):
    async def scenario():
        async with world() as it:
            it.link.is_away = True
            later = it.build()
            it.port = await later.start()
            assert (await it.predict({"features": features()})).status == 503
            it.link.is_away = False
            await it.route([await it.replica("3.1", minutes_score)])
            while later.dispatcher.epoch != it.link.table.epoch:
                await asyncio.sleep(0.01)
            assert (await it.predict({"features": features()})).status == 200
            await later.stop(0.2)

    run(scenario())


def test_an_older_table_is_not_taken(run):
    async def scenario():
        async with world() as it:
            await it.route([await it.replica("3.1", minutes_score)])
            table = it.link.table
            assert not it.gateway.dispatcher.apply(table)
            assert it.gateway.dispatcher.is_ready

    run(scenario())


def test_a_canary_with_a_clashing_schema_gets_no_traffic(run):
    clashing = FeatureSchema((Feature("minutes", FeatureKind.CATEGORICAL, ("x",)), *SCHEMA.features[1:]))

    async def scenario():
        async with world() as it:
            stable, canary = await it.replica("3.1", minutes_score), await it.replica("3.2", minutes_score)
            await it.route([stable], [canary], 10_000, canary_schema=clashing, channels=1)
            reply = await it.predict({"customer_id": "c", "features": features()})
            assert reply.json["version"] == "3.1"

    run(scenario())


def test_overload_is_refused_at_once_with_the_time_to_come_back(run):
    def slow(rows_NF):
        time.sleep(0.25)
        return minutes_score(rows_NF)

    async def scenario():
        # A deadline that a machine which stands still for a moment meets nevertheless, and 300 rows cannot.
        async with world(request_timeout_ms=4_000) as it:
            await it.route([await it.thread_replica(slow)])
            for _ in range(3):  # the fit of batch durations needs to have seen some
                assert (await it.predict({"features": features()})).status == 200
            replies = await asyncio.gather(*[it.predict({"features": features()}) for _ in range(300)])
            refused = [reply for reply in replies if reply.status == 503]
            assert refused
            assert all(int(reply.headers["retry-after"]) >= 1 for reply in refused)
            assert {reply.status for reply in replies} <= {200, 503, 504}
            # A machine that stands still after it let some in is late with those, and with no others.
            assert sum(reply.status == 504 for reply in replies) < len(refused)
            assert sum(reply.status == 200 for reply in replies) >= 16

    run(scenario())


def test_a_caller_that_leaves_does_not_hurt_those_in_its_batch(run):
    async def scenario():
        async with world() as it:
            await it.route([await it.replica("3.1", minutes_score)])
            for _ in range(20):
                leaving = [await asyncio.open_connection("127.0.0.1", it.port) for _ in range(5)]
                staying = [await asyncio.open_connection("127.0.0.1", it.port) for _ in range(5)]
                for _, writer in [pair for both in zip(leaving, staying, strict=True) for pair in both]:
                    writer.write(post({"features": features()}))
                for _, writer in leaving:
                    writer.transport.abort()
                for reader, writer in staying:
                    reply = await asyncio.wait_for(read_reply(reader), 60)
                    assert reply is not None
                    assert reply.status == 200
                    writer.close()

    run(scenario())


def test_nothing_deployed_is_said_so(run):
    async def scenario():
        async with world() as it:
            assert (await it.predict({"features": features()})).status == 503
            (ready,) = await it.raw(b"GET /readyz HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert ready.status == 503
            assert ready.json["detail"] == "nothing is deployed yet"
            (health,) = await it.raw(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert health.status == 200

    run(scenario())


def test_names_with_a_percent_sign_stay_as_they_are(run):
    async def scenario():
        async with world() as it:
            await it.route([await it.replica("3.1", minutes_score)])
            endpoint = it.gateway.dispatcher.endpoints["churn"]
            endpoint.entity_name = b"100%s_id"
            reply = await it.predict({"customer_id": "c-%d", "features": features(250.0)})
            assert reply.json["100%s_id"] == "c-%d"
            assert reply.json["churn_probability"] == 0.25

    run(scenario())


def test_a_gateway_that_stops_is_done_before_its_parent_kills_it():
    grace_s = inspect.signature(Gateway.stop).parameters["grace_s"].default
    assert 0 < grace_s < STOP_S
