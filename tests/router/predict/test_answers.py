"""Replies of many rows: in the request's order, whole or one problem, with the times of the slowest part."""

from __future__ import annotations

import json
from dataclasses import replace

from divisions.errors import OverloadedError
from router.gateway.key_ring import KeyRing
from router.gateway.token_book import TokenBook
from router.http.exchange import Exchange
from router.http.request import Handler
from router.predict.answers import BatchAnswer, SingleAnswer
from router.predict.callers import Callers
from router.predict.front import Refusals
from router.predict.jobs import Job
from router.predict.predict_handler import PredictHandler
from router.predict.stored_features import StoredFeatures
from tests.router.dispatch_world import DispatchWorld
from tests.router.http.wire import connect


class Keeps(Handler):
    def __init__(self) -> None:
        self.exchanges: list[Exchange] = []

    def handle(self, request) -> None:
        self.exchanges.append(request.exchange)


class It:
    """An exchange, an endpoint, and what was written."""

    def __init__(self) -> None:
        self.world = DispatchWorld(canary_bp=5_000)
        self.endpoint = self.world.endpoint
        keeps = Keeps()
        _, connection, self.transport = connect(keeps)
        connection.data_received(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        (self.exchange,) = keeps.exchanges
        self.refusals = Refusals(lambda: 0.0)

        def now_s() -> float:
            return 0.0

        stored = StoredFeatures(lambda endpoint: None)
        self.front = PredictHandler(
            self.world.dispatcher,
            stored,
            1.0,
            "gw-",
            now_s,
            now_s,
            Callers(KeyRing(TokenBook("secret", now_s), None), now_s),
            self.refusals,
        )

    def job(self, answer, positions, *, is_canary=False, arrived_s=10.0) -> Job:
        pool = self.endpoint.canary if is_canary else self.endpoint.stable
        return Job(answer, [(1.0,)] * len(positions), positions, b"", pool.version, arrived_s, 99.0)

    def batch(self, *keys) -> BatchAnswer:
        return BatchAnswer(self.endpoint, keys, [b""] * len(keys), b"r-1", self.exchange, self.front)

    def reply(self) -> tuple[dict[str, str], bytes]:
        head, _, body = self.transport.written.partition(b"\r\n\r\n")
        fields = dict(line.decode().split(": ", 1) for line in head.split(b"\r\n")[1:])
        assert int(fields["content-length"]) == len(body)
        return fields, body


def test_rows_come_back_in_order_with_the_version_of_each(run):
    async def scenario():
        it = It()
        answer = it.batch("a", None, "c")
        answer.answered(it.job(answer, [2, 0]), [0.25, 0.125], 400, 10.003)
        assert it.transport.written == b"", "one row is still missing"
        answer.answered(it.job(answer, [1], is_canary=True), [0.5], 300, 10.005)
        fields, body = it.reply()
        rows = json.loads(body)["predictions"]
        assert [(row["customer_id"], row["churn_probability"], row["version"]) for row in rows] == [
            ("a", 0.125, "3.1"),
            (None, 0.5, "3.2"),
            ("c", 0.25, "3.1"),
        ]
        assert json.loads(body)["request_id"] == fields["x-request-id"] == "r-1"
        assert fields["x-model-version"] == "3.1,3.2"
        assert fields["server-timing"] == "queue;dur=4.600, compute;dur=0.400", "of the slowest part"

    run(scenario())


def test_each_row_is_decided_by_the_threshold_of_the_version_that_answered(run):
    async def scenario():
        it = It()
        answer = it.batch("a", "b", "c")
        stable, canary = it.job(answer, [0, 1]), it.job(answer, [2], is_canary=True)
        stable.version = replace(stable.version, decision_threshold=0.2)
        answer.answered(stable, [0.25, 0.125], 400, 10.003)
        answer.answered(canary, [0.5], 300, 10.005)  # gives probabilities only
        rows = json.loads(it.reply()[1])["predictions"]
        assert [row.get("churn") for row in rows] == [True, False, None]
        assert list(rows[0]) == ["customer_id", "churn_probability", "churn", "model", "version"]
        assert "churn" not in rows[2]

    run(scenario())


def test_one_failed_part_fails_the_request_once(run):
    async def scenario():
        it = It()
        answer = it.batch("a", "b", "c")
        answer.answered(it.job(answer, [0]), [0.5], 1, 10.0)
        for position in (1, 2):
            answer.failed(it.job(answer, [position]), OverloadedError("busy"))
        assert it.transport.statuses == [503]
        assert it.refusals.counts == {("churn", 503, "OverloadedError"): 1}

    run(scenario())


def test_one_row_has_its_times_in_microseconds(run):
    async def scenario():
        it = It()
        answer = SingleAnswer(it.endpoint, "a", b"", b"r-1", it.exchange, it.front)
        answer.answered(it.job(answer, [0]), [0.5], 700, 10.0025)
        fields, body = it.reply()
        assert fields["server-timing"] in {"queue;dur=1.800, compute;dur=0.700", "queue;dur=1.799, compute;dur=0.700"}
        assert json.loads(body)["customer_id"] == "a"

    run(scenario())
