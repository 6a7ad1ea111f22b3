"""Customers by their id: how old their features are, and what becomes of old and unknown ones."""

from __future__ import annotations

import datetime as dt
import math
import struct

import msgspec
import numpy as np
import pytest

from divisions.clock import SystemClock
from divisions.control import OnlinePolicy
from divisions.online_store import OnlineRow
from divisions.online_writer import OnlineStoreWriter
from router.predict.customer_look_up import DEFAULT, FRESH, STALE, Notes, utc_text
from tests.router.gateway_world import minutes_score, post, world

DAY_S = 86_400.0
OLD_S = dt.datetime(2025, 1, 14, 7, 30, tzinfo=dt.UTC).timestamp()
OLD = "2025-01-14T07:30:00Z"
COUNT = 'divisions_stored_features_total{{answer="{1}",endpoint="churn",features="{0}",gateway="0"}} {2}'


def score(rows_NF: np.ndarray) -> np.ndarray:
    """A thousandth of the minutes; 0.5 if they are missing."""
    return np.where(np.isnan(rows_NF[:, 0]), 0.5, rows_NF[:, 0] / 1000).astype(np.float32)


def store(it, **minutes_by_customer) -> str:
    """Stores customers: those whose name begins with ``old`` as of `OLD`, others as of now; returns that time."""
    now_s = math.floor(SystemClock().wall_s())
    rows = [
        OnlineRow(
            name, OLD_S if name.startswith("old") else now_s, {"minutes": minutes, "plan": "gold", "abroad": None}
        )
        for name, minutes in minutes_by_customer.items()
    ]
    OnlineStoreWriter(it.folder / "online.db", "churn").upsert(rows)
    return utc_text(now_s)


def infer(names: list, datatype: str = "BYTES", **more: object) -> bytes:
    tensor = {"name": "customer_id", "datatype": datatype, "shape": [len(names)], "data": names}
    path = "/v2/models/churn/infer"
    return post({"inputs": [tensor], **more}, "Content-Type: application/json", path=path)


