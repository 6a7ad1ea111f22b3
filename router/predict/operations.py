"""What the OpenAPI document says of predict: the general route, and each deployed endpoint with its features. Pure."""

from __future__ import annotations

from typing import Any, Final

from divisions import errors
from divisions.entity_ids import MAX_ID_CHARACTERS
from divisions.schema import FLOAT32_MAX, FeatureKind
from router.openapi.operation import (
    ENDPOINT,
    JSON,
    KEYED,
    REQUEST_ID,
    TIMED,
    TRACEPARENT,
    Operation,
    Parameter,
    Reply,
)
from router.predict.decode import MAX_ROWS, EndpointDecoder
from router.predict.explaining import DEFAULT_TOP, MAX_EXPLAINED, MAX_TOP

PATH: Final = "/api/v2/predict/{endpoint}"
DEADLINE: Final = Parameter(
    "x-request-timeout-ms",
    "header",
    "The deadline, in milliseconds. It cannot be later than DIVISIONS_REQUEST_TIMEOUT_MS.",
    {"type": "integer", "minimum": 1, "maximum": 999_999_999},
)
VERSION: Final = Parameter(
    "x-divisions-version",
    "header",
    "The version that must answer, for testers. It needs the token.",
    {"type": "string"},
)
EXPLAIN: Final = Parameter(
    "explain",
    "query",
    f"Whether to say which features have moved each row's score. At most {MAX_EXPLAINED} rows.",
    {"enum": ["true", "false"]},
)
TOP: Final = Parameter(
    "top",
    "query",
    f"How many features an explanation names; {DEFAULT_TOP} without it.",
    {"type": "integer", "minimum": 1, "maximum": MAX_TOP},
)
REFUSALS: Final = (
    errors.MalformedRequestError,
    *KEYED,
    errors.UnknownEndpointError,
    errors.UnknownEntityError,
    errors.UnknownVersionError,
    errors.UnsupportedMediaTypeError,
    errors.InvalidFeaturesError,
    errors.ReplicaFailedError,
    errors.OverloadedError,
    errors.NoReferenceError,
    errors.NothingDeployedError,
    errors.OnlineStoreError,
    errors.DeadlineExceededError,
)
_NULL: Final = {"type": "null"}
_VALUES: Final[dict[FeatureKind, dict[str, Any]]] = {
    FeatureKind.NUMERIC: {"type": ["number", "null"], "minimum": -FLOAT32_MAX, "maximum": FLOAT32_MAX},
    FeatureKind.BOOLEAN: {"type": ["boolean", "null"]},
    FeatureKind.CATEGORICAL: {"type": ["string", "null"]},
}
_ID: Final = {"anyOf": [{"type": "string", "minLength": 1, "maxLength": MAX_ID_CHARACTERS}, {"type": "integer"}]}
_ANY_FEATURES: Final = {
    "type": "object",
    "description": "The endpoint's features by name, null where missing. `GET /` lists them.",
    "additionalProperties": {"type": ["number", "boolean", "string", "null"]},
}
_HEADERS: Final = (EXPLAIN, TOP, DEADLINE, VERSION, REQUEST_ID, TRACEPARENT)


def general() -> Operation:
    """The route of all endpoints, those included that are deployed later."""
    body = _body("customer_id", _ANY_FEATURES)
    body["description"] = "One row or many. The entity's name (`customer_id`) is the endpoint's own."
    # The entity may have another name, so no member is excluded.
    for variant in body["anyOf"]:
        variant.pop("additionalProperties")
    reply = _answers("customer_id", {"patternProperties": {"_probability$": _PROBABILITY}})
    return _operation(PATH, "predict", "Predicts one row or many", (ENDPOINT, *_HEADERS), body, reply)


def of_endpoint(name: str, decoder: EndpointDecoder, required: int, *, needs_key: bool = False) -> Operation:
    """One deployed endpoint.

    Args:
        name: of the endpoint.
        decoder: its own.
        required: how many of the decoder's features, the first ones, every row must have.
        needs_key: whether it asks for keys.
    """
    features = {
        "type": "object",
        "properties": {feature: _VALUES[kind] for feature, kind in decoder.kinds.items()},
        "required": list(decoder.names[:required]),
        "additionalProperties": False,
    }
    reply = _answers(
        decoder.entity,
        {
            "properties": {name: _DECISION, f"{name}_probability": _PROBABILITY},
            "required": [f"{name}_probability"],
        },
    )
    path = PATH.replace("{endpoint}", name)
    text = f"Predicts one row or many by the endpoint `{name}`"
    return _operation(path, f"predict:{name}", text, _HEADERS, _body(decoder.entity, features), reply, needs_key)


