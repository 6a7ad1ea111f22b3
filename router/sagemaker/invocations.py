"""``POST /invocations``: what SageMaker's hosts send to a container, real-time requests and batch transform alike.

A predict request in JSON takes the way of predict. Rows in other forms are split by row, as predict's are, and go to
the dispatcher in portions, so that a part of a batch transform with many rows never fills the queue. Callers get one
score per row, in the rows' order.

The endpoint is the only one that is deployed. Where there are several, the header
``X-Amzn-SageMaker-Custom-Attributes: endpoint=NAME``, which SageMaker passes on, names it.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Sequence
from typing import Final

import msgspec
from starlette.responses import Response

from divisions.errors import (
    DivisionsError,
    MalformedRequestError,
    RequestError,
    UnknownEndpointError,
    UnsupportedMediaTypeError,
)
from router.http.cancellation import Cancellable
from router.http.exchange import render
from router.http.request import Handler, Head, Request
from router.predict.answer_log import Logged
from router.predict.callers import Callers
from router.predict.decode import Row
from router.predict.dispatcher import Dispatcher
from router.predict.endpoint import Endpoint
from router.predict.front import Options, nothing_deployed
from router.predict.jobs import Answer, Job
from router.predict.predict_handler import PredictHandler
from router.sagemaker.bodies import Form, accepted_form, form_of, read_csv, read_json, read_lines, render_scores

INVOCATIONS: Final = "/invocations"
PING: Final = "/ping"
EXECUTION_PARAMETERS: Final = "/execution-parameters"
PATHS: Final = frozenset({INVOCATIONS, PING, EXECUTION_PARAMETERS})
CONCURRENT_TRANSFORMS: Final = 4
PORTION_BATCHES: Final = 8
"""How many batches a request has on their way. As many transforms as we ask for fill half of a replica's queue."""
_ATTRIBUTES: Final = b"x-amzn-sagemaker-custom-attributes"
_NAMED: Final = re.compile(rb"(?:^|[,;\s])endpoint=([^,;\s]+)")
_REQUEST_ID: Final = re.compile(rb"[A-Za-z0-9._:/+=-]{1,128}")


class _Asked:
    """What the head of a request asks for."""

    __slots__ = ("endpoint", "form", "options", "reply", "request_id", "traceparent")

    def __init__(self, head: Head, timeout_s: float) -> None:
        self.options = Options(timeout_s)
        self.options.authorization = head.header(b"authorization")
        self.form = form_of(head.header(b"content-type") or b"application/json")
        self.reply = accepted_form(head.header(b"accept") or b"") or self.form
        named = _NAMED.search(head.header(_ATTRIBUTES) or b"")
        self.endpoint = named[1].decode("latin-1") if named is not None else ""
        given = head.header(b"x-request-id") or b""
        self.request_id = given if _REQUEST_ID.fullmatch(given) else b""
        parents = [value for name, value in head.headers if name == b"traceparent"]
        self.traceparent = b",".join(parents)  # two of them are none, as in `router.predict.front`


