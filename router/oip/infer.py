"""The second hot path: ``POST /v2/models/{model}[/versions/{version}]/infer`` of the Open Inference Protocol.

Like predict it makes no task and uses no framework. A reply names one version, so a request is not split row by row.
Its key (customer, sequence or request) decides the version. All rows go there, in jobs of at most one batch, cut from
the bytes of the request.
"""

from __future__ import annotations

import re
import urllib.parse
from collections.abc import Callable
from typing import Any, Final

from divisions.entity_ids import MAX_ID_CHARACTERS, entity_text
from divisions.errors import DeadlineExceededError, DivisionsError, InvalidFeaturesError, MalformedRequestError
from router.http import problem
from router.http.request import Head, Request
from router.oip import codec
from router.oip.codec import InferRequest
from router.oip.columns import FeatureColumns
from router.oip.entities import StoredRows, entity_ids, freshness
from router.oip.models import Directory, ServedModel, ServedVersion
from router.oip.replies import TensorAnswer
from router.oip.rows import ROWS, EncodedRows
from router.predict.callers import Callers
from router.predict.customer_look_up import WAIT_SHARE, CustomerLookUp
from router.predict.decode import Values
from router.predict.dispatcher import Dispatcher
from router.predict.front import Front, Options, Refusals, nothing_deployed
from router.predict.jobs import CancelAll, RowSource
from router.predict.pool import Pool
from router.predict.stored_features import FeatureSource

_TARGET: Final = re.compile(rb"/v2/models/([^/?]+)(?:/versions/([^/?]+))?/infer(?:\?.*)?")
_MEDIA: Final = frozenset({b"application/json", b"application/octet-stream"})


def is_infer(url: bytes) -> bool:
    """Whether a POST to ``url`` is for the `InferHandler`."""
    return url.startswith(b"/v2/models/") and _TARGET.fullmatch(url) is not None


class InferHandler(Front):
    """Answers infer requests.

    Args:
        dispatcher: sends rows to versions.
        directory: finds models by name.
        stored: finds the features of customers whose requests carry none.
        timeout_s: deadline of requests that name none, and the upper limit for requests that do.
        id_prefix: makes request ids of this process unique.
        now_s: monotonic clock.
        wall_s: the time, in seconds since the Unix epoch.
        callers: who sends requests to endpoints that ask for keys.
        refusals: takes requests that end in an error.
    """

    def __init__(
        self,
        dispatcher: Dispatcher,
        directory: Directory,
        stored: FeatureSource,
        timeout_s: float,
        id_prefix: str,
        now_s: Callable[[], float],
        wall_s: Callable[[], float],
        callers: Callers,
        refusals: Refusals,
    ) -> None:
        media = "the body must be application/json or application/octet-stream"
        super().__init__(timeout_s, id_prefix, media, refusals)
        self._dispatcher = dispatcher
        self._directory = directory
        self._stored = stored
        self._now_s = now_s
        self._wall_s = wall_s
        self._callers = callers

    def takes(self, content_type: bytes) -> bool:
        return content_type.partition(b";")[0].strip().lower() in _MEDIA

    def read_target(self, head: Head, options: Options) -> None:
        match = _TARGET.fullmatch(head.url)
        assert match is not None, "is_infer comes first"
        name, label = match.groups()
        options.name = _unquote(name)
        options.version = None if label is None else _unquote(label)

    def read_header(self, name: bytes, value: bytes, head: Head, options: Options) -> None:
        if name == b"inference-header-content-length":
            if options.json_bytes is not None or not value.isdigit() or len(value) > 12:
                options.error = MalformedRequestError(
                    "Inference-Header-Content-Length must be one whole number of bytes"
                )
            else:
                options.json_bytes = int(value)
        elif name == b"x-customer-id":
            options.key = value

    def status_of(self, error: DivisionsError) -> int:
        """The protocol has no 422: a caller's mistake is 400."""
        return 400 if isinstance(error, InvalidFeaturesError) else problem.status_of(error)

    def answer(self, request: Request, options: Options, request_id: bytes) -> None:
        model: ServedModel | None = None
        try:
            if self._directory.is_empty:
                raise nothing_deployed()
            model = self._directory.find(options.name)
            if model.endpoint.needs_key and not self._callers.admit(model.endpoint, options, request, self):
                return
            version = model.version(options.version) if options.version is not None else None
            body = codec.decode(request.body, options.json_bytes)
            request_id = body.request_id.encode() or request_id
            self._infer(model, version, body, request, options, request_id)
        except DivisionsError as error:
            self.refuse("" if model is None else model.endpoint.name, request.exchange, error, request_id)

    def _infer(
        self,
        model: ServedModel,
        named: ServedVersion | None,
        body: InferRequest,
        request: Request,
        options: Options,
        request_id: bytes,
    ) -> None:
        is_binary = _is_binary(body, model.output)
        entity = model.endpoint.decoder.entity
        if len(body.tensors) == 1 and body.tensors[0].name == entity and entity not in model.kinds:
            look_up = _Entities(self, model, named, body, is_binary, request, options, request_id, self._wall_s)
            if model.endpoint.needs_key and options.caller is not None:
                options.caller.charge(len(look_up.ids) - 1)
            request.exchange.work = look_up
            self._stored.look_up(look_up)
            return
        is_encoded = len(body.tensors) == 1 and body.tensors[0].name == ROWS and ROWS not in model.kinds
        answering = named or model.stable
        source: RowSource
        if is_encoded:
            source = EncodedRows(body.tensors[0], answering.bounds)
        else:
            source = FeatureColumns(body.tensors, model.kinds, answering.required)
        endpoint = model.endpoint
        if endpoint.needs_key and options.caller is not None:
            options.caller.charge(source.rows - 1)
        key = _key(body.parameters, entity, options.key)
        if named is None and is_encoded and not model.has_one_encoding:
            pool = endpoint.stable
        else:
            pool = self._pool(model, named, key or request_id)
        now_s = request.received_s
        deadline_s = now_s + _timeout_s(body.parameters, options.timeout_s)
        keys = (key.decode(errors="replace"),) if key and source.rows == 1 else ()
        has_own_id = bool(body.request_id)
        answer = TensorAnswer(model, source.rows, is_binary, request_id, has_own_id, request.exchange, self, b"", keys)
        jobs = self._dispatcher.submit_rows(
            endpoint, pool, source, answer, now_s, deadline_s, is_pinned=named is not None
        )
        request.exchange.work = CancelAll(jobs)

    def _pool(self, model: ServedModel, named: ServedVersion | None, key: bytes) -> Pool:
        return named.pool if named is not None else model.endpoint.pool_for(key)

    def found_all(self, asked: _Entities) -> None:
        """Sends the rows of entities whose features were found.

        Raises:
            DivisionsError: the request is refused.
        """
        model, body, request, ids = asked.model, asked.body, asked.request, asked.ids
        endpoint, deadline_s = model.endpoint, request.received_s + asked.timeout_s
        if self._now_s() >= deadline_s:
            raise DeadlineExceededError(
                "no answer before the deadline: features were not found in time", remedy="allow it more time"
            )
        # One customer gets the same version here and at predict.
        own_key = ids[0].encode(errors="surrogatepass") if len(ids) == 1 else b""
        key = _key(body.parameters, endpoint.decoder.entity, asked.options.key) or own_key or asked.request_id
        source = StoredRows(endpoint, [asked.results[each][0] for each in ids])
        told = freshness([(asked.results[each][1], asked.results[each][2]) for each in ids])
        exchange, has_own_id = request.exchange, bool(body.request_id)
        answer = TensorAnswer(
            model, source.rows, asked.is_binary, asked.request_id, has_own_id, exchange, self, told, ids
        )
        jobs = self._dispatcher.submit_rows(
            endpoint,
            self._pool(model, asked.named, key),
            source,
            answer,
            request.received_s,
            deadline_s,
            is_pinned=asked.named is not None,
        )
        exchange.work = CancelAll(jobs)


