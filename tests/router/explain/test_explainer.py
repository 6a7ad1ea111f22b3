"""Explanations over real sockets: what callers see."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest

from divisions.control import OnlinePolicy
from divisions.online_store import OnlineRow
from divisions.online_writer import OnlineStoreWriter
from divisions.schema import Feature, FeatureKind, FeatureSchema
from router.evidence.drift import FeatureBins, InputBins
from router.explain.contributions import log_odds
from tests.router.explain.explained import PATH, REFERENCE, adds_up, ask, logistic, ready
from tests.router.gateway_world import features, post, read_reply, world


def test_of_a_linear_model_contributions_are_coefficients_times_differences(run):
    async def scenario():
        async with world() as it:
            await ready(it, await it.replica("3.1", logistic(), max_batch=64))
            plain = await it.predict({"customer_id": "c-1", "features": features(6.0, "gold", True)}, "X-Request-Id: r")
            reply = await ask(it, {"customer_id": "c-1", "features": features(6.0, "gold", True)}, "X-Request-Id: r")
            assert reply.status == 200
            found = reply.json
            explanation = found.pop("explanation")
            assert found == plain.json
            assert reply.headers["x-model-version"] == "3.1"
            assert reply.headers["server-timing"].startswith("queue;dur=")
            assert explanation["scale"] == "log_odds"
            assert explanation["score"] == pytest.approx(log_odds(found["churn_probability"]), abs=1e-5)
            assert explanation["reference"] == pytest.approx(-1.0 + 0.5 + 1.5, abs=1e-5)
            shown = [(each["feature"], each["value"], each["reference"]) for each in explanation["contributions"]]
            assert shown == [("plan", "gold", "basic"), ("minutes", 6.0, 2.0), ("abroad", True, False)]
            effects = [each["contribution"] for each in explanation["contributions"]]
            assert effects == pytest.approx([1.5, 1.0, -0.75], abs=1e-4)
            assert explanation["joint"] == pytest.approx(0.0, abs=1e-4)
            assert adds_up(explanation)

    run(scenario())


def test_top_limits_the_features_and_the_rest_is_summed(run):
    async def scenario():
        async with world() as it:
            await ready(it, await it.replica("3.1", logistic(), max_batch=64))
            body = {"features": features(6.0, "gold", True)}
            reply = await ask(it, body, path=PATH + "&top=1")
            explanation = reply.json["explanation"]
            assert [each["feature"] for each in explanation["contributions"]] == ["plan"]
            assert explanation["others"] == pytest.approx(0.25, abs=1e-4)
            assert adds_up(explanation)
            assert "explanation" not in (await ask(it, body, path="/api/v2/predict/churn?explain=false&top=3")).json
            assert "explanation" not in (await ask(it, body, path="/api/v2/predict/churn?other=1")).json

    run(scenario())


def test_unknown_and_missing_values_are_shown_as_they_came(run):
    async def scenario():
        async with world() as it:
            await ready(it, await it.replica("3.1", logistic(), max_batch=64))
            reply = await ask(it, {"features": features(None, "<b>платина</b>", False)})
            by_name = {each["feature"]: each for each in reply.json["explanation"]["contributions"]}
            assert by_name["minutes"] == {
                "feature": "minutes",
                "value": None,
                "reference": 2.0,
                "contribution": pytest.approx(0.0, abs=1e-6),
            }
            assert by_name["plan"]["value"] == "<b>платина</b>"
            assert by_name["plan"]["contribution"] == pytest.approx(-1.5, abs=1e-4)
            assert set(by_name) == {"minutes", "plan"}  # in `abroad` the customer is as the reference
            same = (await ask(it, {"features": REFERENCE})).json["explanation"]
            assert (same["contributions"], same["others"], same["joint"]) == ([], 0, 0.0)

    run(scenario())


def test_rows_of_a_batch_go_where_the_split_sends_them_and_each_version_explains_its_own(run):
    async def scenario():
        async with world() as it:
            stable, canary = await it.replica("3.1", logistic()), await it.replica("3.2", logistic(minutes=0.5))
            await ready(it, stable, canary=[canary], canary_bp=5_000)
            instances = [{"customer_id": f"c-{n}", "features": features(6.0)} for n in range(32)]
            reply = await ask(it, {"instances": instances})
            assert reply.status == 200
            plain = (await it.predict({"instances": instances})).json["predictions"]
            found = reply.json["predictions"]
            assert [each["version"] for each in found] == [each["version"] for each in plain]
            assert {each["version"] for each in found} == {"3.1", "3.2"}
            assert reply.headers["x-model-version"] == "3.1,3.2"
            for each in found:
                minutes = next(part for part in each["explanation"]["contributions"] if part["feature"] == "minutes")
                coefficient = 0.25 if each["version"] == "3.1" else 0.5
                assert minutes["contribution"] == pytest.approx(4 * coefficient, abs=1e-3)
                assert adds_up(each["explanation"])

    run(scenario())


def test_features_of_the_online_store_are_explained(run):
    async def scenario():
        async with world() as it:
            await ready(it, await it.replica("3.1", logistic()), online=OnlinePolicy())
            row = OnlineRow("c-1", 1.0, {"minutes": 6.0, "plan": "basic", "abroad": False})
            OnlineStoreWriter(it.folder / "online.db", "churn").upsert([row])
            found = (await ask(it, {"customer_id": "c-1"})).json
            assert found["features_as_of"] == "1970-01-01T00:00:01Z"
            assert [each["feature"] for each in found["explanation"]["contributions"]] == ["minutes"]
            assert (await ask(it, {"customer_id": "c-2"})).status == 404

    run(scenario())


@pytest.mark.parametrize(
    ("query", "detail"),
    [
        ("explain=2", "`explain` must be true or false"),
        ("explain", "`explain` must be true or false"),
        ("explain=TRUE", "`explain` must be true or false"),
        ("explain=true&explain=true", "`explain` twice"),
        ("explain=true&top=0", "from 1 to 1000"),
        ("explain=true&top=1001", "from 1 to 1000"),
        ("explain=true&top=-1", "from 1 to 1000"),
        ("explain=true&top=1e3", "from 1 to 1000"),
        ("explain=true&top=%D9%A3", "from 1 to 1000"),
        ("top=2&top=2", "`top` twice"),
        ("explain=%74rue%00", "`explain` must be true or false"),
    ],
)
def test_a_query_that_makes_no_sense_is_refused(run, query, detail):
    async def scenario():
        async with world() as it:
            await it.route([await it.replica("3.1", logistic())])
            reply = await ask(it, {"features": features()}, path=f"/api/v2/predict/churn?{query}")
            assert reply.status == 400
            assert detail in reply.json["detail"]

    run(scenario())


def test_more_rows_than_may_be_explained_are_refused_before_anything_is_looked_up(run):
    async def scenario():
        async with world() as it:
            await ready(it, await it.replica("3.1", logistic()))
            reply = await ask(it, {"instances": [{"customer_id": f"c-{n}"} for n in range(1_000)]})
            assert reply.status == 422
            assert "1000 rows are more than the 32" in reply.json["detail"]
            assert it.gateway.dispatcher.endpoints["churn"].state.stored.missing_refused == 0

    run(scenario())


def test_without_the_training_reference_a_request_is_refused_and_works_once_it_is_here(run):
    async def scenario():
        async with world() as it:
            await it.route([await it.replica("3.1", logistic())])
            reply = await ask(it, {"features": features()})
            assert (reply.status, reply.json["code"], reply.headers["retry-after"]) == (503, "NoReferenceError", "2")
            assert (await it.predict({"features": features()})).status == 200
            await ready(it, await it.replica("3.1", logistic()))
            assert (await ask(it, {"features": features()})).status == 200

    run(scenario())


def test_a_version_that_the_caller_names_explains(run):
    async def scenario():
        async with world() as it:
            stable, canary = await it.replica("3.1", logistic()), await it.replica("3.2", logistic())
            await ready(it, stable, canary=[canary], canary_bp=0)
            headers = ("X-Divisions-Version: 3.2", "Authorization: Bearer secret")
            assert (await ask(it, {"features": features()}, *headers)).json["version"] == "3.2"
            assert (await ask(it, {"features": features()}, headers[0])).status == 401

    run(scenario())


def test_many_columns_are_explained_in_portions(run):
    wide = FeatureSchema(tuple(Feature(f"f{n}", FeatureKind.NUMERIC) for n in range(300)))

    def score(rows_NF):
        return (1 / (1 + np.exp(-rows_NF.astype(np.float64).sum(axis=1) / 100))).astype(np.float32)

    async def scenario():
        async with world() as it:
            await it.route([await it.replica("3.1", score, columns=300)], schema=wide)
            await it.know_training_data(
                InputBins(tuple(FeatureBins(feature, (1, 1, 0), (0.0,), 0.0) for feature in wide.features))
            )
            row = {f"f{n}": float(n % 7) for n in range(300)}
            found = (await ask(it, {"features": row}, path=PATH + "&top=1000")).json["explanation"]
            assert len(found["contributions"]) == sum(n % 7 > 0 for n in range(300))
            for each in found["contributions"]:
                assert each["contribution"] == pytest.approx(each["value"] / 100, abs=2e-4)
            assert adds_up(found)

    run(scenario())


def test_explanations_are_no_evidence_in_a_rollout(run):
    async def scenario():
        async with world() as it:
            stable, canary = await it.replica("3.1", logistic()), await it.replica("3.2", logistic())
            await ready(it, stable, canary=[canary], canary_bp=5_000)
            for n in range(6):
                assert (await ask(it, {"customer_id": f"c-{n}", "features": features()})).status == 200
            assert all(version.requests == 0 for entry in it.told() for version in entry.versions)

    run(scenario())


def test_pipelined_explanations_are_answered_in_order(run):
    async def scenario():
        async with world() as it:
            await ready(it, await it.replica("3.1", logistic()))
            reader, writer = await asyncio.open_connection("127.0.0.1", it.port)
            bodies = [{"customer_id": f"c-{n}", "features": features(float(n))} for n in range(6)]
            writer.write(b"".join(post(body, path=PATH if n % 2 else PATH[:23]) for n, body in enumerate(bodies)))
            found = [await read_reply(reader) for _ in bodies]
            assert [each.json["customer_id"] for each in found] == [f"c-{n}" for n in range(6)]
            assert ["explanation" in each.json for each in found] == [False, True] * 3
            writer.close()

    run(scenario())
