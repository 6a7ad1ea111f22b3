"""What both protocols share on the hot path: the heads of requests, request ids, and refusals.

`router.predict.predict_handler` and `router.oip.infer` inherit from `Front`. A refusal is an error of
`divisions.errors`. One place counts it, logs it and sends it as a problem document with its ``code``.
"""

from __future__ import annotations

import re
from abc import abstractmethod
from collections.abc import Callable
from typing import Any, Final

from divisions.errors import (
    DivisionsError,
    LimitReachedError,
    MalformedRequestError,
    NothingDeployedError,
    OverloadedError,
    UnsupportedMediaTypeError,
)
from router.http import problem
from router.http.exchange import Exchange
from router.http.request import Handler, Head, Request
from router.http.request_log import RequestLog
from router.predict.trace_buffer import TraceBuffer

_NO_TOKEN: Final = 401
_REQUEST_ID: Final = re.compile(rb"[A-Za-z0-9._:/+=-]{1,128}")


class Options:
    """What the head of a request asks for."""

    __slots__ = (
        "admitted",
        "asked_timeout_s",
        "authorization",
        "caller",
        "error",
        "explain",
        "generation",
        "json_bytes",
        "key",
        "name",
        "request_id",
        "timeout_s",
        "traceparent",
        "version",
    )

    def __init__(self, timeout_s: float) -> None:
        self.name = ""
        """The endpoint or model, as the URL has it."""
        self.version: str | None = None
        """The version that the caller names."""
        self.timeout_s = timeout_s
        self.asked_timeout_s = timeout_s
        """The same, before the limit of the caller's key."""
        self.authorization: bytes | None = None
        self.caller: Any = None
        """The `router.predict.callers.Caller` that was let in with this head; None before."""
        self.generation = 0
        """Of the keys by which they were let in."""
        self.admitted = ""
        """The endpoint for which they were."""
        self.explain = 0
        """How many features the caller wants of each row's explanation; 0 for no explanation."""
        self.request_id = b""
        """The caller's; empty without one."""
        self.traceparent = b""
        self.key: bytes | None = None
        """The customer, where a header names it."""
        self.json_bytes: int | None = None
        """Length of the body's JSON part, where raw tensors follow it."""
        self.error: DivisionsError | None = None
        """What is wrong with the head."""


class Refusals:
    """Counts and logs requests that ended in an error.

    Args:
        now_s: monotonic clock.
    """

    def __init__(self, now_s: Callable[[], float]) -> None:
        self.counts: dict[tuple[str, int, str], int] = {}
        """Requests by endpoint (empty without one), status and code."""
        self._log = RequestLog(now_s)

    def add(self, endpoint: str, status: int, error: DivisionsError, request_id: bytes, traceparent: bytes) -> None:
        key = (endpoint, status, problem.code_of(error))
        self.counts[key] = self.counts.get(key, 0) + 1
        self._log.refused(endpoint, status, str(error), request_id, traceparent)


class Front(Handler):
    """One protocol's requests. What a head asks for is read once and kept with the head.

    Args:
        timeout_s: deadline of requests that name none, and the upper limit for requests that do.
        id_prefix: makes request ids of this process unique.
        media: says which content types the body may have.
        refusals: takes requests that end in an error.
    """

    def __init__(self, timeout_s: float, id_prefix: str, media: str, refusals: Refusals) -> None:
        self.refusals = refusals
        self.traces: TraceBuffer | None = None
        """Set if requests are traced."""
        self._timeout_s = timeout_s
        self._id_prefix = id_prefix.encode()
        self._media = media
        self._num_ids = 0

    def handle(self, request: Request) -> None:
        derived = request.head.derived
        options = derived if isinstance(derived, Options) else self._read_head(request.head)
        request.exchange.traceparent = options.traceparent
        request.exchange.received_s = request.received_s
        request_id = options.request_id
        if not request_id:
            self._num_ids += 1
            request_id = b"%s%x" % (self._id_prefix, self._num_ids)
        if options.error is not None:
            self.refuse("", request.exchange, options.error, request_id)
        else:
            self.answer(request, options, request_id)

    @abstractmethod
    def answer(self, request: Request, options: Options, request_id: bytes) -> None:
        """Answers a request whose head is in order."""

    @abstractmethod
    def read_target(self, head: Head, options: Options) -> None:
        """Reads the URL."""

    @abstractmethod
    def read_header(self, name: bytes, value: bytes, head: Head, options: Options) -> None:
        """Reads a header that is this protocol's alone."""

    @abstractmethod
    def takes(self, content_type: bytes) -> bool:
        """Whether bodies may have this content type."""

    def status_of(self, error: DivisionsError) -> int:
        return problem.status_of(error)

    def refuse(self, endpoint: str, exchange: Exchange, error: DivisionsError, request_id: bytes) -> None:
        """Replies with an error.

        Args:
            endpoint: the endpoint's name; empty if there is none.
        """
        status = self.status_of(error)
        self.refusals.add(endpoint, status, error, request_id, exchange.traceparent)
        if self.traces is not None:
            self.traces.replied(
                exchange.traceparent, request_id, endpoint, 0, status, problem.code_of(error), exchange.received_s
            )
        headers = [(b"x-request-id", request_id)]
        if isinstance(error, OverloadedError):
            headers.append((b"retry-after", b"%d" % max(1, round(error.retry_after_s))))
        if isinstance(error, LimitReachedError) and error.policy:
            headers.append((b"ratelimit-policy", error.policy.encode()))
            headers.append((b"ratelimit", error.left.encode()))
        elif status == _NO_TOKEN:
            headers.append((b"www-authenticate", b"Bearer"))
        exchange.problem(status, str(error), *headers, code=problem.code_of(error))

    def _read_head(self, head: Head) -> Options:
        options = Options(self._timeout_s)
        for name, value in head.headers:
            if name == b"x-request-id":
                if _REQUEST_ID.fullmatch(value):
                    options.request_id = value
            elif name == b"content-type":
                if not self.takes(value):
                    options.error = UnsupportedMediaTypeError(self._media)
            elif name == b"x-request-timeout-ms":
                if value.isdigit() and 0 < len(value) < 10 and int(value) > 0:
                    options.timeout_s = min(options.timeout_s, int(value) / 1000)
                else:
                    options.error = MalformedRequestError(
                        "x-request-timeout-ms must be a whole number of milliseconds above 0"
                    )
            elif name == b"traceparent":
                # Two of them are none: W3C's tests of Trace Context want a new trace. What is joined is malformed.
                options.traceparent = b"%s,%s" % (options.traceparent, value) if options.traceparent else value or b"-"
            elif name == b"authorization":
                if options.authorization is None:
                    options.authorization = value
            else:
                self.read_header(name, value, head, options)
        self.read_target(head, options)
        options.asked_timeout_s = options.timeout_s
        head.derived = options
        return options


def nothing_deployed() -> NothingDeployedError:
    return NothingDeployedError("nothing is deployed yet", remedy="run a pipeline with `divisions run`")
