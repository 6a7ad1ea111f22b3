"""The hot path: ``POST /api/v2/predict/{endpoint}``, from a request's bytes to its reply's.

A request of one row costs one object and no task: parse, split, enqueue. The batch's callback writes the reply.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from divisions.errors import (
    DeadlineExceededError,
    DivisionsError,
    MalformedRequestError,
    UnknownEndpointError,
    UnknownVersionError,
)
from divisions.names import NAME_RULE, is_name
from router.http.request import Head, Request
from router.predict.answers import BatchAnswer, SingleAnswer
from router.predict.callers import Callers
from router.predict.customer_look_up import WAIT_SHARE, CustomerLookUp, Notes
from router.predict.decode import MAX_ROWS, Row, Values
from router.predict.dispatcher import Dispatcher
from router.predict.endpoint import Endpoint
from router.predict.explaining import RowExplainer, check_explained, features_asked
from router.predict.front import Front, Options, Refusals, nothing_deployed
from router.predict.jobs import Answer, CancelAll
from router.predict.pool import Pool
from router.predict.stored_features import FeatureSource

PREFIX: Final = b"/api/v2/predict/"


class PredictHandler(Front):
    """Answers predict requests.

    Args:
        dispatcher: sends rows to versions.
        stored: finds the features of customers whose requests carry none.
        timeout_s: deadline of requests that name none, and the upper limit for requests that do.
        id_prefix: makes request ids of this process unique.
        now_s: monotonic clock.
        wall_s: the time, in seconds since the Unix epoch.
        callers: who sends requests to endpoints that ask for keys, and who may name the version that answers.
        refusals: takes requests that end in an error.
        explainer: answers requests with ``?explain=true``; None refuses them.
    """

    def __init__(
        self,
        dispatcher: Dispatcher,
        stored: FeatureSource,
        timeout_s: float,
        id_prefix: str,
        now_s: Callable[[], float],
        wall_s: Callable[[], float],
        callers: Callers,
        refusals: Refusals,
        explainer: RowExplainer | None = None,
    ) -> None:
        super().__init__(timeout_s, id_prefix, "the body must be application/json", refusals)
        self._dispatcher = dispatcher
        self._routes = dispatcher.routes
        self._callers = callers
        self._stored = stored
        self._now_s = now_s
        self._wall_s = wall_s
        self.notes = Notes()
        self._explainer = explainer

    def takes(self, content_type: bytes) -> bool:
        return content_type == b"application/json" or _is_json(content_type)

    def read_target(self, head: Head, options: Options) -> None:
        options.name, _, query = head.url[len(PREFIX) :].decode("latin-1").partition("?")
        if query:
            try:
                options.explain = features_asked(query)
            except DivisionsError as error:
                # It stays with the head. Its traceback would hold the frames of this request, and their bytes.
                options.error = options.error or error.with_traceback(None)

    def read_header(self, name: bytes, value: bytes, head: Head, options: Options) -> None:
        if name == b"x-divisions-version":
            options.version = value.decode("latin-1")

    def answer(self, request: Request, options: Options, request_id: bytes) -> None:
        endpoint = self._routes.endpoints.get(options.name)
        try:
            # A version that is named bypasses the split. Checked with each request: a token may have ended.
            if options.version is not None and not self._callers.check_tester(options, request, self):
                return
            if endpoint is None:
                raise self._unknown(options.name)
            if endpoint.needs_key and not self._callers.admit(endpoint, options, request, self):
                return
        except DivisionsError as error:
            self.refuse("" if endpoint is None else endpoint.name, request.exchange, error, request_id)
            return
        self.answer_admitted(endpoint, request, options, request_id)

    def answer_admitted(self, endpoint: Endpoint, request: Request, options: Options, request_id: bytes) -> None:
        """Answers a request whose sender may ask."""
        try:
            rows = endpoint.decoder.decode(request.body, MAX_ROWS)
            if endpoint.needs_key and options.caller is not None and not isinstance(rows, Row):
                options.caller.charge(len(rows) - 1)
            if options.explain and not isinstance(rows, Row):
                check_explained(len(rows))
            if endpoint.decoder.has_missing_features(rows):
                self._look_up(endpoint, rows, request, options, request_id)
            else:
                self.submit(endpoint, rows, request, options, request_id)
        except DivisionsError as error:
            self.refuse(endpoint.name, request.exchange, error, request_id)

    def _unknown(self, name: str) -> DivisionsError:
        endpoints = self._routes.endpoints
        if not is_name(name):
            return MalformedRequestError(f"that cannot be an endpoint: names are {NAME_RULE}")
        if not endpoints:
            return nothing_deployed()
        return UnknownEndpointError("no such endpoint", remedy=f"there are: {', '.join(endpoints)}")

    def submit(
        self, endpoint: Endpoint, rows: Row | list[Row], request: Request, options: Options, request_id: bytes
    ) -> None:
        """Sends rows that have features to the versions.

        Raises:
            DivisionsError: the request is refused.
        """
        if options.explain:
            self._explain(endpoint, rows, request, options, request_id)
            return
        exchange, now_s = request.exchange, request.received_s
        deadline_s = now_s + options.timeout_s
        if options.version is None and isinstance(rows, Row):
            key = rows.key.encode() if rows.key is not None else request_id
            one = SingleAnswer(endpoint, rows.key, rows.note, request_id, exchange, self)
            exchange.work = self._dispatcher.submit_one(endpoint, key, rows.checked(), one, now_s, deadline_s)
            return
        answer: Answer
        if isinstance(rows, Row):
            answer = SingleAnswer(endpoint, rows.key, rows.note, request_id, exchange, self)
            rows = [rows]
        else:
            keys, notes = [row.key for row in rows], [row.note for row in rows]
            answer = BatchAnswer(endpoint, keys, notes, request_id, exchange, self)
        if options.version is not None:
            pool = pool_named(endpoint, options.version)
            values = [row.checked() for row in rows]
            jobs = self._dispatcher.submit_named(pool, endpoint, values, answer, now_s, deadline_s)
        else:
            keyed = [
                (row.key.encode() if row.key is not None else b"%s-%d" % (request_id, position), row.checked())
                for position, row in enumerate(rows)
            ]
            jobs = self._dispatcher.submit_many(endpoint, keyed, answer, now_s, deadline_s)
        exchange.work = CancelAll(jobs)

    def _explain(
        self, endpoint: Endpoint, rows: Row | list[Row], request: Request, options: Options, request_id: bytes
    ) -> None:
        if self._explainer is None:
            raise MalformedRequestError("no explanations are given here", remedy="ask without `explain`")
        is_batch = not isinstance(rows, Row)
        some = [rows] if isinstance(rows, Row) else rows
        self._explainer.explain(endpoint, some, request, options, request_id, self, is_batch=is_batch)

    def _look_up(
        self, endpoint: Endpoint, rows: Row | list[Row], request: Request, options: Options, request_id: bytes
    ) -> None:
        pool = endpoint.stable if options.version is None else pool_named(endpoint, options.version)
        if isinstance(rows, Row):
            rows_left = [rows]
        else:
            # Before the look-ups: what cannot be answered in time must cost nothing more.
            pool.check_room(len(rows), self._now_s(), request.received_s + options.timeout_s)
            rows_left = [row for row in rows if row.values is None]
        look_up = _Customers(self, endpoint, rows, rows_left, request, options, request_id, self._wall_s)
        request.exchange.work = look_up
        self._stored.look_up(look_up)

    def is_late(self, request: Request, options: Options) -> bool:
        """Whether a request's deadline has passed."""
        return self._now_s() >= request.received_s + options.timeout_s


