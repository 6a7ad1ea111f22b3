"""Names of bins, for people."""

from __future__ import annotations

from divisions.schema import FeatureKind
from router.evidence.drift import FeatureBins

MISSING = "missing"


def names(bins: FeatureBins) -> tuple[str, ...]:
    """One name for each count.

    >>> from divisions.schema import Feature
    >>> names(FeatureBins(Feature("age", FeatureKind.NUMERIC), (5, 5, 5, 0), (30.0, 42.5)))
    ('<= 30', '<= 42.5', '> 42.5', 'missing')
    """
    match bins.feature.kind:
        case FeatureKind.NUMERIC:
            upper = [f"<= {edge:g}" for edge in bins.edges]
            found = [*upper, f"> {bins.edges[-1]:g}" if bins.edges else "any", MISSING]
        case FeatureKind.BOOLEAN:
            found = ["false", "true", MISSING]
        case FeatureKind.CATEGORICAL:
            found = [*bins.feature.categories, "unknown", MISSING]
    return tuple(found)
