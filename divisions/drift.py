"""What is told of drift: scores and alerts of every endpoint. `router.drift` finds them; see docs/drift.md."""

from __future__ import annotations

import msgspec


class DriftAlert(msgspec.Struct, frozen=True):
    """A drift that goes on. ``feature`` is empty for the predictions.

    ``window`` is ``1h`` or ``24h``, ``against`` is ``training`` or ``usual`` (the hour of the week). ``score`` is the
    corrected stability index of the last look, ``tolerance`` what it may be.
    """

    feature: str
    window: str
    against: str
    score: float
    tolerance: float
    since_s: float


class FeatureScores(msgspec.Struct, frozen=True):
    """One feature's corrected stability indices; None while there are too few customers to tell.

    ``hour`` and ``day`` compare with the training data, ``hour_usual`` and ``day_usual`` with the hour of the week.
    """

    feature: str
    hour: float | None = None
    day: float | None = None
    hour_usual: float | None = None
    day_usual: float | None = None


class FeatureHistograms(msgspec.Struct, frozen=True):
    """One feature's shares by bin. ``bins`` are their names; a numeric one is named by its inclusive upper end."""

    feature: str
    bins: tuple[str, ...]
    training: tuple[float, ...]
    hour: tuple[float, ...]
    day: tuple[float, ...]


class EndpointDrift(msgspec.Struct, frozen=True):
    """The drift of one endpoint's stable version.

    ``state`` is ``unknown`` (the version's bundle has no histograms, or they are not here yet), ``warming`` (too few
    customers to tell), ``watching``, or ``usual`` (every hour of the week is known). ``alerts_total`` counts alerts
    ever raised. ``predictions`` is about the scores; its ``feature`` is empty.
    """

    endpoint: str
    version: str
    state: str
    customers_hour: int = 0
    customers_day: int = 0
    usual_hours: int = 0
    looked_at_s: float = 0.0
    alerts_total: int = 0
    alerts: tuple[DriftAlert, ...] = ()
    features: tuple[FeatureScores, ...] = ()
    predictions: FeatureScores = FeatureScores("")
    histograms: tuple[FeatureHistograms, ...] = ()


class DriftSummary(msgspec.Struct, frozen=True):
    """An endpoint's line in the status: its state, the alerts that go on, and the greatest score of a feature.

    ``score`` is of the last day, of the last hour while the day is not known; None while neither is.
    """

    endpoint: str
    version: str
    state: str
    alerts_total: int
    alerts: tuple[DriftAlert, ...]
    feature: str = ""
    score: float | None = None


class DriftReport(msgspec.Struct, frozen=True):
    """Every endpoint's drift."""

    endpoints: tuple[EndpointDrift, ...]
