"""What the OpenAPI document says of SageMaker's routes. Pure."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from divisions import errors
from router.openapi.operation import (
    ANSWERED_BY,
    JSON,
    KEYED,
    REQUEST_ID,
    TEXT,
    TRACEPARENT,
    Operation,
    Parameter,
    Reply,
)
from router.sagemaker.bodies import Form
from router.sagemaker.invocations import EXECUTION_PARAMETERS, INVOCATIONS, PING

TAG: Final = "sagemaker"


class ExecutionParameters(msgspec.Struct, frozen=True):
    """How large the parts of a batch transform may be, and how many at once."""

    MaxConcurrentTransforms: int
    BatchStrategy: str
    MaxPayloadInMB: int


_TEXT: Final[dict[str, Any]] = {"type": "string"}
_ANY_JSON: Final[dict[str, Any]] = {
    "anyOf": [{"type": "object"}, {"type": "array"}],
    "description": "The body of a predict request, or plain lists of values in the order of the features.",
}
_ATTRIBUTES: Final = Parameter(
    "x-amzn-sagemaker-custom-attributes",
    "header",
    "`endpoint=NAME` names the endpoint where several are deployed.",
    {"type": "string"},
)
_REFUSALS: Final = (
    errors.MalformedRequestError,
    *KEYED,
    errors.UnknownEndpointError,
    errors.UnknownEntityError,
    errors.UnsupportedMediaTypeError,
    errors.InvalidFeaturesError,
    errors.ReplicaFailedError,
    errors.OverloadedError,
    errors.NothingDeployedError,
    errors.OnlineStoreError,
    errors.DeadlineExceededError,
)


def operations() -> list[Operation]:
    return [
        Operation(
            "get",
            PING,
            "sagemaker:ping",
            TAG,
            "Whether every endpoint can answer.",
            {200: Reply("Every endpoint has a warm replica.", {TEXT: _TEXT})},
            ((503, "Nothing is deployed yet, or a version has no warm replica."),),
        ),
        Operation(
            "get",
            EXECUTION_PARAMETERS,
            "sagemaker:execution_parameters",
            TAG,
            "How a batch transform should ask.",
            {200: Reply("The limits of a batch transform.", {JSON: ExecutionParameters})},
        ),
        Operation(
            "post",
            INVOCATIONS,
            "sagemaker:invocations",
            TAG,
            "Scores rows, in real time or as a part of a batch transform.",
            {
                200: Reply(
                    "One score per row, in the body's form or that of `Accept`.",
                    {Form.JSON.value: {"type": "object"}, Form.CSV.value: _TEXT, Form.LINES.value: _TEXT},
                    ANSWERED_BY,
                )
            },
            _REFUSALS,
            (_ATTRIBUTES, REQUEST_ID, TRACEPARENT),
            {Form.JSON.value: _ANY_JSON, Form.CSV.value: _TEXT, Form.LINES.value: _TEXT},
            needs_body=True,
            needs_token=None,
        ),
    ]
