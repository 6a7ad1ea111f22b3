"""Endpoints that ask for keys: each route that predicts answers alike. Defence: no prediction without a key."""

from __future__ import annotations

import asyncio
import threading

import msgspec
import numpy as np
import pytest

from divisions.access import tokens
from divisions.access.limits import NO_LIMITS, Limits
from divisions.access.roles import Role
from divisions.access.tokens import AccessList
from divisions.control import AccessPolicy
from divisions.reports import LimitShares
from router.http.wrong_tokens import BURST
from tests.router.gateway_world import features, minutes_score, post, read_reply, world
from tests.router.waiting import until

KEYED = AccessPolicy(require_key=True)
ROW = {"features": features()}
TENSORS = {
    "inputs": [
        {"name": "minutes", "shape": [2, 1], "datatype": "FP64", "data": [1.0, 2.0]},
        {"name": "plan", "shape": [2, 1], "datatype": "BYTES", "data": ["gold", "gold"]},
        {"name": "abroad", "shape": [2, 1], "datatype": "BOOL", "data": [True, False]},
    ]
}
PREDICTS: dict[str, tuple[str, object, int, tuple[str, ...]]] = {
    "predict": ("/api/v2/predict/churn", ROW, 1, ()),
    "batch": ("/api/v2/predict/churn", {"instances": [ROW, ROW]}, 2, ()),
    "infer": ("/v2/models/churn/infer", TENSORS, 2, ()),
    "infer by model": ("/v2/models/churn-predictor/infer", TENSORS, 2, ()),
    "infer by version": ("/v2/models/churn/versions/3.1/infer", TENSORS, 2, ()),
    "invocations": ("/invocations", ROW, 1, ()),
    "invocations csv": ("/invocations", b"1,gold,true\n2,gold,false\n", 2, ("content-type: text/csv",)),
    "invocations named": ("/invocations", ROW, 1, ("x-amzn-sagemaker-custom-attributes: endpoint=churn",)),
}
"""Path, body, predictions and headers of each way to ask for a prediction."""


def bearer(token: str) -> str:
    return f"Authorization: Bearer {token}"


def granted(
    *rights: tuple[str, Role, tuple[str, ...], Limits], now_s: float = 4e9, lineage: str = "test"
) -> tuple[AccessList, list[str]]:
    """A list with a token for each name, role, endpoints and limits."""
    known, given = AccessList(lineage), []
    for number, (name, role, endpoints, limits) in enumerate(rights):
        some = bytes([number]) * tokens.random_bytes_needed()
        known, token = tokens.create(
            known, name, role, endpoints, 1.0, by="admin", now_s=now_s, randomness=some, limits=limits
        )
        given.append(token)
    return known, given


class Gate:
    """A model that answers while it is open, which it is at first: a replica warms up by it."""

    def __init__(self) -> None:
        self._is_open = threading.Event()
        self._is_open.set()
        self.open, self.close = self._is_open.set, self._is_open.clear

    def score(self, rows_NF: np.ndarray) -> np.ndarray:
        self._is_open.wait(20)  # a test that fails must still end
        return minutes_score(rows_NF)


async def publish(it, known: AccessList) -> None:
    it.link.publish(msgspec.structs.replace(it.link.table, access=known))
    await until(lambda: it.gateway._tokens.stamp == known.stamp)


async def ask(it, way: str, *headers: str):
    path, body, _, own = PREDICTS[way]
    (reply,) = await it.raw(post(body, *own, *headers, path=path))
    return reply


