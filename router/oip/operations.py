"""What the OpenAPI document says of the Open Inference Protocol's routes. Pure."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final, Literal

import msgspec

from divisions import errors
from router.oip import codec
from router.openapi.operation import (
    JSON,
    KEYED,
    REQUEST_ID,
    TIMED,
    TRACEPARENT,
    Operation,
    Parameter,
    Reply,
    Shape,
    status_of,
)
from router.predict.operations import DEADLINE

TAG: Final = "open inference protocol"
PROBLEM: Final = "application/problem+json"
OCTETS: Final = "application/octet-stream"
_MODEL: Final = "/v2/models/{model}"
_VERSION: Final = _MODEL + "/versions/{version}"


class Server(msgspec.Struct, frozen=True):
    name: str
    version: str
    extensions: tuple[str, ...]


class Live(msgspec.Struct, frozen=True):
    live: bool


class Ready(msgspec.Struct, frozen=True):
    ready: bool


class ModelReady(msgspec.Struct, frozen=True):
    name: str
    ready: bool


class IndexEntry(msgspec.Struct, frozen=True):
    """One version of one model. ``reason`` says why it is unavailable."""

    name: str
    version: str
    state: Literal["READY", "UNAVAILABLE"]
    reason: str


class TensorMetadata(msgspec.Struct, frozen=True):
    name: str
    datatype: str
    shape: tuple[int, ...]


class ModelMetadata(msgspec.Struct, frozen=True):
    """``parameters`` names the tensors that may stand for all inputs, and the stable version."""

    name: str
    versions: tuple[str, ...]
    platform: str
    inputs: tuple[TensorMetadata, ...]
    outputs: tuple[TensorMetadata, ...]
    parameters: dict[str, Any]


class ModelConfiguration(msgspec.Struct, frozen=True):
    """In the terms of NVIDIA Triton."""

    name: str
    platform: str
    backend: str
    max_batch_size: int
    input: tuple[dict[str, Any], ...]
    output: tuple[dict[str, Any], ...]
    dynamic_batching: dict[str, Any]
    instance_group: tuple[dict[str, Any], ...]
    parameters: dict[str, Any]


class Duration(msgspec.Struct, frozen=True):
    count: int
    ns: int


class VersionStatistics(msgspec.Struct, frozen=True):
    """``last_inference`` is in milliseconds since 1970; 0 for never."""

    name: str
    version: str
    last_inference: int
    inference_count: int
    execution_count: int
    inference_stats: dict[str, Duration]
    batch_stats: tuple[dict[str, Any], ...]


class Statistics(msgspec.Struct, frozen=True):
    model_stats: tuple[VersionStatistics, ...]


class OutputTensor(msgspec.Struct, frozen=True):
    """The scores: in ``data``, or as raw bytes behind the JSON, of which ``parameters`` has the length."""

    name: str
    datatype: Literal["FP32"]
    shape: tuple[int, ...]
    data: tuple[float, ...] | msgspec.UnsetType = msgspec.UNSET
    parameters: dict[str, int] | msgspec.UnsetType = msgspec.UNSET


class InferResponse(msgspec.Struct, frozen=True):
    """``parameters`` tell of stored features, where a request named only entities."""

    model_name: str
    model_version: str
    outputs: tuple[OutputTensor, ...]
    id: str | msgspec.UnsetType = msgspec.UNSET
    parameters: dict[str, Any] | msgspec.UnsetType = msgspec.UNSET


_BYTES: Final[dict[str, Any]] = {"type": "string", "format": "binary"}
_JSON_BYTES: Final = Parameter(
    "inference-header-content-length",
    "header",
    "The length of the body's JSON part, where raw tensors follow it.",
    {"type": "integer", "minimum": 0, "maximum": 999_999_999_999},
)
_CUSTOMER: Final = Parameter(
    "x-customer-id", "header", "The customer who decides which version answers.", {"type": "string"}
)
_MODEL_NAME: Final = Parameter(
    "model",
    "path",
    "The endpoint's name, or the model's if only one endpoint serves it.",
    {"type": "string", "minLength": 1},
)
_LABEL: Final = Parameter("version", "path", "A deployed version's label.", {"type": "string", "minLength": 1})
_INFER_REFUSALS: Final = (
    errors.MalformedRequestError,
    *KEYED,
    errors.InvalidFeaturesError,
    errors.UnknownEndpointError,
    errors.UnknownVersionError,
    errors.UnknownEntityError,
    errors.UnsupportedMediaTypeError,
    errors.ReplicaFailedError,
    errors.OverloadedError,
    errors.NothingDeployedError,
    errors.OnlineStoreError,
    errors.DeadlineExceededError,
)


def infer_status_of(kind: type[errors.DivisionsError]) -> int:
    """The protocol has no 422: a caller's mistake is 400."""
    return 400 if issubclass(kind, errors.InvalidFeaturesError) else status_of(kind)


