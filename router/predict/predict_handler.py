"""The hot path: ``POST /api/v2/predict/{endpoint}``, from a request's bytes to its reply's.

A request of one row costs one object and no task: parse, split, enqueue. The batch's callback writes the reply.
Malformed requests are answered here too, with a problem document.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from divisions.errors import DivisionsError, OverloadedError, RequestError, UnknownEntityError, UnknownVersionError
from divisions.names import NAME_RULE, is_name
from divisions.online_store import OnlineStoreReader
from router.http import problem
from router.http.cancellation import Cancellable
from router.http.exchange import Exchange
from router.http.request import Handler, Head, Request
from router.http.request_log import RequestLog
from router.predict.decode import Row, Values
from router.predict.dispatcher import Dispatcher
from router.predict.endpoint import Endpoint
from router.predict.jobs import Answer, Job, Version
from router.predict.reply_templates import OK, millis

PREFIX: Final = b"/api/v2/predict/"
MAX_ROWS: Final = 4_096
_REQUEST_ID: Final = re.compile(rb"[A-Za-z0-9._:/+=-]{1,128}")
_encode: Final = msgspec.json.Encoder().encode


class _Options:
    """What the head of a request asks for."""

    __slots__ = ("complaint", "endpoint", "label", "request_id", "timeout_s", "traceparent")

    def __init__(self, endpoint: str, timeout_s: float) -> None:
        self.endpoint = endpoint
        self.timeout_s = timeout_s
        self.request_id = b""
        self.traceparent = b""
        self.label: bytes | None = None
        """The version that a tester names."""
        self.complaint: tuple[int, str] | None = None
        """Status and detail of the refusal, if the head is wrong."""


class PredictHandler(Handler):
    """Answers predict requests.

    Args:
        dispatcher: sends rows to versions.
        store: finds the features of customers whose requests carry none, by endpoint.
        timeout_s: deadline of requests that name none, and the upper limit for requests that do.
        id_prefix: makes request ids of this process unique.
        now_s: monotonic clock.
        token: the control token. Testers need it to name a version.
    """

    def __init__(
        self,
        dispatcher: Dispatcher,
        store: Callable[[str], OnlineStoreReader],
        timeout_s: float,
        id_prefix: str,
        now_s: Callable[[], float],
        token: str,
    ) -> None:
        self._dispatcher = dispatcher
        self._token = token.encode()
        self._store = store
        self._timeout_s = timeout_s
        self._id_prefix = id_prefix.encode()
        self._now_s = now_s
        self._count = 0
        self._log = RequestLog(now_s)
        self.refused: dict[tuple[str, int], int] = {}
        """Requests that reached no version, by endpoint and status."""

    def handle(self, request: Request) -> None:
        exchange, head = request.exchange, request.head
        derived = head.derived
        options = derived if isinstance(derived, _Options) else self._read_head(head)
        exchange.traceparent = options.traceparent
        request_id = options.request_id
        if not request_id:
            self._count += 1
            request_id = b"%s%x" % (self._id_prefix, self._count)
        if options.complaint is not None:
            self._refuse(exchange, "", options.complaint[0], options.complaint[1], request_id)
            return
        endpoint = self._dispatcher.endpoints.get(options.endpoint)
        if endpoint is None:
            name = options.endpoint.partition("?")[0]
            endpoint = self._dispatcher.endpoints.get(name)
            if endpoint is None:
                self._refuse_unknown(exchange, name, request_id)
                return
        try:
            rows = endpoint.decoder.decode(request.body, MAX_ROWS)
            if options.label is not None:
                self._named(endpoint, options.label, rows, request, request_id, options.timeout_s)
            elif isinstance(rows, Row):
                self._one(endpoint, rows, request, request_id, options.timeout_s)
            else:
                self._many(endpoint, rows, request, request_id, options.timeout_s)
        except DivisionsError as error:
            self.failed(endpoint, exchange, error, request_id)

    def _read_head(self, head: Head) -> _Options:
        options = _Options(head.url[len(PREFIX) :].decode("latin-1"), self._timeout_s)
        for name, value in head.headers:
            if name == b"x-request-id":
                if _REQUEST_ID.fullmatch(value):
                    options.request_id = value
            elif name == b"content-type":
                if value != b"application/json" and not _is_json(value):
                    options.complaint = (415, "the body must be application/json")
            elif name == b"x-request-timeout-ms":
                if value.isdigit() and 0 < len(value) < 10 and int(value) > 0:
                    options.timeout_s = min(options.timeout_s, int(value) / 1000)
                else:
                    options.complaint = (400, "x-request-timeout-ms must be a whole number of milliseconds above 0")
            elif name == b"traceparent":
                options.traceparent = value
            elif name == b"x-divisions-version":
                options.label = value
                options.complaint = options.complaint or self._tester_complaint(head)
        head.derived = options
        return options

    def _tester_complaint(self, head: Head) -> tuple[int, str] | None:
        """Choosing a version needs the control token, because it bypasses the split."""
        given = head.header(b"authorization")
        if given is None:
            return 401, "x-divisions-version needs the cluster's bearer token"
        scheme, _, token = given.partition(b" ")
        if scheme.lower() != b"bearer" or not hmac.compare_digest(token.strip(), self._token):
            return 403, "this bearer token may not choose a version"
        return None

    def _refuse_unknown(self, exchange: Exchange, name: str, request_id: bytes) -> None:
        if not is_name(name):
            detail = f"that cannot be an endpoint: names are {NAME_RULE}"
            self._refuse(exchange, "", 400, detail, request_id)
        elif self._dispatcher.endpoints:
            self._refuse(exchange, "", 404, "no such endpoint", request_id)
        else:
            detail = "nothing is deployed yet. Run a pipeline with `divisions run`"
            self._refuse(exchange, "", 503, detail, request_id)

    def _refuse(self, exchange: Exchange, endpoint: str, status: int, detail: str, request_id: bytes) -> None:
        self._count_refusal(endpoint, status, detail, exchange, request_id)
        exchange.problem(status, detail, (b"x-request-id", request_id))

    def failed(self, endpoint: Endpoint, exchange: Exchange, error: DivisionsError, request_id: bytes) -> None:
        """Replies with one of our errors."""
        status = problem.status_of(error)
        self._count_refusal(endpoint.name, status, str(error), exchange, request_id)
        headers = [(b"x-request-id", request_id)]
        if isinstance(error, OverloadedError):
            headers.append((b"retry-after", b"%d" % max(1, round(error.retry_after_s))))
        exchange.problem(status, str(error), *headers, code=problem.code_of(error))

    def _count_refusal(self, endpoint: str, status: int, detail: str, exchange: Exchange, request_id: bytes) -> None:
        self.refused[endpoint, status] = self.refused.get((endpoint, status), 0) + 1
        self._log.refused(endpoint, status, detail, request_id, exchange.traceparent)

    def _one(self, endpoint: Endpoint, row: Row, request: Request, request_id: bytes, timeout_s: float) -> None:
        values = self._values(endpoint, row)
        key = row.key.encode() if row.key is not None else request_id
        now_s = request.received_s
        answer = SingleAnswer(endpoint, row.key, request_id, request.exchange, self)
        job = self._dispatcher.submit_one(endpoint, key, values, answer, now_s, now_s + timeout_s)
        request.exchange.work = job

    def _many(
        self, endpoint: Endpoint, rows: Sequence[Row], request: Request, request_id: bytes, timeout_s: float
    ) -> None:
        keyed = [
            (
                row.key.encode() if row.key is not None else b"%s-%d" % (request_id, position),
                self._values(endpoint, row),
            )
            for position, row in enumerate(rows)
        ]
        now_s = request.received_s
        answer = BatchAnswer(endpoint, [row.key for row in rows], request_id, request.exchange, self)
        jobs = self._dispatcher.submit_many(endpoint, keyed, answer, now_s, now_s + timeout_s)
        request.exchange.work = CancelAll(jobs)

    def _named(
        self,
        endpoint: Endpoint,
        label: bytes,
        rows: Row | list[Row],
        request: Request,
        request_id: bytes,
        timeout_s: float,
    ) -> None:
        """Answers from the version that a tester names, at any weight."""
        pool = next((pool for pool in endpoint.pools if pool.version.label == label), None)
        if pool is None:
            versions = ", ".join(pool.spec.version for pool in endpoint.pools)
            raise UnknownVersionError("the endpoint does not run that version", remedy=f"it runs {versions}")
        exchange = request.exchange
        answer: Answer
        if isinstance(rows, Row):
            answer = SingleAnswer(endpoint, rows.key, request_id, exchange, self)
            rows = [rows]
        else:
            answer = BatchAnswer(endpoint, [row.key for row in rows], request_id, exchange, self)
        values = [self._values(endpoint, row) for row in rows]
        now_s = request.received_s
        jobs = self._dispatcher.submit_named(pool, endpoint, values, answer, now_s, now_s + timeout_s)
        request.exchange.work = CancelAll(jobs)

    def _values(self, endpoint: Endpoint, row: Row) -> Values:
        if row.values is not None:
            return row.values
        assert row.key is not None  # the decoder requires one of them
        stored = self._store(endpoint.name).get(row.key)
        if stored is None:
            raise UnknownEntityError(
                f"the online store has no features for this {endpoint.decoder.entity}",
                remedy="send `features`, or run the pipeline on data that holds it",
            )
        return endpoint.decoder.decode_stored(stored)


class CancelAll(Cancellable):
    """The jobs of one request."""

    __slots__ = ("_jobs",)

    def __init__(self, jobs: Sequence[Job]) -> None:
        self._jobs = jobs

    def cancel(self) -> None:
        for job in self._jobs:
            job.cancel()


class SingleAnswer(Answer):
    """Writes the reply to a request of one row."""

    __slots__ = ("_endpoint", "_exchange", "_handler", "_key", "_request_id")

    def __init__(
        self, endpoint: Endpoint, key: str | None, request_id: bytes, exchange: Exchange, handler: PredictHandler
    ) -> None:
        self._endpoint = endpoint
        self._key = key
        self._request_id = request_id
        self._exchange = exchange
        self._handler = handler

    def answered(self, job: Job, scores: Sequence[float], compute_us: int, now_s: float) -> None:
        exchange = self._exchange
        exchange.reply(
            self._endpoint.reply_form(job.version).fill(
                self._request_id,
                int((now_s - job.arrived_s) * 1e6),
                compute_us,
                exchange.connection_header,
                b"null" if self._key is None else _encode(self._key),
                scores[0],
            )
        )

    def failed(self, job: Job, error: RequestError) -> None:
        self._handler.failed(self._endpoint, self._exchange, error, self._request_id)


class BatchAnswer(Answer):
    """Joins the jobs of a batch request and writes its reply: all rows, in the request's order, or one problem."""

    __slots__ = ("_compute_us", "_endpoint", "_exchange", "_handler", "_keys", "_left", "_parts", "_request_id")

    def __init__(
        self,
        endpoint: Endpoint,
        keys: Sequence[str | None],
        request_id: bytes,
        exchange: Exchange,
        handler: PredictHandler,
    ) -> None:
        self._endpoint = endpoint
        self._keys = keys
        self._request_id = request_id
        self._exchange = exchange
        self._handler = handler
        self._left = len(keys)
        self._compute_us = 0
        self._parts: list[tuple[Sequence[int], Version, Sequence[float]]] = []  # no jobs, which refer to this object

    def answered(self, job: Job, scores: Sequence[float], compute_us: int, now_s: float) -> None:
        self._parts.append((job.positions, job.version, scores))
        self._compute_us = max(self._compute_us, compute_us)
        self._left -= job.rows
        if self._left == 0:
            self._exchange.reply(self._render(now_s - job.arrived_s))

    def _render(self, total_s: float) -> bytes:
        endpoint = self._endpoint
        predictions: list[bytes] = [b""] * len(self._keys)
        versions: dict[bytes, None] = {}
        for positions, version, scores in self._parts:
            versions[version.label] = None
            for position, score in zip(positions, scores, strict=True):
                predictions[position] = b'{"%s":%s,"%s_probability":%.8g,"model":"%s","version":"%s"}' % (
                    endpoint.entity_name,
                    msgspec.json.encode(self._keys[position]),
                    endpoint.encoded_name,
                    score,
                    version.model,
                    version.label,
                )
        body = b'{"predictions":[%s],"request_id":"%s"}' % (b",".join(predictions), self._request_id)
        closing = self._exchange.connection_header
        return OK % (
            self._request_id,
            b",".join(sorted(versions)),
            millis(max(0, int(total_s * 1e6) - self._compute_us)),
            millis(self._compute_us),
            closing,
            b"%d" % len(body),
            body,
        )

    def failed(self, job: Job, error: RequestError) -> None:
        if self._left > 0:
            self._left = 0  # One failed row fails the request; other parts are ignored.
            self._handler.failed(self._endpoint, self._exchange, error, self._request_id)


def _is_json(content_type: bytes) -> bool:
    media = content_type.partition(b";")[0].strip().lower()
    return media == b"application/json" or media.endswith(b"+json")
