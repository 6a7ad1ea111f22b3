"""Predict requests and their answers: rows in, `Prediction` out. No I/O."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from divisions import errors
from divisions.entity_ids import entity_text
from divisions.sdk import explanations
from divisions.sdk.calls import Call, endpoint_name, not_understood, reader, to_json
from divisions.sdk.explanations import ScoreExplanation


@dataclass(frozen=True, slots=True)
class Prediction:
    """One answered row. ``customer_id`` is None when the request named none.

    ``decision`` is True if the probability reaches the version's threshold; None if the version has no threshold.

    ``features_as_of`` is the event time (ISO 8601) of features that came from the online store; None if the request had
    them. ``features_status`` is ``stale`` for stored features that are older than the endpoint's policy allows, and
    ``default`` if none were used; else it is empty. ``explanation`` is there if it was asked for.
    """

    endpoint: str
    probability: float
    model: str
    version: str
    request_id: str
    customer_id: str | None = None
    features_as_of: str | None = None
    features_status: str = ""
    decision: bool | None = None
    explanation: ScoreExplanation | None = None


def predict_one(
    endpoint: str,
    entity: str,
    customer_id: str | int | None,
    features: Mapping[str, object] | None,
    version: str = "",
    top: int | None = None,
) -> Call[Prediction]:
    """A request for one row, given by its features, by its customer, or by both; of ``version``, if it is not empty.

    With ``top``, the answer is explained by so many features.
    """
    row: dict[str, object] = {}
    if (name := _id(entity, customer_id)) is not None:
        row[entity] = name
    if features is not None:
        row["features"] = _plain_row(features)
    if not row:
        raise errors.UsageError("nothing to predict", remedy="give customer_id, features or instances")
    read, body = _read_one(endpoint, entity), to_json(row)
    return Call("POST", _predict_path(endpoint, top), read, body, is_control=False, version=version)


def predict_many(
    endpoint: str, entity: str, instances: Any, version: str = "", top: int | None = None
) -> Call[list[Prediction]]:
    """A request for many rows: a DataFrame, or any mix of customer ids, flat rows and ``{"features": {...}}``."""
    if hasattr(instances, "to_dict") and hasattr(instances, "columns"):
        instances = instances.to_dict(orient="records")
    if isinstance(instances, str | bytes | Mapping) or not isinstance(instances, Iterable):
        raise errors.UsageError(
            f"instances must be a list of rows or a DataFrame, got {type(instances).__name__}",
            remedy="for a single row give features or customer_id",
        )
    rows = [_instance(item, entity) for item in instances]
    body = to_json({"instances": rows})
    read = _read_many(endpoint, entity)
    return Call("POST", _predict_path(endpoint, top), read, body, is_control=False, version=version)


DEFAULT_ENTITY = "customer_id"


class Entities:
    """The names of the entity column, by endpoint: what the client was told, or learns from the gateway.

    Args:
        entity: for all endpoints; None to learn it where `DEFAULT_ENTITY` is refused.
    """

    def __init__(self, entity: str | None) -> None:
        self._told = entity
        self._learnt: dict[str, str] = {}

    def of(self, endpoint: str) -> str:
        return self._told or self._learnt.get(endpoint, DEFAULT_ENTITY)

    def may_learn(self, endpoint: str) -> bool:
        """Whether the endpoint's entity was neither told nor asked for yet."""
        return self._told is None and endpoint not in self._learnt

    def learn(self, endpoint: str, known: Mapping[str, str]) -> bool:
        """Takes the gateway's answer to `list_entities`; returns whether the endpoint's entity is another one."""
        self._learnt[endpoint] = known.get(endpoint, DEFAULT_ENTITY)
        return self._learnt[endpoint] != DEFAULT_ENTITY


def list_entities() -> Call[dict[str, str]]:
    """The entity of every endpoint that the gateway serves."""
    read = reader(_Index)
    return Call(
        "GET", "/", lambda body: {name: each.entity for name, each in read(body).endpoints.items()}, is_control=False
    )


