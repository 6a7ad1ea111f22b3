"""The second hot path: ``POST /v2/models/{model}[/versions/{version}]/infer`` of the Open Inference Protocol.

Like predict it makes no task and uses no framework. A reply names one version, so a request is not split row by row.
Its key (customer, sequence or request) decides the version. All rows go there, in jobs of at most one batch, cut from
the bytes of the request.
"""

from __future__ import annotations

import re
import urllib.parse
from dataclasses import dataclass
from typing import Any, Final

from divisions.errors import (
    DivisionsError,
    InvalidFeaturesError,
    MalformedRequestError,
    NotRunningError,
    OverloadedError,
)
from router.http import problem
from router.http.exchange import Exchange
from router.http.request import Handler, Request
from router.oip import codec
from router.oip.codec import InferRequest
from router.oip.columns import FeatureColumns
from router.oip.models import Directory, ServedModel, ServedVersion
from router.oip.replies import TensorAnswer
from router.oip.rows import ROWS, EncodedRows
from router.predict.decode import MAX_KEY_CHARACTERS
from router.predict.dispatcher import Dispatcher
from router.predict.jobs import RowSource
from router.predict.predict_handler import CancelAll

_TARGET: Final = re.compile(rb"/v2/models/([^/?]+)(?:/versions/([^/?]+))?/infer(?:\?.*)?")
_MEDIA: Final = frozenset({b"application/json", b"application/octet-stream"})


def is_infer(url: bytes) -> bool:
    """Whether a POST to ``url`` is for the `InferHandler`."""
    return url.startswith(b"/v2/models/") and _TARGET.fullmatch(url) is not None


@dataclass(slots=True)
class _Head:
    """What the headers say."""

    request_id: bytes
    timeout_s: float
    json_bytes: int | None = None
    key: bytes | None = None
    refusal: tuple[int, str] | None = None


class InferHandler(Handler):
    """Answers infer requests.

    Args:
        dispatcher: sends rows to versions.
        directory: finds models by name.
        timeout_s: deadline of requests that name none, and the upper limit for requests that do.
        id_prefix: makes request ids of this process unique.
        refused: counts requests that reached no version, by endpoint and status.
    """

    def __init__(
        self,
        dispatcher: Dispatcher,
        directory: Directory,
        timeout_s: float,
        id_prefix: str,
        refused: dict[tuple[str, int], int],
    ) -> None:
        self._dispatcher = dispatcher
        self._directory = directory
        self._timeout_s = timeout_s
        self._id_prefix = id_prefix.encode()
        self._refused = refused
        self._count = 0

    def handle(self, request: Request) -> None:
        head = self._read_headers(request)
        exchange = request.exchange
        if head.refusal is not None:
            self._refuse(exchange, "", *head.refusal, head.request_id)
            return
        model: ServedModel | None = None
        try:
            name, label = _target(request.head.url)
            if self._directory.is_empty:
                raise NotRunningError("nothing is deployed yet", remedy="run a pipeline with `divisions run`")
            model = self._directory.find(name)
            version = model.version(label) if label is not None else None
            self._infer(model, version, request, head)
        except DivisionsError as error:
            self.failed("" if model is None else model.endpoint.name, exchange, error, head.request_id)

    def _read_headers(self, request: Request) -> _Head:
        self._count += 1
        head = _Head(b"%s%x" % (self._id_prefix, self._count), self._timeout_s)
        for name, value in request.head.headers:
            if name == b"inference-header-content-length":
                if head.json_bytes is not None or not value.isdigit() or len(value) > 12:
                    head.refusal = (400, "Inference-Header-Content-Length must be one whole number of bytes")
                else:
                    head.json_bytes = int(value)
            elif name == b"content-type":
                if value.partition(b";")[0].strip().lower() not in _MEDIA:
                    head.refusal = (415, "the body must be application/json or application/octet-stream")
            elif name == b"x-request-timeout-ms":
                if value.isdigit() and 0 < len(value) < 10 and int(value) > 0:
                    head.timeout_s = min(head.timeout_s, int(value) / 1000)
                else:
                    head.refusal = (400, "x-request-timeout-ms must be a whole number of milliseconds above 0")
            elif name == b"x-customer-id":
                head.key = value
            elif name == b"x-request-id" and codec.SAFE_ID.fullmatch(value.decode("latin-1")):
                head.request_id = value
        return head

    def _infer(self, model: ServedModel, named: ServedVersion | None, request: Request, head: _Head) -> None:
        body = codec.decode(request.body, head.json_bytes)
        if body.request_id:
            head.request_id = body.request_id.encode()
        is_binary = _is_binary(body, model.output)
        is_encoded = len(body.tensors) == 1 and body.tensors[0].name == ROWS and ROWS not in model.kinds
        answering = named or model.stable
        source: RowSource
        if is_encoded:
            source = EncodedRows(body.tensors[0], answering.bounds)
        else:
            source = FeatureColumns(body.tensors, model.kinds, answering.required)
        endpoint = model.endpoint
        if named is not None:
            pool = named.pool
        elif is_encoded and not model.has_one_encoding:
            pool = endpoint.stable
        else:
            pool = endpoint.pool_for(_key(body.parameters, endpoint.decoder.entity, head))
        now_s = request.received_s
        timeout_s = _timeout_s(body.parameters, head.timeout_s)
        answer = TensorAnswer(
            model, source.rows, is_binary, head.request_id, bool(body.request_id), request.exchange, self
        )
        jobs = self._dispatcher.submit_rows(
            endpoint, pool, source, answer, now_s, now_s + timeout_s, is_pinned=named is not None
        )
        request.exchange.work = CancelAll(jobs)

    def failed(self, endpoint: str, exchange: Exchange, error: DivisionsError, request_id: bytes) -> None:
        """Replies with one of our errors. The protocol has no 422: a caller's mistake is 400."""
        status = 400 if isinstance(error, InvalidFeaturesError) else problem.status_of(error)
        retry = [b"%d" % max(1, round(error.retry_after_s))] if isinstance(error, OverloadedError) else []
        self._refuse(exchange, endpoint, status, str(error), request_id, *retry, code=problem.code_of(error))

    def _refuse(
        self,
        exchange: Exchange,
        endpoint: str,
        status: int,
        detail: str,
        request_id: bytes,
        *retry: bytes,
        code: str = "",
    ) -> None:
        self._refused[endpoint, status] = self._refused.get((endpoint, status), 0) + 1
        headers = [(b"x-request-id", request_id), *[(b"retry-after", after) for after in retry]]
        exchange.problem(status, detail, *headers, code=code)


