"""Look-ups: each customer once, many in a query, and few in a turn of the loop."""

from __future__ import annotations

import asyncio

import pytest

from divisions.errors import OnlineStoreError
from divisions.online_store import OnlineRow
from divisions.online_writer import OnlineStoreWriter
from router.predict.stored_features import KEYS_PER_TURN, SLICE_KEYS, LookUp, StoredFeatures
from tests.router.gateway_world import minutes_score, world


class FakeStore:
    def __init__(self) -> None:
        self.queries: list[int] = []
        self.error: Exception | None = None

    def get_many(self, keys):
        self.queries.append(len(keys))
        if self.error is not None:
            raise self.error
        return {key: (key, key.encode(), 1.0) for key in keys if key != "unknown"}


class Recorder(LookUp):
    def __init__(self, keys) -> None:
        super().__init__("churn", keys)
        self.results: dict[str, bytes | None] = {}
        self.end = ""
        self.ended_with: Exception | None = None

    def found(self, key, stored):
        self.results[key] = stored and stored[1]

    def complete(self):
        self.end += "complete"

    def failed(self, error):
        self.end += "failed"
        self.ended_with = error


def keys(number, prefix="c"):
    return [f"{prefix}-{each}" for each in range(number)]


def test_a_few_customers_are_looked_up_at_once_in_one_query(run):
    async def scenario():
        store = FakeStore()
        look_up = Recorder([*keys(3), "unknown"])
        StoredFeatures(lambda endpoint: store).look_up(look_up)
        assert look_up.end == "complete"
        assert look_up.results == {"c-0": b"c-0", "c-1": b"c-1", "c-2": b"c-2", "unknown": None}
        assert store.queries == [4]

    run(scenario())


def test_a_turn_of_the_loop_looks_up_no_more_than_its_share_and_serves_all_in_turns(run):
    async def scenario():
        store = FakeStore()
        stored = StoredFeatures(lambda endpoint: store)
        greedy = [Recorder(keys(4_096, f"g{number}")) for number in range(8)]
        for each in greedy:
            stored.look_up(each)
        assert sum(store.queries) == KEYS_PER_TURN
        good = Recorder(["good"])
        stored.look_up(good)
        turns = 0
        while not good.end:
            before = sum(store.queries)
            await asyncio.sleep(0)
            turns += 1
            assert sum(store.queries) - before <= KEYS_PER_TURN
        assert turns <= 1 + 9 * SLICE_KEYS / KEYS_PER_TURN, "one slice of each of the others at most"
        while not all(each.end for each in greedy):
            await asyncio.sleep(0)
        assert {each.end for each in greedy} == {"complete"}
        assert all(len(each.results) == 4_096 for each in greedy)

    run(scenario())


def test_a_caller_that_leaves_costs_no_more_look_ups(run):
    async def scenario():
        store = FakeStore()
        stored = StoredFeatures(lambda endpoint: store)
        leaving, staying = Recorder(keys(1_000)), Recorder(keys(1_000, "s"))
        stored.look_up(leaving)
        stored.look_up(staying)
        leaving.cancel()
        while not staying.end:
            await asyncio.sleep(0)
        assert leaving.end == ""
        assert sum(store.queries) <= KEYS_PER_TURN + 1_000

    run(scenario())


@pytest.mark.parametrize(
    ("error", "kind"), [(OnlineStoreError("damaged"), "OnlineStoreError"), (ValueError("bug"), "DivisionsError")]
)
def test_every_request_ends_when_the_store_fails(run, error, kind):
    async def scenario():
        store = FakeStore()
        stored = StoredFeatures(lambda endpoint: store)
        waiting = [Recorder(keys(500, f"{number}")) for number in range(3)]
        for each in waiting:
            stored.look_up(each)
        store.error = error
        for _ in range(10):
            await asyncio.sleep(0)
        assert [each.end for each in waiting] == ["failed"] * 3
        assert {type(each.ended_with).__name__ for each in waiting} == {kind}
        store.error = None
        later = Recorder(keys(1))
        stored.look_up(later)
        assert later.end == "complete"

    run(scenario())


def write(it, *customers, **changes):
    stored = {"minutes": 70, "plan": "gold", "abroad": None, "state": "KS"} | changes
    OnlineStoreWriter(it.folder / "online.db", "churn").upsert([OnlineRow(each, 1.0, stored) for each in customers])


def test_a_batch_of_customers_is_answered_in_its_order_also_with_repeats(run):
    async def scenario():
        async with world() as it:
            await it.route([await it.replica("3.1", minutes_score)])
            write(it, *keys(200))
            write(it, "other", minutes=30)
            instances = [{"customer_id": key} for key in [*keys(200), "c-0", "other", "c-0"]]
            features = {"minutes": 5, "plan": None, "abroad": None}
            reply = await it.predict({"instances": [*instances, {"customer_id": "c-0", "features": features}]})
            scores = [row["churn_probability"] for row in reply.json["predictions"]]
            assert scores == pytest.approx([0.07] * 201 + [0.03, 0.07, 0.005])
            missing = await it.predict({"instances": [*instances, {"customer_id": "nobody"}]})
            assert (missing.status, missing.json["code"]) == (404, "UnknownEntityError")

    run(scenario())


def test_a_batch_that_cannot_be_answered_in_time_is_refused_before_its_look_ups(run):
    async def scenario():
        async with world() as it:
            await it.route([await it.replica("3.1", minutes_score)])
            reply = await it.predict({"instances": [{"customer_id": "nobody"}] * 4_096})
            assert (reply.status, reply.json["code"]) == (503, "OverloadedError")
            assert int(reply.headers["retry-after"]) >= 1

    run(scenario())


def test_a_column_that_changed_its_kind_in_the_store_is_still_served(run):
    async def scenario():
        async with world() as it:
            await it.route([await it.replica("3.1", minutes_score)])
            write(it, "text", minutes="408")
            write(it, "flag", abroad="true", plan=415)
            write(it, "bad", minutes="a lot")
            assert (await it.predict({"customer_id": "text"})).json["churn_probability"] == pytest.approx(0.408)
            assert (await it.predict({"customer_id": "flag"})).status == 200
            for _ in range(2):
                reply = await it.predict({"customer_id": "bad"})
                assert (reply.status, reply.json["code"]) == (422, "StoredFeaturesError")
            assert "'minutes'" in reply.json["detail"]
            assert "a lot" not in reply.json["detail"]
            (metrics,) = await it.raw(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n")
            count = 'divisions_refused_total{code="StoredFeaturesError",endpoint="churn",gateway="0",status="422"} 2.0'
            assert count in metrics.body.decode()

    run(scenario())


def test_a_damaged_store_is_told_without_its_path(run):
    async def scenario():
        async with world() as it:
            await it.route([await it.replica("3.1", minutes_score)])
            (it.folder / "online.db").write_bytes(b"no database at all" * 100)
            reply = await it.predict({"customer_id": "c"})
            assert (reply.status, reply.json["code"]) == (503, "OnlineStoreError")
            assert str(it.folder) not in reply.body.decode()
            assert ".db" not in reply.body.decode()

    run(scenario())
