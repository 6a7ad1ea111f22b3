"""The buckets of latencies are part of the metrics' format: dashboards and alerts name them."""

from __future__ import annotations

import itertools
import math

import pytest
from prometheus_client.parser import text_string_to_metric_families

from divisions.control import EndpointRoute, ReplicaAddress, RoutingTable, VersionRoute
from router.gateway import telemetry
from router.gateway.telemetry import BUCKETS_S, GatewayCollector, Vitals
from tests.router.dispatch_world import DispatchWorld, settle


def test_the_buckets_are_those_that_dashboards_know_and_fit_what_a_request_takes():
    milliseconds = [0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000]
    assert {limit / 1_000 for limit in milliseconds} <= set(BUCKETS_S)
    assert list(BUCKETS_S) == sorted(BUCKETS_S)
    assert max(after / before for before, after in itertools.pairwise(BUCKETS_S[:-3])) <= 2 + 1e-9
    assert sum(0.0001 <= limit <= 0.0004 for limit in BUCKETS_S) >= 5, "the median of a request is among these"


def samples(text: bytes) -> dict:
    return {
        (sample.name, *[value for key, value in sorted(sample.labels.items()) if key != "gateway"]): sample.value
        for family in text_string_to_metric_families(text.decode())
        for sample in family.samples
    }


def test_a_scrape_has_every_version_with_its_sums_and_states(run):
    async def scenario():
        it = DispatchWorld(stable_s=(0.02,), canary_s=(0.0, 0.0), canary_bp=2_500)
        await settle()
        answers = [it.submit(f"c-{number}") for number in range(40)]
        await it.run(1.0)
        assert {answer.outcome for answer in answers} == {"ok"}
        it.now_s += 5
        for pool in it.endpoint.pools:
            pool.tally.take(1 << 40)
            pool.tally.settle(1 << 40)
        it.endpoint.stable.tally.totals.retries = 3
        it.stable[0].batch_s = math.inf
        for number in range(30):
            it.submit(f"d-{number}")
        refused = {("churn", 503, "OverloadedError"): 4, ("", 400, "MalformedRequestError"): 1}
        found = samples(
            telemetry.render(GatewayCollector(it.dispatcher, refused, {}, lambda: Vitals(7, 2, 1.5), gateway="3"))
        )
        stable, canary = ("churn", "3.1"), ("churn", "3.2")
        asked = it.counted()["3.1"][0], it.counted()["3.2"][0]
        on_canary = found["divisions_requests_total", "2xx", *canary]
        assert on_canary + found["divisions_requests_total", "2xx", *stable] == 40
        assert sum(asked) == 70
        assert (found["divisions_retries_total", *stable], found["divisions_retries_total", *canary]) == (3, 0)
        assert (found["divisions_weight_ratio", *stable], found["divisions_weight_ratio", *canary]) == (0.75, 0.25)
        assert (found["divisions_ready_replicas", *stable], found["divisions_ready_replicas", *canary]) == (1, 2)
        assert found["divisions_queued_rows", *stable] > 0
        assert found["divisions_refused_total", "OverloadedError", "churn", "503"] == 4
        assert found["divisions_refused_total", "MalformedRequestError", "", "400"] == 1
        assert (found["divisions_connections",], found["divisions_event_streams",]) == (7, 2)
        assert (found["divisions_controller_silent_seconds",], found["divisions_table_epoch",]) == (1.5, 1)
        assert found["divisions_request_seconds_count", *stable] == 40 - on_canary
        assert found["divisions_request_seconds_bucket", "churn", "+Inf", "3.1"] == 40 - on_canary
        assert found["divisions_request_seconds_bucket", "churn", "0.01", "3.1"] == 0, "each took 20 ms or more"
        assert found["divisions_request_seconds_bucket", "churn", "0.5", "3.1"] == 40 - on_canary
        assert found["divisions_request_seconds_sum", *stable] >= 0.02 * (40 - on_canary)
        assert found["divisions_compute_seconds_sum", *canary] == pytest.approx(30e-6 * on_canary)

    run(scenario())


def test_every_sample_names_its_gateway_and_engines_are_counted_with_their_notes(run):
    async def scenario():
        it = DispatchWorld()
        spec = it.endpoint.stable.spec
        replicas = tuple(
            ReplicaAddress(f"r-{number}", spec.app_name, "there", f"/none/{number}", "", 8, 0, "torch", 0.0, note)
            for number, note in enumerate(("", "", "no GPU"))
        )
        route = EndpointRoute("churn", "salt", (VersionRoute(spec, 10_000, False, replicas),))
        it.dispatcher.apply(RoutingTable(2, (route,)))
        text = telemetry.render(GatewayCollector(it.dispatcher, {}, {}, lambda: Vitals(0, 0, 0.0), gateway="3"))
        assert all(
            sample.labels["gateway"] == "3"
            for family in text_string_to_metric_families(text.decode())
            for sample in family.samples
        )
        found = samples(text)
        assert found["divisions_engine_replicas", "churn", "torch", "", "3.1"] == 2
        assert found["divisions_engine_replicas", "churn", "torch", "no GPU", "3.1"] == 1
        it.dispatcher.close()

    run(scenario())
