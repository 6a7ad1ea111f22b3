"""Drift as metrics and over HTTP."""

import msgspec
import pytest
from prometheus_client.parser import text_string_to_metric_families

from divisions.drift import DriftAlert, DriftReport, EndpointDrift, FeatureScores
from divisions.errors import UnknownVersionError
from router.gateway import drift_metrics
from tests.router.gateway_world import world

ALERT = DriftAlert("age", "1h", "training", 0.3, 0.1, 5.0)
DRIFT = EndpointDrift(
    "churn",
    "3.1",
    "watching",
    1_200,
    9_000,
    alerts_total=3,
    alerts=(ALERT,),
    features=(FeatureScores("age", 0.3, None, 0.2), FeatureScores('pl"an\n')),
    predictions=FeatureScores("", 0.01, 0.02, 0.03, 0.04),
)


def samples(text):
    return {
        (sample.name, *[value for _, value in sorted(sample.labels.items())]): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_scores_alerts_and_the_state_are_metrics():
    found = samples(drift_metrics.render(DriftReport((DRIFT,))).decode())
    assert found["divisions_drift_score", "training", "churn", "age", "1h"] == 0.3
    assert found["divisions_drift_score", "usual", "churn", "age", "1h"] == 0.2
    assert ("divisions_drift_score", "training", "churn", "age", "24h") not in found, "unknown is not 0"
    assert found["divisions_drift_prediction_score", "usual", "churn", "24h"] == 0.04
    assert found["divisions_drift_alert", "training", "churn", "age", "1h"] == 1
    assert found["divisions_drift_alerts_total", "churn"] == 3
    assert found["divisions_drift_customers", "churn", "24h"] == 9_000
    states = {key[2]: value for key, value in found.items() if key[0] == "divisions_drift_state"}
    assert states == {"unknown": 0, "warming": 0, "watching": 1, "usual": 0}


def test_a_gateway_serves_drift_to_those_with_the_token(run):
    async def scenario():
        async with world() as it:
            it.link.drift_json = msgspec.json.encode(DriftReport((DRIFT,)))

            async def ask(path, token="secret"):
                head = f"GET {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n\r\n"
                (reply,) = await it.raw(head.encode())
                return reply

            assert (await ask("/api/v2/drift", "wrong")).status == 401
            assert (await ask("/api/v2/drift")).json["endpoints"][0]["alerts_total"] == 3
            assert (await ask("/api/v2/drift/churn")).json["alerts"][0]["feature"] == "age"
            assert it.link.drift_asked == ["", "churn"]

            async def unknown(endpoint):
                raise UnknownVersionError("there is no such endpoint")

            it.link.drift = unknown
            assert (await ask("/api/v2/drift/other")).status == 404

    run(scenario())


@pytest.mark.parametrize("answer", [b"", b"{}", b'{"endpoints": 3}'])
def test_a_controller_that_tells_no_drift_takes_no_other_metric_away(run, answer):
    async def scenario():
        async with world() as it:
            it.link.drift_json = answer
            (reply,) = await it.raw(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert reply.status == 200
            assert b"divisions_gateway_answered" in reply.body
            assert b"divisions_drift_score{" not in reply.body

    run(scenario())