def test_every_route_that_predicts_asks_for_a_key_and_gives_the_same_answer(run):
    async def scenario():
        known, (right, trainer, viewer, elsewhere) = granted(
            ("app", Role.PREDICTOR, ("churn",), NO_LIMITS),
            ("job", Role.TRAINER, (), NO_LIMITS),
            ("board", Role.VIEWER, (), NO_LIMITS),
            ("other", Role.PREDICTOR, ("fraud",), NO_LIMITS),
        )
        wrong = right[:-1] + ("A" if right[-1] != "A" else "B")
        async with world() as it:
            await publish(it, known)
            await it.route([await it.replica("3.1", minutes_score)], access=KEYED)
            for way in PREDICTS:
                for header, status, code, says in (
                    ("x-none: 1", 401, "MissingTokenError", "tokens create NAME --role predictor"),
                    (bearer(wrong), 401, "UnknownTokenError", "ask an admin"),
                    ("Authorization: Basic YTpi", 401, "UnknownTokenError", "ask an admin"),
                    (bearer(viewer), 403, "AccessDeniedError", "board is viewer, and may not predict"),
                    (bearer(elsewhere), 403, "AccessDeniedError", "other may predict on fraud only"),
                ):
                    reply = await ask(it, way, header)
                    assert (reply.status, reply.json["code"]) == (status, code), (way, header)
                    assert says in reply.json["detail"], way
                    assert reply.headers.get("www-authenticate") == ("Bearer" if status == 401 else None)
                for token in (right, trainer, "secret"):
                    assert (await ask(it, way, bearer(token))).status == 200, way

    run(scenario())


def test_an_endpoint_that_asks_for_no_key_takes_any_header(run):
    async def scenario():
        async with world() as it:
            await it.route([await it.replica("3.1", minutes_score)])
            for way in PREDICTS:
                for header in ("x-none: 1", bearer("wrong"), bearer("secret")):
                    assert (await ask(it, way, header)).status == 200, way

    run(scenario())


def test_one_version_that_asks_for_keys_is_enough_and_so_is_the_setting(run):
    async def scenario():
        async with world() as it:
            stable, canary = await it.replica("3.1", minutes_score), await it.replica("3.2", minutes_score)
            await it.route([stable], [canary], 100, canary_access=KEYED)
            assert (await ask(it, "predict")).status == 401
            await it.route([stable], [canary], 100, access=KEYED)
            assert (await ask(it, "predict")).status == 401
            await it.route([stable], [canary], 100)
            assert (await ask(it, "predict")).status == 200
        async with world(require_key=True) as it:
            await it.route([await it.replica("3.1", minutes_score)])
            assert (await ask(it, "infer")).status == 401
            assert (await ask(it, "infer", bearer("secret"))).status == 200

    run(scenario())


@pytest.mark.parametrize("way", ["predict", "infer", "invocations"])
def test_a_key_that_ends_is_refused_with_the_next_request_of_a_connection(run, way):
    async def scenario():
        known, (token,) = granted(("app", Role.PREDICTOR, (), NO_LIMITS))
        path, body, _, own = PREDICTS[way]
        data = post(body, *own, bearer(token), path=path)
        async with world() as it:
            await publish(it, known)
            await it.route([await it.replica("3.1", minutes_score)], access=KEYED)
            reader, writer = await asyncio.open_connection("127.0.0.1", it.port)

            async def status() -> int:
                writer.write(data)
                return (await asyncio.wait_for(read_reply(reader), 60)).status

            assert [await status() for _ in range(3)] == [200] * 3
            head = it.gateway._http.heads.find(data)
            assert head is not None, "a head with a right key is remembered"
            assert head.has_known_key
            await publish(it, tokens.revoke(known, "app"))
            assert await status() == 401
            await publish(it, msgspec.structs.replace(known, serial=9))
            assert await status() == 200
            writer.close()

    run(scenario())


def test_a_key_that_expires_is_refused_within_a_second(run):
    async def scenario():
        now_s = 0.0
        known, (token,) = granted(("app", Role.PREDICTOR, (), NO_LIMITS), now_s=0.0)
        async with world() as it:
            it.gateway._tokens._wall_s = lambda: now_s
            await publish(it, known)
            await it.route([await it.replica("3.1", minutes_score)], access=KEYED)
            assert (await ask(it, "predict", bearer(token))).status == 200
            now_s, before = 86_401.0, it.gateway._callers.generation
            await until(lambda: it.gateway._callers.generation > before)
            reply = await ask(it, "predict", bearer(token))
            assert (reply.status, "has expired" in reply.json["detail"]) == (401, True)
            now_s, before = 5.0, it.gateway._callers.generation  # the clock is set back
            await until(lambda: it.gateway._callers.generation > before)
            assert (await ask(it, "predict", bearer(token))).status == 200

    run(scenario())