def list_features(endpoint: str) -> Call[dict[str, str]]:
    """The kind of each feature of an endpoint, in the order of its schema."""
    read = reader(_Index)

    def of_endpoint(body: bytes) -> dict[str, str]:
        known = read(body).endpoints
        if endpoint not in known:
            raise errors.UnknownEndpointError("no such endpoint", remedy=f"there are: {', '.join(known) or 'none yet'}")
        return known[endpoint].features

    return Call("GET", "/", of_endpoint, is_control=False)


class _Endpoint(msgspec.Struct, frozen=True):
    entity: str = DEFAULT_ENTITY
    features: dict[str, str] = {}


class _Index(msgspec.Struct, frozen=True):
    endpoints: dict[str, _Endpoint]


def check_alone(customer_id: str | int | None, features: Mapping[str, object] | None) -> None:
    """Refuses the arguments of a single row together with ``instances``."""
    if customer_id is not None or features is not None:
        raise errors.UsageError("instances stand alone", remedy="put customer_id and features into the rows")


def _predict_path(endpoint: str, top: int | None) -> str:
    return f"/api/v2/predict/{endpoint_name(endpoint)}{explanations.query(top)}"


def _instance(item: object, entity: str) -> dict[str, object]:
    if not isinstance(item, Mapping):
        value = _unwrapped(item)
        if not isinstance(value, str | int | float):
            raise errors.UsageError(
                f"a row must be a mapping or a customer's id, got {type(item).__name__}", remedy="send features by name"
            )
        return {entity: entity_text(entity, value)}
    row: dict[str, object]
    if isinstance(item.get("features"), Mapping):
        row = {**item, "features": _plain_row(item["features"])}
    else:
        features = {name: value for name, value in item.items() if name != entity}
        row = {"features": _plain_row(features)} if features else {}
    if (name := _id(entity, item.get(entity))) is not None:
        row[entity] = name
    return row


def _id(entity: str, value: object) -> str | None:
    """The text of an id; None for the values that mean missing."""
    plain = _plain(entity, value)
    return None if plain is None else entity_text(entity, plain)


def _plain_row(features: Mapping[str, object]) -> dict[str, object]:
    return {name: _plain(name, value) for name, value in features.items()}


def _plain(name: str, value: Any) -> object:
    """A value for JSON: unwraps NumPy's scalars; NaN and pandas' missing values become null."""
    value = _unwrapped(value)
    if value is None or type(value).__name__ in {"NAType", "NaTType"}:
        return None
    if isinstance(value, float) and not math.isfinite(value):
        if math.isnan(value):
            return None
        raise errors.InvalidFeaturesError(f"feature {name!r} is infinite", remedy="send a finite number or None")
    if isinstance(value, str | bool | int | float):
        return value
    raise errors.InvalidFeaturesError(
        f"feature {name!r} is a {type(value).__name__}", remedy="send a number, a boolean, a text or None"
    )


def _unwrapped(value: Any) -> Any:
    """The Python value of a NumPy scalar."""
    return value.item() if type(value).__module__ == "numpy" and getattr(value, "shape", None) == () else value


def _read_one(endpoint: str, entity: str) -> Callable[[bytes], Prediction]:
    read = reader(dict[str, Any])
    return lambda body: _prediction(endpoint, entity, read(body))


def _read_many(endpoint: str, entity: str) -> Callable[[bytes], list[Prediction]]:
    read = reader(dict[str, Any])

    def read_all(body: bytes) -> list[Prediction]:
        whole = read(body)
        rows = whole.pop("predictions", None)
        if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
            raise not_understood("it has no list of predictions")
        return [_prediction(endpoint, entity, whole | row) for row in rows]

    return read_all


def _prediction(endpoint: str, entity: str, row: dict[str, Any]) -> Prediction:
    probability = row.get(f"{endpoint}_probability")
    if not isinstance(probability, int | float):
        raise not_understood(f"it has no {endpoint}_probability")
    decision = row.get(endpoint)
    return Prediction(
        endpoint=endpoint,
        probability=float(probability),
        model=str(row.get("model", "")),
        version=str(row.get("version", "")),
        request_id=str(row.get("request_id", "")),
        customer_id=row.get(entity),
        features_as_of=row.get("features_as_of"),
        features_status=str(row.get("features_status", "")),
        decision=decision if isinstance(decision, bool) else None,
        explanation=explanations.read(row.get("explanation")),
    )