class Invocations(Handler):
    """See the module.

    Args:
        dispatcher: sends rows to versions.
        predict: answers predict requests, and sends refusals.
        callers: who sends requests to endpoints that ask for keys.
        timeout_s: deadline of a request.
        id_prefix: makes request ids of this process unique.
        now_s: monotonic clock.
    """

    def __init__(
        self,
        dispatcher: Dispatcher,
        predict: PredictHandler,
        callers: Callers,
        timeout_s: float,
        id_prefix: str,
        now_s: Callable[[], float],
    ) -> None:
        self._dispatcher = dispatcher
        self._predict = predict
        self._callers = callers
        self._timeout_s = timeout_s
        self._id_prefix = id_prefix.encode()
        self._now_s = now_s
        self._num_ids = 0

    def handle(self, request: Request) -> None:
        derived = request.head.derived
        asked = derived if isinstance(derived, _Asked) else _Asked(request.head, self._timeout_s)
        request.head.derived = asked
        request.exchange.traceparent = asked.traceparent
        request.exchange.received_s = request.received_s
        request_id = asked.request_id
        if not request_id:
            self._num_ids += 1
            request_id = b"%s%x" % (self._id_prefix, self._num_ids)
        name = ""
        try:
            endpoint = self._endpoint(asked.endpoint)
            name = endpoint.name
            if endpoint.needs_key and not self._callers.admit(endpoint, asked.options, request, self):
                return
            self._answer(endpoint, asked, request, request_id)
        except DivisionsError as error:
            self._predict.refuse(name, request.exchange, error, request_id)

    def _endpoint(self, name: str) -> Endpoint:
        endpoints = self._dispatcher.endpoints
        if not endpoints:
            raise nothing_deployed()
        if name:
            if name not in endpoints:
                raise UnknownEndpointError("no such endpoint", remedy=f"there are: {', '.join(endpoints)}")
            return endpoints[name]
        if len(endpoints) > 1:
            raise MalformedRequestError(
                "several endpoints are deployed here",
                remedy=f"name one with X-Amzn-SageMaker-Custom-Attributes: endpoint=… ({', '.join(endpoints)})",
            )
        return next(iter(endpoints.values()))

    def _answer(self, endpoint: Endpoint, asked: _Asked, request: Request, request_id: bytes) -> None:
        decoder = endpoint.decoder
        num_required = len(endpoint.stable.spec.schema.features)
        rows: Row | list[Row]
        match asked.form:
            case None:
                raise UnsupportedMediaTypeError("the body must be text/csv, application/json or application/jsonlines")
            case Form.CSV:
                rows = read_csv(request.body, decoder, num_required)
            case Form.LINES:
                rows = read_lines(request.body, decoder, num_required)
            case Form.JSON:
                rows, is_plain = read_json(request.body, decoder, num_required)
                if not is_plain and (asked.reply is Form.JSON or decoder.has_missing_features(rows)):
                    self._predict.answer_admitted(endpoint, request, asked.options, request_id)
                    return
        rows = [rows] if isinstance(rows, Row) else rows
        if endpoint.needs_key and asked.options.caller is not None:
            asked.options.caller.charge(len(rows) - 1)
        if decoder.has_missing_features(rows):
            raise MalformedRequestError(
                f"rows that name only `{decoder.entity}` cannot come as JSON lines",
                remedy='send {"instances": [...]} as application/json, or the features',
            )
        assert asked.reply is not None, "it is the body's form unless Accept names another"
        _Portions(self, endpoint, rows, asked.reply, request, request_id, asked.options.timeout_s).send_next()

    def send(
        self, endpoint: Endpoint, rows: Sequence[tuple[bytes, Row]], answer: Answer, deadline_s: float
    ) -> list[Job]:
        """Sends some of a request's rows to their versions.

        Raises:
            RequestError: they are refused.
        """
        keyed = [(key, row.checked()) for key, row in rows]
        return self._dispatcher.submit_many(endpoint, keyed, answer, self._now_s(), deadline_s)

    def trace(self, endpoint: Endpoint, request: Request, request_id: bytes, rows: int) -> None:
        """Records an answered request, if requests are traced."""
        if self._predict.traces is not None:
            parent, began_s = request.exchange.traceparent, request.received_s
            self._predict.traces.replied(parent, request_id, endpoint.name, rows, 200, "", began_s)

    def refuse(self, endpoint: Endpoint, request: Request, error: DivisionsError, request_id: bytes) -> None:
        self._predict.refuse(endpoint.name, request.exchange, error, request_id)


