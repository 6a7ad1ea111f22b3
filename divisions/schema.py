"""The feature schema: which features a model takes, and how one row becomes a vector of float32.

A row travels as ``float32[F]``. Everything else that the transform does (standardising, filling in missing values,
embeddings) is inside the exported graph, so training and serving cannot differ. The encoding is:

===========  =======================  ==========================================================
kind         accepted raw value       float32 in the row
===========  =======================  ==========================================================
numeric      number                   the number
boolean      true or false            1.0 or 0.0
categorical  text                     1 + its position in ``categories``; 0.0 for an unknown text
any          null                     NaN (missing)
===========  =======================  ==========================================================
"""

from __future__ import annotations

import enum
import hashlib
import math
from collections.abc import Mapping, Sequence

import msgspec

from divisions.errors import InvalidFeaturesError

UNKNOWN_CODE = 0.0
MISSING = math.nan
FLOAT32_MAX = 3.4028234663852886e38
"""The largest number that a row can carry; sizes beyond it are refused."""


class FeatureKind(enum.StrEnum):
    NUMERIC = "numeric"
    BOOLEAN = "boolean"
    CATEGORICAL = "categorical"


class Feature(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One column of the model's input."""

    name: str
    kind: FeatureKind
    categories: tuple[str, ...] = ()


class FeatureSchema(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The columns of a model's input, in order, and the names of the entity, label and event time."""

    features: tuple[Feature, ...]
    entity: str = "customer_id"
    label: str = "churn"
    event_time: str = "event_time"

    @property
    def num_columns(self) -> int:
        return len(self.features)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(feature.name for feature in self.features)

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.to_json()).hexdigest()

    def to_json(self) -> bytes:
        return msgspec.json.encode(self, order="deterministic")

    def encode_row(self, row: Mapping[str, object]) -> list[float]:
        """Encodes one raw row. This is the slow reference; faster encoders are tested against it.

        Args:
            row: raw values by feature name. An absent or null feature is missing. Names that are not in the
                schema are ignored, because raw events have more columns than the model uses.

        Returns:
            ``F`` floats.

        Raises:
            InvalidFeaturesError: a value is of the wrong kind, or does not fit float32.
        """
        return [encode_value(feature, row.get(feature.name)) for feature in self.features]


def encode_value(feature: Feature, value: object) -> float:
    """Encodes one raw value (see the module's table)."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return MISSING
    match feature.kind:
        case FeatureKind.NUMERIC if isinstance(value, int | float) and not isinstance(value, bool):
            return _finite_float32(feature, value)
        case FeatureKind.BOOLEAN if isinstance(value, bool):
            return float(value)
        case FeatureKind.CATEGORICAL if isinstance(value, str):
            return category_code(feature.categories, value)
    raise InvalidFeaturesError(
        f"feature {feature.name!r} must be {feature.kind.value}, got {type(value).__name__}",
        remedy="send the type that the endpoint's schema names, or null for a missing value",
    )


def category_code(categories: Sequence[str], value: str) -> float:
    try:
        return float(categories.index(value) + 1)
    except ValueError:
        return UNKNOWN_CODE


def _finite_float32(feature: Feature, value: int | float) -> float:
    if not -FLOAT32_MAX <= value <= FLOAT32_MAX:
        raise InvalidFeaturesError(
            f"feature {feature.name!r} does not fit a 32-bit float", remedy="send a number below 3.4e38 in size"
        )
    return float(value)