def _target(url: bytes) -> tuple[str, str | None]:
    match = _TARGET.fullmatch(url)
    assert match is not None, "is_infer comes first"
    name, label = match.groups()
    return _unquote(name), None if label is None else _unquote(label)


def _unquote(part: bytes) -> str:
    return urllib.parse.unquote_to_bytes(part).decode("latin-1")


def _is_binary(body: InferRequest, output: str) -> bool:
    if not body.outputs:
        return body.wants_binary
    if len(body.outputs) > 1 or body.outputs[0].name != output:
        raise InvalidFeaturesError("`outputs` names one that the model does not have", remedy=f"it has only {output}")
    wanted = body.outputs[0].is_binary
    return body.wants_binary if wanted is None else wanted


def _key(parameters: dict[str, Any], entity: str, head: _Head) -> bytes:
    """The key of the split: customer, else sequence, else the request itself."""
    for value in (parameters.get(entity), head.key, parameters.get("sequence_id")):
        if isinstance(value, bytes) and value:
            return value
        if isinstance(value, str) and 0 < len(value) <= MAX_KEY_CHARACTERS:
            return value.encode()
        if isinstance(value, int) and not isinstance(value, bool) and value != 0:
            return b"%d" % value
        if value:
            raise InvalidFeaturesError(
                f"parameter `{entity}` must be a text of at most {MAX_KEY_CHARACTERS} characters or a whole number",
                remedy="send the id as it is in the data",
            )
    return head.request_id


def _timeout_s(parameters: dict[str, Any], timeout_s: float) -> float:
    """The smaller of ``timeout_s`` and the parameter ``timeout``, which is in microseconds; 0 means none."""
    timeout_us = parameters.get("timeout", 0)
    if not isinstance(timeout_us, int) or isinstance(timeout_us, bool) or timeout_us < 0:
        raise MalformedRequestError("parameter `timeout` must be a whole number of microseconds", remedy="leave it out")
    return min(timeout_s, timeout_us * 1e-6) if timeout_us else timeout_s
