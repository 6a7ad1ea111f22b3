"""What becomes of an attempt that failed, was shed or is late: every decision, and what is counted of it."""

from __future__ import annotations

import math

import msgspec
import numpy as np
import pytest

from divisions.control import EndpointRoute, RoutingTable, VersionRoute
from divisions.errors import OverloadedError
from divisions.schema import Feature, FeatureKind, FeatureSchema
from router.predict.jobs import Job
from router.predict.retries import second_attempt
from router.predict.retry_budget import RETRY_BURST, RETRY_SHARE
from tests.router.dispatch_world import DispatchWorld, Recorder, settle


def a_full_canary(**kinds) -> DispatchWorld:
    """All requests go to a canary whose batches take ten seconds."""
    it = DispatchWorld(canary_s=(math.inf,), canary_bp=10_000, **kinds)
    it.endpoint.canary.service_time.observe(8, 10.0)
    return it


def test_what_a_canary_sheds_stable_answers_and_it_counts_against_the_canary(run):
    async def scenario():
        it = a_full_canary(stable_s=(0.0,))
        answers = [it.submit(f"c-{number}") for number in range(20)]
        await it.run(0.05)
        assert [answer.version for answer in answers] == [None] * 8 + [b"3.1"] * 12
        assert it.counted() == {"3.1": (0, 0), "3.2": (20, 12)}
        assert it.endpoint.stable.tally.totals.retries == 0, "stable has capacity for all traffic: no budget is needed"
        assert it.dispatcher.retries.budget.tokens == RETRY_BURST

    run(scenario())


def test_if_stable_fails_what_a_canary_shed_the_caller_hears_it_at_once(run):
    """No other attempt is left to wait for."""

    async def scenario():
        it = a_full_canary(stable_s=(0.0,))
        it.stable[0].fails = True
        answers = [it.submit(f"c-{number}") for number in range(20)]
        await it.run(0.05)
        assert [answer.outcome for answer in answers] == ["pending"] * 8 + ["ReplicaFailedError"] * 12
        assert "both attempts failed; the last because the replica failed" in str(answers[-1].error)
        assert all(answer.results == 1 for answer in answers[8:])

    run(scenario())


def test_a_version_that_the_caller_named_sheds_without_another_answering_or_counting(run):
    async def scenario():
        it = a_full_canary(stable_s=(0.0,))
        before = [it.submit(f"c-{number}") for number in range(8)]
        with pytest.raises(OverloadedError, match="the endpoint is overloaded"):
            it.submit_named("3.2", 8)
        await settle()
        assert it.stable[0].batches == []
        assert all(answer.outcome == "pending" for answer in before)
        assert it.counted()["3.2"] == (8, 0)

    run(scenario())


def test_a_failed_canary_is_repeated_by_stable_without_budget(run):
    async def scenario():
        it = DispatchWorld(stable_s=(0.0,), canary_s=(0.0,), canary_bp=10_000)
        it.canary[0].fails = True
        it.dispatcher.retries.budget.tokens = 0.0
        answer = it.submit("c")
        await it.run(0.05)
        assert (answer.outcome, answer.version, answer.results) == ("ok", b"3.1", 1)
        assert it.counted() == {"3.1": (0, 0), "3.2": (1, 1)}
        assert it.endpoint.canary.tally.totals.retries == 1

    run(scenario())


@pytest.mark.parametrize(("tokens", "retries"), [(1.0, 1), (0.89, 0)])
def test_stable_repeats_with_itself_while_there_is_budget(run, tokens, retries):
    async def scenario():
        it = DispatchWorld(stable_s=(0.0, 0.0))
        await settle()
        for replica in it.stable:
            replica.fails = True
        it.dispatcher.retries.budget.tokens = tokens
        answer = it.submit("c")
        await it.run(0.05)
        assert answer.outcome == "ReplicaFailedError"
        assert ("both attempts failed" if retries else "the retry budget is spent") in str(answer.error)
        assert it.endpoint.stable.tally.totals.retries == retries
        assert it.counted()["3.1"] == (1, 1), "second attempts are not counted"
        assert sum(sum(replica.batches) for replica in it.stable) == 1 + retries

    run(scenario())