class _Customers(CustomerLookUp):
    """The customers of one predict request, whose rows wait for their features."""

    def __init__(
        self,
        handler: PredictHandler,
        endpoint: Endpoint,
        rows: Row | list[Row],
        without: Sequence[Row],
        request: Request,
        options: Options,
        request_id: bytes,
        wall_s: Callable[[], float],
    ) -> None:
        self._by_key: dict[str, list[Row]] = {}
        for row in without:
            self._by_key.setdefault(row.key or "", []).append(row)
        super().__init__(endpoint, list(self._by_key), wall_s, request.received_s + options.timeout_s * WAIT_SHARE)
        self._handler = handler
        self._endpoint = endpoint
        self._rows = rows
        self._request = request
        self._options = options
        self._request_id = request_id

    def accept(self, key: str, values: Values, as_of_s: float, status: int) -> None:
        note = self._handler.notes.of(as_of_s, status)
        for row in self._by_key[key]:
            row.values = values
            row.note = note

    def place_of(self, key: str) -> str:
        rows = self._rows
        return "" if isinstance(rows, Row) else f"`instances[{rows.index(self._by_key[key][0])}]`: "

    def complete(self) -> None:
        if self._handler.is_late(self._request, self._options):
            raise DeadlineExceededError(
                "no answer before the deadline: features were not found in time", remedy="allow it more time"
            )
        self._handler.submit(self._endpoint, self._rows, self._request, self._options, self._request_id)

    def failed(self, error: DivisionsError) -> None:
        self._handler.refuse(self._endpoint.name, self._request.exchange, error, self._request_id)


def pool_named(endpoint: Endpoint, version: str) -> Pool:
    pool = next((pool for pool in endpoint.pools if pool.spec.version == version), None)
    if pool is None:
        versions = ", ".join(pool.spec.version for pool in endpoint.pools)
        raise UnknownVersionError("the endpoint does not run that version", remedy=f"it runs {versions}")
    return pool


def _is_json(content_type: bytes) -> bool:
    media = content_type.partition(b";")[0].strip().lower()
    return media == b"application/json" or media.endswith(b"+json")
