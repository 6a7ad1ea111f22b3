"""The drift of all endpoints within a bound: of many features, those that drift most. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from divisions.drift import EndpointDrift, FeatureScores
from divisions.house import DriftSection

MOST_FEATURES: Final = 20
"""Of an endpoint, those with the greatest scores."""
MOST_HISTOGRAMS: Final = 60
"""Of all endpoints together; each endpoint gets an equal part, at least that of its predictions."""
MOST_ENDPOINTS: Final = 100


def drift_section(endpoints: Sequence[EndpointDrift]) -> DriftSection:
    """The endpoints with alerts come first.

    Args:
        endpoints: with their histograms.
    """
    ordered = sorted(endpoints, key=lambda each: (-len(each.alerts), each.endpoint))[:MOST_ENDPOINTS]
    share = max(1, MOST_HISTOGRAMS // max(1, len(ordered)))
    left_out = len(endpoints) - len(ordered)
    return DriftSection(tuple(_bounded(each, share) for each in ordered), left_out)


def _bounded(drift: EndpointDrift, most_histograms: int) -> EndpointDrift:
    features = sorted(drift.features, key=_score, reverse=True)[:MOST_FEATURES]
    by_name = {each.feature: each for each in drift.histograms}
    names = ["", *[each.feature for each in features]][:most_histograms]
    histograms = tuple(by_name[name] for name in names if name in by_name)
    return msgspec.structs.replace(drift, features=tuple(features), histograms=histograms)


def _score(scores: FeatureScores) -> float:
    """The greatest of a feature's scores; those without one come last."""
    return max((each for each in (scores.hour, scores.day) if each is not None), default=-1.0)