class _Entities(CustomerLookUp):
    """The entities of one infer request, whose rows are in the online store."""

    def __init__(
        self,
        handler: InferHandler,
        model: ServedModel,
        named: ServedVersion | None,
        body: InferRequest,
        is_binary: bool,
        request: Request,
        options: Options,
        request_id: bytes,
        wall_s: Callable[[], float],
    ) -> None:
        self.ids = entity_ids(body.tensors[0])
        self.timeout_s = _timeout_s(body.parameters, options.timeout_s)
        give_up_s = request.received_s + self.timeout_s * WAIT_SHARE
        super().__init__(model.endpoint, list(dict.fromkeys(self.ids)), wall_s, give_up_s)
        self._handler = handler
        self.model = model
        self.named = named
        self.body = body
        self.is_binary = is_binary
        self.request = request
        self.options = options
        self.request_id = request_id
        self.results: dict[str, tuple[Values, float, int]] = {}

    def accept(self, key: str, values: Values, as_of_s: float, status: int) -> None:
        self.results[key] = (values, as_of_s, status)

    def place_of(self, key: str) -> str:
        return f"row {self.ids.index(key)}: "

    def complete(self) -> None:
        self._handler.found_all(self)

    def failed(self, error: DivisionsError) -> None:
        self._handler.refuse(self.model.endpoint.name, self.request.exchange, error, self.request_id)


def _unquote(part: bytes) -> str:
    return urllib.parse.unquote_to_bytes(part).decode("latin-1")


def _is_binary(body: InferRequest, output: str) -> bool:
    if not body.outputs:
        return body.wants_binary
    if len(body.outputs) > 1 or body.outputs[0].name != output:
        raise InvalidFeaturesError("`outputs` names one that the model does not have", remedy=f"it has only {output}")
    wanted = body.outputs[0].is_binary
    return body.wants_binary if wanted is None else wanted


def _key(parameters: dict[str, Any], entity: str, header: bytes | None) -> bytes:
    """The key of the split: customer, else sequence; empty without either."""
    key = _id_of(entity, parameters.get(entity)) or header
    if key:
        return key
    sequence = parameters.get("sequence_id")
    return b"" if sequence == 0 else _id_of("sequence_id", sequence)


def _id_of(name: str, value: Any) -> bytes:
    """A parameter that is an id; empty if it is null or the empty text."""
    if value is None:
        return b""
    text = entity_text(name, value)
    if len(text) > MAX_ID_CHARACTERS:
        raise InvalidFeaturesError(
            f"parameter `{name}` must have at most {MAX_ID_CHARACTERS} characters",
            remedy="send the id as it is in the data",
        )
    return text.encode(errors="surrogatepass")


def _timeout_s(parameters: dict[str, Any], timeout_s: float) -> float:
    """The smaller of ``timeout_s`` and the parameter ``timeout``, which is in microseconds; 0 means none."""
    timeout_us = parameters.get("timeout", 0)
    if not isinstance(timeout_us, int) or isinstance(timeout_us, bool) or timeout_us < 0:
        raise MalformedRequestError("parameter `timeout` must be a whole number of microseconds", remedy="leave it out")
    if timeout_us == 0 or timeout_us >= int(timeout_s * 1e6):  # As integers: not all of them fit a float.
        return timeout_s
    return timeout_us * 1e-6