def test_the_budget_earns_a_tenth_of_a_retry_for_each_request(run):
    async def scenario():
        it = DispatchWorld(stable_s=(0.0,))
        budget = it.dispatcher.retries.budget
        budget.tokens = 0.0
        for number in range(9):
            it.submit(f"c-{number}")
        assert budget.tokens == pytest.approx(0.9)
        assert not budget.take()
        it.submit("d")
        assert pytest.approx(0.1) == RETRY_SHARE
        assert budget.take() or budget.tokens == pytest.approx(1.0)

    run(scenario())


def test_after_the_deadline_a_failure_is_told_as_such_and_not_repeated(run):
    async def scenario():
        it = DispatchWorld(stable_s=(math.inf, 0.0))
        await settle()
        answer = it.submit("c", deadline_s=0.5)
        await settle()
        it.now_s += 0.5
        it.stable[0].fails = True
        it.stable[0].answer()
        await settle()
        assert answer.outcome == "DeadlineExceededError"
        assert "no answer before the deadline: the replica failed" in str(answer.error)
        assert it.stable[1].batches == []

    run(scenario())


@pytest.mark.parametrize("named", ["3.1", "3.2"])
def test_a_named_version_repeats_with_itself_alone(run, named):
    async def scenario():
        it = DispatchWorld(stable_s=(0.0,), canary_s=(0.0,), canary_bp=5_000)
        await settle()
        replicas = {"3.1": it.stable[0], "3.2": it.canary[0]}
        replicas[named].fails = True
        answer = it.submit_named(named, 2)
        await it.run(0.05)
        assert answer.outcome == "ReplicaFailedError"
        assert replicas[named].batches == [2, 2]
        assert all(replica.batches == [] for version, replica in replicas.items() if version != named)
        assert it.counted() == {"3.1": (0, 0), "3.2": (0, 0)}

    run(scenario())


def test_a_canary_that_leaves_the_table_hands_its_requests_to_stable_and_is_not_judged_by_them(run):
    async def scenario():
        it = DispatchWorld(stable_s=(0.0,), canary_s=(math.inf,), canary_bp=10_000)
        await settle()
        answers = [it.submit(f"c-{number}") for number in range(3)]
        await settle()
        queued = it.submit("queued")
        route = EndpointRoute("churn", "salt", (VersionRoute(it.endpoint.stable.spec, 10_000, False),))
        canary = it.endpoint.canary
        it.dispatcher.apply(RoutingTable(2, (route,)))
        it.stable.append(it.add_replica(it.endpoint.stable, 0.0))  # the table names no replicas
        await it.run(0.05)
        assert (queued.outcome, queued.version) == ("ok", b"3.1")
        assert [answer.outcome for answer in answers] == ["pending"] * 3, "what is in flight still finishes"
        it.canary[0].answer()
        await settle()
        assert [answer.version for answer in answers] == [b"3.2"] * 3
        assert canary.tally.counted().errors == 0

    run(scenario())


def test_a_version_that_was_taken_out_of_service_cannot_be_named_any_more(run):
    async def scenario():
        it = DispatchWorld(stable_s=(0.0,), canary_s=(math.inf,), canary_bp=5_000)
        await settle()
        answer = it.submit_named("3.2", 1)
        await settle()
        route = EndpointRoute("churn", "salt", (VersionRoute(it.endpoint.stable.spec, 10_000, False),))
        it.dispatcher.apply(RoutingTable(2, (route,)))
        it.canary[0].fails = True
        it.canary[0].answer()
        await settle()
        assert answer.outcome == "ReplicaFailedError"
        assert "the version was taken out of service" in str(answer.error)
        assert it.stable[0].batches == []

    run(scenario())


def test_an_endpoint_that_was_taken_out_of_service_says_so(run):
    async def scenario():
        it = DispatchWorld(stable_s=(math.inf,))
        await settle()
        answer = it.submit("c")
        await settle()
        it.dispatcher.apply(RoutingTable(2, ()))
        it.stable[0].fails = True
        it.stable[0].answer()
        await settle()
        assert "the endpoint was taken out of service" in str(answer.error)

    run(scenario())