async def counted(it) -> str:
    (reply,) = await it.raw(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n")
    return reply.body.decode()


def test_an_answer_by_id_says_how_old_the_features_are(run):
    async def scenario():
        async with world() as it:
            await it.route([await it.replica("3.1", score)])
            now = store(it, old=70, new=30)
            reply = await it.predict({"customer_id": "old"})
            assert reply.body.startswith(b'{"customer_id":"old","features_as_of":"2025-01-14T07:30:00Z","churn_prob')
            assert reply.json["churn_probability"] == pytest.approx(0.07)
            features = {"minutes": 5, "plan": None, "abroad": None}
            sent = {"customer_id": "old", "features": features}
            assert "features_as_of" not in (await it.predict(sent)).json
            batch = await it.predict({"instances": [{"customer_id": "new"}, sent, {"customer_id": "old"}]})
            assert [row.get("features_as_of") for row in batch.json["predictions"]] == [now, None, OLD]
            (tensors,) = await it.raw(infer(["new", "old", "new"]))
            assert tensors.json["outputs"][0]["data"] == pytest.approx([0.03, 0.07, 0.03])
            assert tensors.json["parameters"] == {"features_as_of": OLD, "features_stale": 0, "features_default": 0}
            assert COUNT.format("fresh", "stored", 5.0) in await counted(it)

    run(scenario())


@pytest.mark.parametrize("customer", [15634602, 15634602.0, "15634602", 2**63 + 1])
def test_whole_numbers_find_their_customer(run, customer):
    async def scenario():
        async with world() as it:
            await it.route([await it.replica("3.1", score)])
            name = str(int(customer))
            store(it, **{name: 70})
            one = (await it.predict({"customer_id": customer})).json
            assert (one["customer_id"], one["churn_probability"]) == (name, pytest.approx(0.07))
            batch = await it.predict({"instances": [{"customer_id": customer}, {"customer_id": name}]})
            assert [row["customer_id"] for row in batch.json["predictions"]] == [name, name]
            if not isinstance(customer, float):
                datatype = "BYTES" if isinstance(customer, str) else "UINT64"
                (reply,) = await it.raw(infer([customer], datatype))
                assert reply.json["outputs"][0]["data"] == pytest.approx([0.07])

    run(scenario())


def test_ids_as_raw_tensors_find_their_customers(run):
    async def scenario():
        async with world() as it:
            await it.route([await it.replica("3.1", score)])
            store(it, **{"7": 70, "-8": 80})
            for datatype, raw in (
                ("INT64", struct.pack("<2q", 7, -8)),
                ("INT8", struct.pack("<2b", 7, -8)),
                ("BYTES", b"\x01\0\0\x007\x02\0\0\0-8"),
            ):
                tensor = {"name": "customer_id", "datatype": datatype, "shape": [2, 1]}
                head = msgspec.json.encode({"inputs": [tensor | {"parameters": {"binary_data_size": len(raw)}}]})
                header = f"Inference-Header-Content-Length: {len(head)}"
                (reply,) = await it.raw(post(head + raw, header, path="/v2/models/churn/infer"))
                assert reply.json["outputs"][0]["data"] == pytest.approx([0.07, 0.08])

    run(scenario())


@pytest.mark.parametrize(
    ("tensor", "why"),
    [
        ({"datatype": "FP64", "shape": [1], "data": [7.0]}, "must be BYTES or whole numbers"),
        ({"datatype": "BOOL", "shape": [1], "data": [True]}, "must be BYTES or whole numbers"),
        ({"datatype": "INT8", "shape": [1], "data": [300]}, "beyond its datatype"),
        ({"datatype": "INT64", "shape": [1], "data": [7.5]}, "not an array of the datatype"),
        ({"datatype": "INT64", "shape": [2], "data": [7, None]}, "an id that is missing"),
        ({"datatype": "BYTES", "shape": [1], "data": [""]}, "an id that is missing"),
        ({"datatype": "BYTES", "shape": [1], "data": ["c" * 257]}, "more than 256 characters"),
        ({"datatype": "BYTES", "shape": [1, 2], "data": ["a", "b"]}, "must have the shape [N]"),
        ({"datatype": "BYTES", "shape": [0], "data": []}, "no rows"),
        ({"datatype": "INT64", "shape": [5000], "data": []}, "at most 4096 rows"),
    ],
)
def test_ids_that_are_none_are_refused_by_the_name_of_the_entity(run, tensor, why):
    async def scenario():
        async with world() as it:
            await it.route([await it.replica("3.1", score)])
            store(it, new=30)
            request = {"inputs": [{"name": "customer_id", **tensor}]}
            (reply,) = await it.raw(post(request, path="/v2/models/churn/infer"))
            assert (reply.status, reply.json["code"]) == (400, "InvalidFeaturesError")
            assert why in reply.json["detail"]
            assert "customer_id" in reply.json["detail"] or "rows" in reply.json["detail"]

    run(scenario())


def test_a_customer_has_one_version_here_and_there(run):
    async def scenario():
        async with world() as it:
            await it.route([await it.replica("3.1", score)], [await it.replica("3.2", score)], 5_000)
            store(it, **{str(number): 1 for number in range(30)})
            seen = set()
            for number in range(30):
                version = (await it.predict({"customer_id": number})).json["version"]
                (reply,) = await it.raw(infer([number], "INT64"))
                assert reply.json["model_version"] == version
                (named,) = await it.raw(infer([number], "INT64").replace(b"/churn/infer", b"/churn/versions/3.2/infer"))
                assert named.json["model_version"] == "3.2"
                seen.add(version)
            assert seen == {"3.1", "3.2"}

    run(scenario())


def test_an_unknown_customer_is_refused_with_its_place(run):
    async def scenario():
        async with world() as it:
            await it.route([await it.replica("3.1", score)])
            store(it, new=30)
            one = await it.predict({"customer_id": "nobody"})
            many = await it.predict({"instances": [{"customer_id": "new"}, {"customer_id": "nobody"}]})
            (tensors,) = await it.raw(infer(["new", "new", "nobody"]))
            for reply, place in ((one, "the online"), (many, "`instances[1]`: the online"), (tensors, "row 2: the")):
                assert (reply.status, reply.json["code"]) == (404, "UnknownEntityError")
                assert reply.json["detail"].startswith(place)
                assert "for this customer_id" in reply.json["detail"]
                assert "nobody" not in reply.json["detail"]
            assert COUNT.format("missing", "refused", 3.0) in await counted(it)

    run(scenario())


def test_an_unknown_customer_may_be_answered_with_every_feature_missing(run):
    async def scenario():
        async with world() as it:
            await it.route([await it.replica("3.1", score)], online=OnlinePolicy(on_missing="default"))
            now = store(it, new=30)
            one = (await it.predict({"customer_id": "nobody"})).json
            assert one["churn_probability"] == pytest.approx(0.5)
            assert (one["features_as_of"], one["features_status"]) == (None, "default")
            batch = (await it.predict({"instances": [{"customer_id": "nobody"}, {"customer_id": "new"}]})).json
            told = [(row["features_as_of"], row.get("features_status")) for row in batch["predictions"]]
            assert told == [(None, "default"), (now, None)]
            (reply,) = await it.raw(infer(["nobody"]))
            assert reply.json["outputs"][0]["data"] == pytest.approx([0.5])
            assert reply.json["parameters"] == {"features_as_of": None, "features_stale": 0, "features_default": 1}
            assert COUNT.format("missing", "default", 3.0) in await counted(it)

    run(scenario())


@pytest.mark.parametrize(
    ("on_stale", "probability", "status", "parameters"),
    [("serve", 0.07, "stale", (1, 0)), ("default", 0.5, "default", (0, 1))],
)
def test_stale_features_are_served_or_left_out_and_the_answer_says_so(run, on_stale, probability, status, parameters):
    async def scenario():
        async with world() as it:
            policy = OnlinePolicy(max_age_s=45 * DAY_S, on_stale=on_stale)
            await it.route([await it.replica("3.1", score)], online=policy)
            store(it, old=70, new=30)
            reply = (await it.predict({"customer_id": "old"})).json
            assert reply["churn_probability"] == pytest.approx(probability)
            assert (reply["features_as_of"], reply["features_status"]) == (OLD, status)
            assert "features_status" not in (await it.predict({"customer_id": "new"})).json
            (tensors,) = await it.raw(infer(["new", "old"]))
            stale, default = parameters
            assert tensors.json["parameters"] == {
                "features_as_of": OLD, "features_stale": stale, "features_default": default,
            }  # fmt: skip
            answer = "stored" if on_stale == "serve" else "default"
            assert COUNT.format("stale", answer, 2.0) in await counted(it)

    run(scenario())


def test_stale_features_may_be_refused(run):
    async def scenario():
        async with world() as it:
            policy = OnlinePolicy(max_age_s=45 * DAY_S, on_missing="default", on_stale="error")
            await it.route([await it.replica("3.1", score)], online=policy)
            store(it, old=70)
            one = await it.predict({"customer_id": "old"})
            (tensors,) = await it.raw(infer(["old"]))
            for reply in (one, tensors):
                assert (reply.status, reply.json["code"]) == (404, "StaleFeaturesError")
                assert f"for this customer_id are of {OLD}, which is more than 45 days ago" in reply.json["detail"]
            sent = {"customer_id": "old", "features": {"minutes": 5, "plan": None, "abroad": None}}
            assert (await it.predict(sent)).status == 200
            assert COUNT.format("stale", "refused", 2.0) in await counted(it)

    run(scenario())


def test_an_empty_store_is_an_error_whatever_the_policy_says(run):
    async def scenario():
        async with world() as it:
            await it.route([await it.replica("3.1", minutes_score)], online=OnlinePolicy(on_missing="default"))
            assert (await it.predict({"customer_id": "c"})).json["code"] == "OnlineStoreError"

    run(scenario())


def test_notes_are_json_members_whatever_the_time_is():
    notes = Notes()
    for at_s, text in ((0.25, '"1970-01-01T00:00:00.250000Z"'), (math.nan, "null"), (1e18, "null"), (-1e18, "null")):
        assert notes.of(at_s, FRESH) == f',"features_as_of":{text}'.encode()
        assert notes.of(at_s, STALE) == f',"features_as_of":{text},"features_status":"stale"'.encode()
        assert notes.of(at_s, DEFAULT) == f',"features_as_of":{text},"features_status":"default"'.encode()
    for number in range(3_000):
        assert notes.of(float(number), FRESH).endswith(b'Z"')
    assert len(notes._known) <= 1_024
