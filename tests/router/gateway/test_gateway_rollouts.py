"""The gateway's part in rollouts: its breaker, its books on the split, copies of requests, and testers' choice."""

from __future__ import annotations

import asyncio

import pytest

from divisions.reports import VersionReport
from router.evidence import salts, split
from tests.router.gateway_world import World, features, minutes_score, post, world
from tests.router.waiting import until

TOKEN = "Authorization: Bearer secret"


def broken(rows_NF):
    """Survives the warm-up's empty rows, and nothing else."""
    if rows_NF.any():
        raise ValueError("broken")
    return rows_NF[:, 0]


async def ask(it: World, number: int, customers: int = 10_000) -> list[str]:
    """Sends that many requests of as many customers; returns the versions that answered."""
    versions = []
    for start in range(0, number, 20):
        some = [
            it.predict({"customer_id": f"c-{n % customers}", "features": features(float(n))})
            for n in range(start, min(start + 20, number))
        ]
        replies = await asyncio.gather(*some)
        assert {reply.status for reply in replies} == {200}
        versions += [reply.json["version"] for reply in replies]
    return versions


def requests_of(it: World, app_name: str) -> list[VersionReport]:
    return [version for entry in it.told() for version in entry.versions if version.app_name == app_name]


# ---- breaker ----------------------------------------------------------------------------------------------------


def test_a_gateway_that_sees_its_canary_fail_sends_it_nothing_more_by_itself(run):
    async def scenario():
        async with world() as it:
            stable, canary = await it.replica("3.1", minutes_score), await it.replica("3.2", broken)
            await it.route([stable], [canary], 5_000)
            it.link.is_away = True  # The controller is dead: nobody else would stop it.
            endpoint = it.gateway.dispatcher.endpoints["churn"]
            asked = 0
            while endpoint.threshold and asked < 400:
                assert set(await ask(it, 20)) == {"3.1"}  # what the canary fails, stable answers
                await asyncio.sleep(0.011)
                asked += 20
            assert endpoint.threshold == 0
            assert asked < 200
            trip = next(entry.trip for entry in it.told() if entry.trip is not None)
            assert (trip.app_name, trip.salt) == ("churn-predictor-v3.2", "salt")
            assert trip.log_e >= trip.threshold
            assert trip.canary_errors >= 10 > trip.stable_errors

    run(scenario())


def test_a_tripped_breaker_stays_so_for_its_rollout_and_not_for_the_next(run):
    async def scenario():
        async with world() as it:
            stable, canary = await it.replica("3.1", minutes_score), await it.replica("3.2", minutes_score)
            await it.route([stable], [canary], 2_000)
            monitor = it.gateway.dispatcher.endpoints["churn"].state.monitor
            monitor.breaker.is_tripped = True
            await it.route([stable], [canary], 5_000)  # A table that does not know of it yet.
            assert set(await ask(it, 40)) == {"3.1"}
            await it.route([stable], [canary], 5_000, salt="another rollout")
            assert set(await ask(it, 40)) == {"3.1", "3.2"}

    run(scenario())


# ---- the split --------------------------------------------------------------------------------------------------


def test_distinct_customers_are_told_once_by_the_arm_that_they_were_sent_to(run):
    async def scenario():
        async with world() as it:
            stable, canary = await it.replica("3.1", minutes_score), await it.replica("3.2", minutes_score)
            await it.route([stable], [canary], 4_000)
            versions = await ask(it, 60, customers=30)
            await it.predict({"instances": [{"customer_id": f"b-{n}", "features": features(1.0)} for n in range(30)]})
            splits = [entry.split for entry in it.told() if entry.split is not None]
            on_stable = [digest for each in splits for digest in each.stable.digests]
            on_canary = [digest for each in splits for digest in each.canary.digests]
            everyone = {split.digest(b"salt", key.encode()) for n in range(30) for key in (f"c-{n}", f"b-{n}")}
            assert len(on_stable) + len(on_canary) == len(everyone)
            assert set(on_stable) | set(on_canary) == everyone
            edge = split.threshold(4_000)
            assert all(digest >> split.SPARE_BITS < edge for digest in on_canary)
            assert {(each.salt, each.weight_bp) for each in splits} == {("salt", 4_000)}
            assert versions[:30] == versions[30:]

    run(scenario())


def test_a_canary_that_cannot_be_reached_shows_in_the_books(run):
    """Its weight is 50 %, its schema clashes: everybody is on stable, and that is what is told."""

    async def scenario():
        from divisions.schema import Feature, FeatureKind, FeatureSchema

        clashing = FeatureSchema((Feature("minutes", FeatureKind.BOOLEAN),))
        async with world() as it:
            stable, canary = await it.replica("3.1", minutes_score), await it.replica("3.2", minutes_score)
            await it.route([stable], [canary], 5_000, canary_schema=clashing, channels=1)
            await ask(it, 20)
            # One split for each second that the requests happened to fall into.
            splits = [entry.split for entry in it.told() if entry.split is not None]
            assert {digest for split in splits for digest in split.canary.digests} == set()
            assert len({digest for split in splits for digest in split.stable.digests}) == 20

    run(scenario())