@pytest.mark.parametrize(("second_s", "at_s", "hedges"), [(0.1, 0.495, 0), (0.1, 0.505, 1)])
def test_a_hedge_begins_at_half_of_the_time(run, second_s, at_s, hedges):
    async def scenario():
        it = DispatchWorld(stable_s=(math.inf, second_s))
        await settle()
        pool = it.endpoint.stable
        pool.service_time.observe(1, second_s)
        answer = it.submit("c", deadline_s=1.0)
        await it.run(at_s)
        assert pool.tally.totals.retries == hedges
        await it.run(0.3)
        assert answer.outcome == "ok"
        assert answer.results == 1
        assert it.counted()["3.1"] == (1, 0)

    run(scenario())


def test_without_budget_a_late_attempt_is_waited_for(run):
    async def scenario():
        it = DispatchWorld(stable_s=(0.7, 0.0))
        await settle()
        it.endpoint.stable.service_time.observe(1, 0.01)
        it.dispatcher.retries.budget.tokens = 0.5
        answer = it.submit("c", deadline_s=1.0)
        await it.run(0.8)
        assert answer.outcome == "ok"
        assert answer.latency_s == pytest.approx(0.7, abs=0.01)
        assert it.endpoint.stable.tally.totals.retries == 0
        assert it.stable[1].batches == []

    run(scenario())


def test_another_version_gets_the_row_in_its_own_columns_and_the_same_version_as_it_is(run):
    """The canary has a column more than stable, and another order."""

    async def scenario():
        minutes, calls = Feature("minutes", FeatureKind.NUMERIC), Feature("calls", FeatureKind.NUMERIC)
        it = DispatchWorld(canary_bp=10_000)
        versions = tuple(
            VersionRoute(msgspec.structs.replace(pool.spec, schema=FeatureSchema(columns)), weight_bp, weight_bp > 0)
            for pool, columns, weight_bp in (
                (it.endpoint.stable, (minutes,), 0),
                (it.endpoint.canary, (calls, minutes), 10_000),
            )
        )
        it = DispatchWorld(stable_s=())
        it.dispatcher.apply(RoutingTable(2, (EndpointRoute("other", "salt", versions),)))
        endpoint = it.dispatcher.endpoints["other"]
        stable, canary = endpoint.stable, endpoint.canary
        values = tuple({"minutes": 7.0, "calls": 3.0}[name] for name in endpoint.decoder.names)
        first = Job(Recorder(), [values], [0], canary.encode(values), canary.version, 1_000.0, 1_001.0)
        for pool in (canary, stable):
            second_attempt(first, pool, 1_000.0)
        sent = [[np.frombuffer(job.payload, "<f4").tolist() for job in pool.queue.drain()] for pool in (canary, stable)]
        assert sent == [[[3.0, 7.0]], [[7.0]]]

    run(scenario())


def test_a_second_attempt_takes_the_same_rows_of_a_tensor(run):
    class Source:
        rows = 10

        def pack(self, start: int, stop: int, schema: FeatureSchema) -> bytes:
            return np.arange(start, stop, dtype="<f4").tobytes()

    async def scenario():
        it = DispatchWorld(stable_s=(), canary_s=(), canary_bp=5_000)
        stable, canary = it.endpoint.stable, it.endpoint.canary
        first = Job(Recorder(), [], [3, 4, 5], b"", canary.version, 1_000.0, 1_001.0)
        first.source = Source()
        second_attempt(first, stable, 1_000.0)
        (sent,) = stable.queue.drain()
        assert np.frombuffer(sent.payload, "<f4").tolist() == [3.0, 4.0, 5.0]
        assert sent.source is first.source

    run(scenario())


def test_a_late_attempt_that_cannot_be_helped_keeps_no_other_from_help(run):
    """The first could not be answered before its deadline by a second batch; the other could."""

    async def scenario():
        it = DispatchWorld(stable_s=(math.inf, 0.1))
        pool = it.endpoint.stable
        await settle()
        pool.service_time.observe(1, 0.1)
        jobs = [
            Job(Recorder(), [(1.0,)], [0], pool.encode((1.0,)), pool.version, 1_000.0, 1_000.0 + left_s)
            for left_s in (0.01, 10.0)
        ]
        it.dispatcher.retries.attempt_late(pool, jobs)
        assert [job.has_second for job in jobs] == [False, True]

    run(scenario())
