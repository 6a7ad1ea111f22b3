"""The Open Inference Protocol's infer messages, as JSON and with the binary tensor extension. Pure.

With the extension a body is a JSON object followed by raw tensors, in the order of the inputs. The header
``Inference-Header-Content-Length`` is the length of the object; ``binary_data_size`` of each input is the length of its
raw tensor. Raw tensors are views of the body: nothing is copied. Nothing is allocated by a size that a caller claims.
Errors never repeat the caller's text.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import msgspec

from divisions.errors import InvalidFeaturesError, MalformedRequestError

MAX_RANK = 8
SAFE_ID = re.compile(r"[A-Za-z0-9._:/+=-]{1,128}")
"""Request ids that replies repeat."""

_Count = Annotated[int, msgspec.Meta(ge=0, le=1 << 62)]
_Dimensions = Annotated[list[_Count], msgspec.Meta(max_length=MAX_RANK)]


class TensorParameters(msgspec.Struct, gc=False):
    binary_data_size: _Count | None = None
    shared_memory_region: Any = None


class InputTensor(msgspec.Struct):
    name: str
    shape: _Dimensions
    datatype: str
    parameters: TensorParameters | None = None
    data: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


class OutputParameters(msgspec.Struct, gc=False):
    binary_data: bool | None = None
    classification: Any = None
    shared_memory_region: Any = None


class RequestedOutput(msgspec.Struct):
    name: str
    parameters: OutputParameters | None = None


class InferBody(msgspec.Struct):
    """An infer request as it comes. ``inputs`` are tensors; ``parameters`` may have `timeout` in microseconds."""

    inputs: list[InputTensor]
    id: str | None = None
    parameters: dict[str, Any] | None = None
    outputs: list[RequestedOutput] | None = None


@dataclass(frozen=True, slots=True)
class Tensor:
    """One input. Its data is either ``raw`` or the JSON array ``data``. Names and datatypes are not checked yet."""

    name: str
    datatype: str
    shape: tuple[int, ...]
    raw: memoryview | None
    data: msgspec.Raw | None

    @property
    def num_elements(self) -> int:
        return math.prod(self.shape)


@dataclass(frozen=True, slots=True)
class WantedOutput:
    """An output that the caller named; ``is_binary`` is None where the request does not say."""

    name: str
    is_binary: bool | None


@dataclass(frozen=True, slots=True)
class InferRequest:
    """A decoded request. ``parameters`` are not checked yet; empty ``outputs`` stand for all outputs."""

    request_id: str
    tensors: tuple[Tensor, ...]
    parameters: dict[str, Any]
    outputs: tuple[WantedOutput, ...]

    @property
    def wants_binary(self) -> bool:
        """Whether outputs are binary by default."""
        return self.parameters.get("binary_data_output") is True


_decoder = msgspec.json.Decoder(InferBody)


def decode(body: bytes, header_bytes: int | None) -> InferRequest:
    """Decodes a request's body.

    Args:
        body: the whole body.
        header_bytes: length of the JSON part by ``Inference-Header-Content-Length``; None for the whole body.

    Raises:
        MalformedRequestError: not JSON, or the body is not as long as JSON and raw tensors together.
        InvalidFeaturesError: JSON, but not an infer request that we can answer.
    """
    view = memoryview(body)
    if header_bytes is not None and header_bytes > len(body):
        raise MalformedRequestError(
            "Inference-Header-Content-Length is more than the whole body",
            remedy="it counts the bytes of the JSON part",
        )
    try:
        request = _decoder.decode(view if header_bytes is None else view[:header_bytes])
    except msgspec.ValidationError as error:
        raise InvalidFeaturesError(_explain(str(error)), remedy="see docs/open-inference-protocol.md") from None
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise MalformedRequestError(
            "the body's JSON part is not well-formed",
            remedy="send JSON in UTF-8; where raw tensors follow it, Inference-Header-Content-Length must say so",
        ) from None
    if request.id and not SAFE_ID.fullmatch(request.id):
        raise InvalidFeaturesError(
            "`id` is over 128 characters or has others than letters, digits and ._:/+=-", remedy="send a plainer one"
        )
    tensors = _tensors(request.inputs, view[len(body) if header_bytes is None else header_bytes :])
    outputs = tuple(_wanted(output) for output in request.outputs or ())
    return InferRequest(request.id or "", tensors, request.parameters or {}, outputs)


def _tensors(inputs: Sequence[InputTensor], rest: memoryview) -> tuple[Tensor, ...]:
    tensors: list[Tensor] = []
    position = 0
    for item in inputs:
        parameters = item.parameters
        if parameters is not None and parameters.shared_memory_region is not None:
            raise InvalidFeaturesError("shared memory is not offered", remedy="send the data in the body")
        size = parameters.binary_data_size if parameters is not None else None
        raw: memoryview | None = None
        if size is not None:
            if size > len(rest) - position:
                raise MalformedRequestError(
                    "the body has fewer raw bytes than its tensors' binary_data_size say",
                    remedy="check Inference-Header-Content-Length and every binary_data_size",
                )
            raw = rest[position : position + size]
            position += size
        data = None if isinstance(item.data, msgspec.UnsetType) or _is_null(item.data) else item.data
        if (raw is None) == (data is None):
            raise InvalidFeaturesError(
                "an input needs either `data` or `binary_data_size`, and not both", remedy="send one of them"
            )
        tensors.append(Tensor(item.name, item.datatype, tuple(item.shape), raw, data))
    if position != len(rest):
        raise MalformedRequestError(
            "the body has more raw bytes than its tensors' binary_data_size say",
            remedy="check Inference-Header-Content-Length and every binary_data_size",
        )
    return tuple(tensors)


def _is_null(data: msgspec.Raw) -> bool:
    return len(data) == 4 and bytes(data) == b"null"


def _wanted(output: RequestedOutput) -> WantedOutput:
    parameters = output.parameters
    if parameters is None:
        return WantedOutput(output.name, None)
    if parameters.classification is not None or parameters.shared_memory_region is not None:
        raise InvalidFeaturesError(
            "the classification and shared-memory extensions are not offered", remedy="take the scores as they are"
        )
    return WantedOutput(output.name, parameters.binary_data)


def _explain(text: str) -> str:
    # msgspec names places as `$.inputs[...].shape`. Below `parameters` the keys are the caller's text.
    return text.split(" - at ", maxsplit=1)[0] if "parameters" in text else text.replace("`$.", "`")


def head(model: bytes, version: bytes, request_id: bytes, parameters: bytes = b"") -> bytes:
    """The beginning of a response's JSON.

    Args:
        model: its name. This and the next two are JSON text already.
        version: the version's label.
        request_id: empty to leave it out.
        parameters: a JSON object; empty to leave it out.
    """
    identity = b'"id":"%s",' % request_id if request_id else b""
    extra = b'"parameters":%s,' % parameters if parameters else b""
    return b'{"model_name":"%s","model_version":"%s",%s%s"outputs":[' % (model, version, identity, extra)


def scores_json(name: bytes, scores: Sequence[float]) -> bytes:
    """An output ``float32[N]`` with its data, and the end of the response. Nine digits keep a float32 exact."""
    data = b",".join([b"%.9g" % score for score in scores])
    return b'{"name":"%s","datatype":"FP32","shape":[%d],"data":[%s]}]}' % (name, len(scores), data)


def scores_binary(name: bytes, num_rows: int) -> bytes:
    """An output ``float32[N]`` whose data follows the JSON, and the end of the response."""
    size = b'{"binary_data_size":%d}' % (4 * num_rows)
    return b'{"name":"%s","datatype":"FP32","shape":[%d],"parameters":%s}]}' % (name, num_rows, size)