def test_heads_with_a_wrong_key_are_not_remembered(run):
    async def scenario():
        async with world() as it:
            await it.route([await it.replica("3.1", minutes_score)], access=KEYED)
            assert (await ask(it, "predict", bearer("wrong"))).status == 401
            assert (await it.raw(post({}, bearer("secret"), path="/api/v2/rollouts/churn/abort")))[0].status == 200
            assert not any(b"uthorization" in raw for raw in it.gateway._http.heads._heads)

    run(scenario())


def test_many_wrong_keys_are_told_to_wait_and_right_ones_still_pass(run):
    async def scenario():
        async with world() as it:
            await it.route([await it.replica("3.1", minutes_score)], access=KEYED)
            statuses = [(await ask(it, "predict", bearer("wrong"))).status for _ in range(BURST)]
            assert statuses == [401] * BURST
            while (reply := await ask(it, "predict", bearer("wrong"))).status == 401:
                pass
            assert (reply.status, reply.headers["retry-after"]) == (429, "1")
            assert (await ask(it, "predict", bearer("secret"))).status == 200

    run(scenario())


@pytest.mark.parametrize("way", PREDICTS)
def test_every_route_counts_predictions_against_the_rate(run, way):
    async def scenario():
        predictions = PREDICTS[way][2]
        known, (token, free) = granted(
            ("app", Role.PREDICTOR, (), Limits(rate=3 * predictions, window_s=86_400)),
            ("other", Role.PREDICTOR, (), NO_LIMITS),
        )
        async with world() as it:
            await publish(it, known)
            await it.route([await it.replica("3.1", minutes_score)], access=KEYED)
            statuses = [(await ask(it, way, bearer(token))).status for _ in range(5)]
            assert statuses == [200, 200, 200, 429, 429]
            reply = await ask(it, way, bearer(token))
            assert reply.json["code"] == "LimitReachedError"
            assert "app may ask for" in reply.json["detail"]
            assert reply.headers["ratelimit-policy"] == f'"rate";q={3 * predictions};w=86400'
            left, _, wait = reply.headers["ratelimit"].rpartition("=")
            assert left == '"rate";r=0;t'
            assert int(wait) == int(reply.headers["retry-after"]) > 0
            assert (await ask(it, way, bearer(free))).status == 200
            asked = dict(entry for report in it.link.reports for entry in report.asked)
            asked = {**asked, **dict(it.gateway._callers.take_asked())}
            assert "other" not in asked, "without a limit there is nothing to share"

    run(scenario())


def test_no_more_requests_at_once_than_the_limit_and_each_frees_its_place(run):
    async def scenario():
        gate = Gate()
        known, (token,) = granted(("app", Role.PREDICTOR, (), Limits(concurrency=2)))
        data = post(ROW, bearer(token))
        async with world() as it:
            await publish(it, known)
            await it.route([await it.thread_replica(gate.score)], access=KEYED)
            gate.close()
            connections = [await asyncio.open_connection("127.0.0.1", it.port) for _ in range(2)]
            for _, writer in connections:
                writer.write(data)
            await until(lambda: it.gateway._callers._load.in_flight == 2)
            reply = await ask(it, "infer", bearer(token))
            assert (reply.status, reply.headers["retry-after"]) == (429, "1")
            assert reply.headers["ratelimit-policy"] == '"concurrency";q=2;qu="concurrent-requests"'
            connections[0][1].transport.abort()  # a caller who leaves frees the place, too
            await until(lambda: it.gateway._callers._load.in_flight == 1)
            gate.open()
            assert (await asyncio.wait_for(read_reply(connections[1][0]), 60)).status == 200
            assert (await ask(it, "predict", bearer(token))).status == 200
            assert (await ask(it, "predict", bearer(token), "content-type: text/plain")).status == 415
            assert (await it.raw(post(b"{", bearer(token))))[0].status == 400
            load = it.gateway._callers._load
            assert (load.in_flight, load.active) == (0, 0)
            connections[1][1].close()

    run(scenario())


