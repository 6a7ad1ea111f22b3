"""The prediction log of a real gateway and its writer: what was answered is in the files, and gives the same scores."""

import asyncio

import msgspec
import numpy as np
import pyarrow.parquet as pq
import pytest

from divisions.prediction_log import LogPolicy, hash_key, pseudonym
from tests.router.gateway_world import features, post, world
from tests.router.oip.oip_requests import INFER, binary, echo, encoded, feature_tensors, rows_tensor

ALL = LogPolicy(10_000)


def read(home) -> list[dict]:
    rows = pq.read_table(home / "predictions" / "churn").to_pylist()
    return sorted(rows, key=lambda row: (row["request_id"] or "", row["row"]))


async def written(it) -> None:
    """Ends the log and waits for its writer, which a busy machine may keep longer than a gateway's end does."""
    await it.gateway._log.close()
    for _ in range(6_000):
        if it.gateway._log._writer._process.poll() is not None:
            return
        await asyncio.sleep(0.01)
    raise AssertionError("the writer does not end")


def logged(scenario, log: LogPolicy = ALL, **route) -> list[dict]:
    """Runs a scenario; returns the rows of the log after the gateway's end."""
    rows: list[dict] = []

    async def running():
        async with world(channel_token=b"token") as it:
            (it.folder / "channel_token").write_bytes(b"token")
            patch.setenv("DIVISIONS_HOME", str(it.folder))
            canary = [await it.replica("3.2", echo)] if route else None
            await it.route([await it.replica("3.1", echo)], canary, log=log, **route)
            await scenario(it)
            await written(it)
            rows.extend(read(it.folder))

    async def bounded():
        await asyncio.wait_for(running(), 100)

    with pytest.MonkeyPatch.context() as patch:
        asyncio.run(bounded())
    return rows


def test_every_form_of_request_is_logged_and_its_rows_give_the_same_scores_again():
    answers: dict[str, list[float]] = {}

    async def scenario(it):
        one = {"customer_id": "c-1", "features": features(3.3)}
        reply = await it.predict(one, "X-Request-Id: one")
        answers["one"] = [reply.json["churn_probability"]]
        batch = {
            "instances": [
                {"features": features(5.0, "platinum", None)},
                {"customer_id": 7, "features": features(None, None)},
            ]
        }
        reply = await it.predict(batch, "X-Request-Id: two")
        answers["two"] = [each["churn_probability"] for each in reply.json["predictions"]]
        (reply,) = await it.raw(
            post({"id": "three", "inputs": feature_tensors([1, 2], ["basic", "gold"], [True, False])}, path=INFER)
        )
        answers["three"] = reply.json["outputs"][0]["data"]
        rows_NF = encoded(20)
        (reply,) = await it.raw(binary({"id": "four", "inputs": [rows_tensor(rows_NF)]}, rows_NF.tobytes()))
        answers["four"] = reply.json["outputs"][0]["data"]
        (reply,) = await it.raw(
            post(b"125,gold,true\n250,,\n", "Content-Type: text/csv", "X-Request-Id: five", path="/invocations")
        )
        answers["five"] = [float(line) for line in reply.body.split()]
        tester = await it.predict(one, "X-Request-Id: six", "X-Divisions-Version: 3.1", "Authorization: Bearer secret")
        assert tester.status == 200
        refused = await it.predict({"features": {"minutes": "many"}}, "X-Request-Id: seven")
        assert refused.status == 422
        # The log's own rows, asked again as they stand there.
        await written(it)
        for row in read(it.folder):
            again = await it.predict({"features": row["features"]})
            # A sum of floats may differ in its last bit with the size of its batch.
            np.testing.assert_allclose(again.json["churn_probability"], row["score"], rtol=1e-6, err_msg=str(row))

    rows = logged(scenario)
    found = {}
    for row in rows:
        found.setdefault(row["request_id"], []).append(row["score"])
        assert (row["model"], row["version"]) == ("churn-predictor", "3.1")
    assert found.keys() == answers.keys(), "neither the tester's nor what was refused, nor what came after its end"
    for name, scores in answers.items():
        np.testing.assert_allclose(found[name], scores, rtol=1e-6)
    assert {row["request_id"]: row["entity"] for row in rows if row["entity"]} == {"one": "c-1", "two": "7"}
    assert [row["row"] for row in rows if row["request_id"] == "four"] == list(range(20))
    assert next(row for row in rows if row["request_id"] == "one")["features"]["plan"] == "gold"


def test_each_version_is_logged_as_itself_and_the_counts_are_told():
    async def scenario(it):
        for number in range(40):
            reply = await it.predict({"customer_id": f"c-{number}", "features": features(1.0)})
            assert reply.status == 200
        for _ in range(6_000):
            if sum(count.kept for count in it.gateway._log.counts()) == 40:
                break
            await asyncio.sleep(0.01)
        (metrics,) = await it.raw(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n")
        text = metrics.body.decode()
        lines = [line for line in text.splitlines() if line.startswith("divisions_prediction_log_rows_total{")]
        assert sum(float(line.rpartition(" ")[2]) for line in lines) == 40
        assert (
            'divisions_prediction_log_lost_rows_total{endpoint="churn",gateway="0",reason="buffer",version="3.1"} 0.0'
            in text
        )

    rows = logged(scenario, canary_bp=5_000)
    assert len(rows) == 40
    assert {row["version"] for row in rows} == {"3.1", "3.2"}


def test_what_must_not_be_logged_is_not():
    async def scenario(it):
        await it.predict({"customer_id": "c-1", "features": features(3.0)}, "X-Request-Id: secret-id")

    policy = msgspec.structs.replace(ALL, hash=("customer_id",), leave_out=("minutes", "request_id"))
    (row,) = logged(scenario, policy)
    assert row["entity"] == pseudonym(hash_key(b"token"), "c-1")
    assert row["request_id"] is None
    assert row["features"] == {"plan": "gold", "abroad": True}
