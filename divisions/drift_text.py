"""A drift in one line, for people. Pure."""

from __future__ import annotations

from divisions.drift import DriftAlert


def text_of(alert: DriftAlert) -> str:
    """What has drifted, how far, and against what.

    >>> text_of(DriftAlert("age", "1h", "training", 0.314, 0.1, 0.0))
    "drift of feature 'age': the last hour has an index of 0.314 against the training data; up to 0.1 is no drift"
    """
    what = f"feature {alert.feature!r}" if alert.feature else "the predictions"
    span = {"1h": "hour", "24h": "day"}.get(alert.window, alert.window)
    against = "the training data" if alert.against == "training" else "the same hours of the first two weeks"
    return (
        f"drift of {what}: the last {span} has an index of {alert.score:.3f} against {against}; "
        f"up to {alert.tolerance:g} is no drift"
    )