class _Portions(Cancellable):
    """The rows of one request, of which a portion is on its way at a time."""

    def __init__(
        self,
        handler: Invocations,
        endpoint: Endpoint,
        rows: Sequence[Row],
        form: Form,
        request: Request,
        request_id: bytes,
        timeout_s: float,
    ) -> None:
        self._handler = handler
        self._deadline_s = request.received_s + timeout_s
        self._endpoint = endpoint
        self._rows = rows
        self._form = form
        self._size = PORTION_BATCHES * endpoint.stable.max_batch
        self._request = request
        self._request_id = request_id
        self._scores: list[float] = []
        self._versions: set[bytes] = set()
        self._jobs: list[Job] = []
        self._is_gone = False
        request.exchange.work = self

    def send_next(self) -> None:
        """Sends the next portion, or the reply if all rows are answered.

        Raises:
            RequestError: the portion is refused.
        """
        start = len(self._scores)
        portion = self._rows[start : start + self._size]
        if not portion:
            self._reply()
            return
        keyed = [
            (row.key.encode() if row.key is not None else b"%s-%d" % (self._request_id, start + place), row)
            for place, row in enumerate(portion)
        ]
        answer = _Portion(self, len(portion), start, [row.key for row in portion])
        self._jobs = self._handler.send(self._endpoint, keyed, answer, self._deadline_s)

    def log(self, parts: Sequence[Logged], keys: Sequence[str | None], start: int) -> None:
        """Hands the answers to a portion over to the prediction log, if there is one."""
        if self._endpoint.log is not None:
            self._endpoint.log.offer(parts, self._request_id, keys, start)

    def answered(self, scores: Sequence[float], versions: set[bytes]) -> None:
        self._scores += scores
        self._versions |= versions
        asyncio.get_running_loop().call_soon(self._go_on)  # Others take their turn between two portions.

    def _go_on(self) -> None:
        if self._is_gone:
            return
        try:
            self.send_next()
        except DivisionsError as error:
            self.failed(error)

    def failed(self, error: DivisionsError) -> None:
        self._handler.refuse(self._endpoint, self._request, error, self._request_id)

    def cancel(self) -> None:
        """The caller has gone."""
        self._is_gone = True
        for job in self._jobs:
            job.cancel()

    def _reply(self) -> None:
        exchange = self._request.exchange
        headers = [
            (b"content-type", self._form.value.encode()),
            (b"x-request-id", self._request_id),
            (b"x-model-version", b",".join(sorted(self._versions))),
        ]
        exchange.reply(render(200, headers, render_scores(self._form, self._scores), exchange.connection_header))
        self._handler.trace(self._endpoint, self._request, self._request_id, len(self._rows))


class _Portion(Answer):
    """Joins the jobs of one portion."""

    __slots__ = ("_keys", "_left", "_logged", "_portions", "_scores", "_start", "_versions")

    def __init__(self, portions: _Portions, rows: int, start: int, keys: Sequence[str | None]) -> None:
        self._portions = portions
        self._left = rows
        self._scores = [0.0] * rows
        self._versions: set[bytes] = set()
        self._start = start
        self._keys = keys
        self._logged: list[Logged] = []

    def answered(self, job: Job, scores: Sequence[float], compute_us: int, now_s: float) -> None:
        for position, score in zip(job.positions, scores, strict=True):
            self._scores[position] = score
        self._versions.add(job.version.label)
        self._left -= job.rows
        self._logged.append(Logged(job, scores))
        if self._left == 0:
            self._portions.log(self._logged, self._keys, self._start)
            self._portions.answered(self._scores, self._versions)

    def failed(self, job: Job, error: RequestError) -> None:
        if self._left > 0:
            self._left = 0  # One failed row fails the request; other parts are ignored.
            self._portions.failed(error)


def execution_parameters(max_body_bytes: int) -> Callable[[], Response]:
    """What a batch transform asks before it begins: how large its parts may be, and how many at once."""
    document = msgspec.json.encode(
        {
            "MaxConcurrentTransforms": CONCURRENT_TRANSFORMS,
            "BatchStrategy": "MULTI_RECORD",
            "MaxPayloadInMB": max(1, min(100, max_body_bytes >> 20)),
        }
    )
    return lambda: Response(document, media_type="application/json")