def test_salts_are_tried_on_the_traffic_before_the_first_step(run):
    async def scenario():
        async with world() as it:
            stable = await it.replica("3.1", minutes_score)
            await it.route([stable])
            await ask(it, 200, customers=7)
            it.told()  # A second's end: the load by customer is brought up to date.
            await it.route([stable], trial_bp=(2_000, 9_700), salt="base")
            search = it.gateway.dispatcher.endpoints["churn"].state.search
            await until(lambda: search.scores() is not None)
            scores = search.scores()
            assert scores.base == "base"
            # A machine that stalls may ask for an answer twice, and that of a second attempt is not counted.
            assert 150 <= scores.total[0] == scores.heavy[0] <= 200
            assert len(scores.canary) == salts.CANDIDATES
            assert any(entry.salts == scores for entry in it.told())

    run(scenario())


# ---- copies -----------------------------------------------------------------------------------------------------


def test_copies_reach_the_canary_and_callers_never_notice(run):
    seen = []

    def canary(rows_NF):
        if rows_NF.any():
            seen.extend(rows_NF[:, 0].tolist())
        return broken(rows_NF)

    async def scenario():
        async with world() as it:
            stable, shadow = await it.replica("3.1", minutes_score), await it.replica("3.2", canary)
            await it.route([stable], [shadow], 0, mirror_bp=10_000)
            assert set(await ask(it, 3)) == {"3.1"}
            await until(lambda: len(seen) >= 3)
            await until(lambda: sum(each.errors for each in requests_of(it, "churn-predictor-v3.2")) == 3)
            assert sorted(seen) == [0.0, 1.0, 2.0]
            assert sum(each.requests for each in requests_of(it, "churn-predictor-v3.2")) == 3
            assert sum(each.requests for each in requests_of(it, "churn-predictor-v3.1")) == 3

    run(scenario())


def test_copies_are_the_first_to_go_under_load(run):
    async def scenario():
        async with world() as it:
            stable, shadow = await it.replica("3.1", minutes_score), await it.replica("3.2", minutes_score)
            await it.route([stable], [shadow], 0, mirror_bp=10_000)
            endpoint = it.gateway.dispatcher.endpoints["churn"]
            endpoint.canary.queue.rows += 8  # As many as fit a batch wait already.
            assert set(await ask(it, 5)) == {"3.1"}
            assert sum(each.requests for each in requests_of(it, "churn-predictor-v3.2")) == 0

    run(scenario())


# ---- testers ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("body", [{"features": features(7.0)}, {"instances": [{"features": features(7.0)}] * 20}])
def test_a_tester_chooses_the_version_and_is_no_evidence(run, body):
    async def scenario():
        async with world() as it:
            stable, canary = await it.replica("3.1", minutes_score), await it.replica("3.2", minutes_score)
            await it.route([stable], [canary], 0)
            for label in ("3.1", "3.2"):
                reply = await it.predict(body, f"X-Divisions-Version: {label}", TOKEN)
                assert reply.status == 200
                assert reply.headers["x-model-version"] == label
            assert not requests_of(it, "churn-predictor-v3.1") + requests_of(it, "churn-predictor-v3.2")

    run(scenario())


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        (["X-Divisions-Version: 3.2"], 401),
        (["X-Divisions-Version: 3.2", "Authorization: Bearer wrong"], 403),
        (["X-Divisions-Version: 3.2", "Authorization: Basic secret"], 403),
        (["X-Divisions-Version: 9.9", TOKEN], 404),
        (["X-Divisions-Version: ", TOKEN], 404),
    ],
)
def test_nobody_else_chooses_a_version(run, headers, status):
    async def scenario():
        async with world() as it:
            stable, canary = await it.replica("3.1", minutes_score), await it.replica("3.2", minutes_score)
            await it.route([stable], [canary], 5_000)
            assert (await it.predict({"features": features()}, *headers)).status == status

    run(scenario())


def test_a_failing_version_that_was_named_fails_and_is_not_charged(run):
    async def scenario():
        async with world() as it:
            stable, canary = await it.replica("3.1", minutes_score), await it.replica("3.2", broken)
            await it.route([stable], [canary], 0)
            reply = await it.predict({"features": features()}, "X-Divisions-Version: 3.2", TOKEN)
            assert reply.status == 502
            assert not requests_of(it, "churn-predictor-v3.2")
            assert it.gateway.dispatcher.endpoints["churn"].state.monitor.breaker.canary_errors == 0

    run(scenario())


# ---- scores -----------------------------------------------------------------------------------------------------


def test_a_rollout_reports_the_score_of_every_row_but_those_of_testers(run):
    async def scenario():
        async with world() as it:
            await it.route([await it.replica("3.1", minutes_score)], [await it.replica("3.2", minutes_score)], 5_000)
            await ask(it, 60)
            instances = [{"customer_id": f"c-{n}", "features": features(980.0)} for n in range(20)]
            assert (await it.predict({"instances": instances})).status == 200
            row = {"customer_id": "c-1", "features": features(980.0)}
            theirs = (await it.predict(row)).json["version"]
            plain, named = post(row), post(row, TOKEN, f"X-Divisions-Version: {theirs}")
            # In one packet, so that rows that count and rows that do not share a batch.
            replies = await it.raw(plain + named + plain + plain + named + named + plain, 7)
            assert {reply.status for reply in replies} == {200}
            total: dict[int, int] = {}
            for app_name in ("churn-predictor-v3.1", "churn-predictor-v3.2"):
                for report in requests_of(it, app_name):
                    for position, number in report.scores.items():
                        total[position] = total.get(position, 0) + number
            # 60 customers have scores 0 to 0.059, by 20 bins; 0.98 is in the last.
            assert total == {0: 50, 1: 10, 19: 25}

    run(scenario())