def operations() -> list[Operation]:
    ready: dict[str, Shape] = {JSON: Ready}
    unready = (503, "Nothing is deployed yet, or a version has no warm replica.")
    every = [
        _get("/v2", "server", "The server's name, version and extensions", {JSON: Server}),
        _get("/v2/health/live", "live", "Whether the server lives", {JSON: Live}),
        replace(
            _get("/v2/health/ready", "ready", "Whether every model has a warm replica", ready), refusals=(unready,)
        ),
        replace(
            _get("/v2/repository/index", "index", "Every version of every model", {JSON: _list(IndexEntry)}),
            method="post",
        ),
        _get("/v2/models/stats", "stats", "Statistics of all versions", {JSON: Statistics}),
        *_of_model("", "metadata", "A model's inputs and outputs", ModelMetadata),
        *_of_model("/config", "config", "A model's configuration", ModelConfiguration),
        *_of_model("/stats", "model_stats", "A model's statistics", Statistics),
        *[
            replace(each, refusals=(*each.refusals, unready))
            for each in _of_model("/ready", "model_ready", "Whether a version has a warm replica", ModelReady)
        ],
    ]
    return every + [_infer(path, name) for path, name in ((_MODEL, "infer"), (_VERSION, "infer_version"))]


def _get(path: str, name: str, text: str, media: dict[str, Shape]) -> Operation:
    return Operation("get", path, f"oip:{name}", TAG, f"{text}.", {200: Reply(f"{text}.", media)})


def _of_model(rest: str, name: str, text: str, shape: type) -> list[Operation]:
    """A route of the stable version, and of a version that is named."""
    stable = replace(
        _get(_MODEL + rest, name, text, {JSON: shape}),
        parameters=(_MODEL_NAME,),
        refusals=(errors.UnknownEndpointError,),
    )
    named = replace(
        stable,
        path=_VERSION + rest,
        name=f"oip:{name}_version",
        parameters=(_MODEL_NAME, _LABEL),
        refusals=(errors.UnknownEndpointError, errors.UnknownVersionError),
    )
    return [stable, named]


def _infer(base: str, name: str) -> Operation:
    versions = (_LABEL,) if base == _VERSION else ()
    return Operation(
        "post",
        base + "/infer",
        f"oip:{name}",
        TAG,
        "Scores rows. Inputs are one tensor per feature, or `rows` with encoded rows, or ids of entities alone. "
        "With the binary tensor extension raw tensors follow the JSON.",
        {200: Reply("The scores.", {JSON: InferResponse, OCTETS: _BYTES}, TIMED)},
        _INFER_REFUSALS,
        (_MODEL_NAME, *versions, _JSON_BYTES, _CUSTOMER, DEADLINE, REQUEST_ID, TRACEPARENT),
        {JSON: codec.InferBody, OCTETS: _BYTES},
        needs_body=True,
        needs_token=None,
        status_of=infer_status_of,
    )


def _list(shape: type) -> dict[str, Any]:
    _, schemas = msgspec.json.schema_components([shape], ref_template="#/{name}")
    schema: dict[str, Any] = schemas[shape.__name__]
    return {"type": "array", "items": schema}