_PROBABILITY: Final = {"type": "number"}
_VALUE: Final = {"type": ["number", "boolean", "string", "null"]}
_EXPLANATION: Final = {
    "type": "object",
    "description": "Only with `explain=true`. `reference`, all contributions, `others` and `joint` add up to `score`.",
    "properties": {
        "scale": {"enum": ["log_odds", "score"]},
        "reference": {"type": "number", "description": "The score of a typical customer of the training data."},
        "score": {"type": "number"},
        "contributions": {
            "type": "array",
            "description": "The features that have moved the score most, the greatest first.",
            "items": {
                "type": "object",
                "properties": {
                    "feature": {"type": "string"},
                    "value": _VALUE,
                    "reference": _VALUE,
                    "contribution": {"type": "number"},
                },
                "required": ["feature", "value", "reference", "contribution"],
            },
        },
        "others": {"type": "number", "description": "The sum of all other contributions."},
        "joint": {"type": "number", "description": "What features have moved only together."},
    },
    "required": ["scale", "reference", "score", "contributions", "others", "joint"],
}
_DECISION: Final = {"type": "boolean", "description": "Whether the probability reaches the version's threshold."}


def _operation(
    path: str,
    name: str,
    text: str,
    parameters: tuple[Parameter, ...],
    body: dict[str, Any],
    reply: dict[str, Any],
    needs_key: bool = False,
) -> Operation:
    return Operation(
        "post",
        path,
        name,
        "predict",
        f"{text}. A row has features, or only the customer's id: then its features come from the online store.",
        {200: Reply("One prediction, or `predictions` in the order of `instances`.", {JSON: reply}, TIMED)},
        REFUSALS,
        parameters,
        {JSON: body},
        needs_body=True,
        needs_token=None,
        needs_key=needs_key,
    )


def _body(entity: str, features: dict[str, Any]) -> dict[str, Any]:
    """The schema of a body: a row, or ``instances``."""
    row = _row(entity, features)
    rows = {"type": "array", "minItems": 1, "maxItems": MAX_ROWS, "items": row}
    nothing = {entity: _NULL, "features": _NULL}
    return {
        "anyOf": [
            row | {"properties": row["properties"] | {"instances": _NULL}},
            {
                "type": "object",
                "properties": {"instances": rows, **nothing},
                "required": ["instances"],
                "additionalProperties": False,
            },
        ]
    }


def _row(entity: str, features: dict[str, Any]) -> dict[str, Any]:
    """The schema of a row: the entity's id, features, or both."""
    return {
        "type": "object",
        "properties": {entity: {"anyOf": [*_ID["anyOf"], _NULL]}, "features": {"anyOf": [features, _NULL]}},
        "anyOf": [
            {"properties": {entity: _ID}, "required": [entity]},
            {"properties": {"features": features}, "required": ["features"]},
        ],
        "additionalProperties": False,
    }


def _answers(entity: str, score: dict[str, Any]) -> dict[str, Any]:
    """The schema of a reply. Further members may come with later releases."""
    common = {
        entity: {"type": ["string", "null"], "description": "As it was sent, as text; null if it was not."},
        "model": {"type": "string"},
        "version": {"type": "string"},
        "features_as_of": {"type": ["string", "null"], "description": "When stored features were true."},
        "features_status": {"enum": ["stale", "default"]},
        "explanation": _EXPLANATION,
    }
    prediction = {
        "type": "object",
        **{key: value for key, value in score.items() if key == "patternProperties"},
        "properties": score.get("properties", {}) | common,
        "required": ["model", "version", *score.get("required", [])],
    }
    request_id = {"request_id": {"type": "string"}}
    one = prediction | {
        "properties": {**prediction["properties"], **request_id},
        "required": [*prediction["required"], "request_id"],
    }
    many = {
        "type": "object",
        "properties": {"predictions": {"type": "array", "items": prediction}, **request_id},
        "required": ["predictions", "request_id"],
    }
    return {"oneOf": [one, many]}
