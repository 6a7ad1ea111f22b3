"""Of many features and endpoints, those that drift are shown."""

from __future__ import annotations

from divisions.drift import DriftAlert, EndpointDrift, FeatureHistograms, FeatureScores
from router.house.drift_section import MOST_ENDPOINTS, MOST_FEATURES, MOST_HISTOGRAMS, drift_section


def drift(endpoint: str, features: int, alerts=()) -> EndpointDrift:
    names = [f"f{number}" for number in range(features)]
    return EndpointDrift(
        endpoint,
        "1",
        "watching",
        alerts=alerts,
        features=tuple(FeatureScores(name, hour=number / 100) for number, name in enumerate(names)),
        histograms=tuple(FeatureHistograms(name, ("a",), (1.0,), (1.0,), (1.0,)) for name in [*names, ""]),
    )


def test_the_features_that_drift_most_come_first_and_have_histograms():
    (found,) = drift_section([drift("churn", 100)]).endpoints
    assert [each.feature for each in found.features[:2]] == ["f99", "f98"]
    assert len(found.features) == MOST_FEATURES
    assert [each.feature for each in found.histograms[:2]] == ["", "f99"]


def test_unknown_features_come_last():
    few = EndpointDrift("churn", "1", "warming", features=(FeatureScores("a"), FeatureScores("b", day=0.0)))
    assert [each.feature for each in drift_section([few]).endpoints[0].features] == ["b", "a"]


def test_many_endpoints_share_the_histograms_and_alerts_come_first():
    alert = DriftAlert("f1", "1h", "training", 0.3, 0.2, 1.0)
    many = [drift(f"e{number:03}", 30) for number in range(MOST_ENDPOINTS + 50)]
    many.append(drift("z", 30, (alert,)))
    found = drift_section(many)
    assert found.endpoints[0].endpoint == "z"
    assert (len(found.endpoints), found.left_out) == (MOST_ENDPOINTS, 51)
    assert sum(len(each.histograms) for each in found.endpoints) <= max(MOST_HISTOGRAMS, MOST_ENDPOINTS)