def test_a_principal_with_more_than_its_part_of_a_busy_version_is_refused_first(run):
    async def scenario():
        gate = Gate()
        known, (greedy, modest) = granted(
            ("greedy", Role.PREDICTOR, (), NO_LIMITS), ("modest", Role.PREDICTOR, (), NO_LIMITS)
        )
        async with world() as it:
            await publish(it, known)
            await it.route([await it.thread_replica(gate.score)], access=KEYED)
            gate.close()
            connections = [await asyncio.open_connection("127.0.0.1", it.port) for _ in range(2)]
            (_, of_greedy), (_, of_modest) = connections
            of_greedy.write(post(ROW, bearer(greedy)) * 40)  # alone it may
            await until(lambda: it.gateway._callers._load.in_flight == 40)
            of_modest.write(post(ROW, bearer(modest)))
            await until(lambda: it.gateway._callers._load.in_flight == 41)
            reply = await ask(it, "predict", bearer(greedy))
            assert (reply.status, "more than its part" in reply.json["detail"]) == (429, True)
            of_modest.write(post(ROW, bearer(modest)))
            await until(lambda: it.gateway._callers._load.in_flight == 42)
            gate.open()
            for (reader, writer), count in zip(connections, (40, 2), strict=True):
                for _ in range(count):
                    assert (await asyncio.wait_for(read_reply(reader), 60)).status == 200
                writer.close()

    run(scenario())


@pytest.mark.parametrize("way", ["predict", "batch", "infer", "invocations", "invocations csv"])
def test_no_request_waits_longer_than_its_principal_s_deadline(run, way):
    async def scenario():
        gate = Gate()
        known, (token,) = granted(("app", Role.PREDICTOR, (), Limits(deadline_ms=50)))
        async with world() as it:  # whose own deadline is 20 s
            await publish(it, known)
            await it.route([await it.thread_replica(gate.score)], access=KEYED)
            gate.close()
            reply = await ask(it, way, bearer(token), "x-request-timeout-ms: 15000")
            assert (reply.status, reply.json["code"]) == (504, "DeadlineExceededError")
            gate.open()

    run(scenario())


def test_a_limit_is_shared_out_among_gateways_and_used_tokens_are_reported(run):
    async def scenario():
        limits = Limits(rate=100, window_s=86_400, concurrency=8)
        known, (token,) = granted(("app", Role.PREDICTOR, (), limits))
        async with world() as it:
            it.link.shares = LimitShares(2, {"app": 0.25})
            await publish(it, known)
            await it.route([await it.replica("3.1", minutes_score)], access=KEYED)
            await until(lambda: it.gateway._callers._shares.gateways == 2)
            statuses = [(await ask(it, "predict", bearer(token))).status for _ in range(26)]
            assert statuses == [200] * 25 + [429]
            assert it.gateway._callers._by_name["app"].most == 2
            await until(lambda: any(report.token_uses for report in it.link.reports))
            (record,) = known.tokens
            assert {each for report in it.link.reports for each in report.token_uses} == {record.token_id}
            await until(lambda: sum(dict(report.asked).get("app", 0) for report in it.link.reports) == 26)

    run(scenario())


def test_metrics_tell_what_became_of_a_principal_s_requests(run):
    async def scenario():
        known, (token,) = granted(("app", Role.PREDICTOR, (), Limits(rate=1, window_s=86_400)))
        async with world() as it:
            await publish(it, known)
            await it.route([await it.replica("3.1", minutes_score)], access=KEYED)
            assert [(await ask(it, "predict", bearer(token))).status for _ in range(3)] == [200, 429, 429]
            (reply,) = await it.raw(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n")
            name = 'divisions_principal_requests_total{gateway="0",outcome="%s",principal="app"} %s'
            for outcome, count in (("passed", 1.0), ("rate", 2.0), ("concurrency", 0.0)):
                assert name % (outcome, count) in reply.body.decode()

    run(scenario())


def test_the_api_document_says_which_endpoint_needs_a_key(run):
    async def scenario():
        async with world() as it:
            replica = await it.replica("3.1", minutes_score)
            for access, security in ((AccessPolicy(), [{}, {"token": []}]), (KEYED, [{"token": []}])):
                await it.route([replica], access=access)
                (reply,) = await it.raw(b"GET /openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n")
                operation = reply.json["paths"]["/api/v2/predict/churn"]["post"]
                assert operation["security"] == security
                assert {"401", "403", "429"} <= set(operation["responses"])
                assert "ratelimit" in operation["responses"]["429"]["headers"]

    run(scenario())
