"""Answers predict requests with ``?explain=true``. Lives on the gateway's event loop.

Each row goes to the version that the split chooses for its customer, like a plain one, and that version explains it. If
a canary cannot (it fails, is late, or has no room), stable does, once, in the time that is left. So callers do not
notice that a canary is bad. Explanations are not evidence in rollouts.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from divisions.control import VersionSpec
from divisions.errors import DivisionsError, NoReferenceError, RequestError
from router.evidence.drift import InputBins
from router.explain.explanation import Explanation, Owner
from router.explain.lane import Lane
from router.explain.reference import ReferenceRow, reference_row
from router.explain.replies import render_row
from router.http.request import Request
from router.predict.active_routes import ActiveRoutes
from router.predict.decode import Row
from router.predict.endpoint import Endpoint
from router.predict.explaining import RowExplainer
from router.predict.front import Front, Options
from router.predict.jobs import ATTEMPT_SHARE
from router.predict.pool import Pool
from router.predict.predict_handler import pool_named
from router.predict.reply_templates import OK, millis

ASK_AGAIN_S: Final = 2.0
"""The controller is asked for a reference once a second."""
_MAX_REFERENCES: Final = 64


class Explainer(RowExplainer):
    """See the module.

    Args:
        routes: the routing table in force.
        read_bins: reads the bins of a version's training data, as far as they are here.
        now_s: monotonic clock.
    """

    def __init__(
        self, routes: ActiveRoutes, read_bins: Callable[[VersionSpec], InputBins], now_s: Callable[[], float]
    ) -> None:
        self.routes = routes
        self.now_s = now_s
        self._read_bins = read_bins
        self._lanes: dict[Pool, Lane] = {}
        self._references: dict[tuple[str, str], ReferenceRow] = {}

    def explain(
        self,
        endpoint: Endpoint,
        rows: Sequence[Row],
        request: Request,
        options: Options,
        request_id: bytes,
        front: Front,
        *,
        is_batch: bool,
    ) -> None:
        work = _Explained(self, endpoint, rows, request, options, request_id, front, is_batch)
        work.begin()
        request.exchange.work = work
        self.pump()

    def lane(self, pool: Pool) -> Lane:
        """The lane of a version.

        Raises:
            NoReferenceError: its reference is not here yet.
        """
        lane = self._lanes.get(pool)
        if lane is None:
            lane = self._lanes[pool] = Lane(pool, self._reference(pool.spec))
        return lane

    def _reference(self, version: VersionSpec) -> ReferenceRow:
        key = (version.app_name, version.bundle_sha256)
        known = self._references.get(key)
        if known is not None:
            return known
        bins = self._read_bins(version)
        if not bins.histograms:
            raise NoReferenceError(
                f"the training data's bins of version {version.version} are not here yet",
                remedy="try again after the time that Retry-After names",
                retry_after_s=ASK_AGAIN_S,
            )
        if len(self._references) >= _MAX_REFERENCES:
            self._references.clear()
        found = self._references[key] = reference_row(version.schema, bins)
        return found

    def pump(self) -> None:
        """Sends what may be sent now."""
        now_s = self.now_s()
        for lane in list(self._lanes.values()):
            lane.pump(now_s)

    def sweep(self) -> None:
        """Goes on with what had to wait for plain requests, and ends what is late. Call it every few milliseconds."""
        if not self._lanes:
            return
        now_s = self.now_s()
        for pool, lane in list(self._lanes.items()):
            lane.expire(now_s)
            if self.routes.pool_named(pool.spec.app_name) is not pool:
                lane.retire()
            if lane.is_idle:
                del self._lanes[pool]
        self.pump()


class _Explained(Owner):
    """One request."""

    def __init__(
        self,
        explainer: Explainer,
        endpoint: Endpoint,
        rows: Sequence[Row],
        request: Request,
        options: Options,
        request_id: bytes,
        front: Front,
        is_batch: bool,
    ) -> None:
        self._explainer = explainer
        self._endpoint = endpoint
        self._rows = rows
        self._exchange = request.exchange
        self._arrived_s = request.received_s
        self._deadline_s = request.received_s + options.timeout_s
        self._options = options
        self._request_id = request_id
        self._front = front
        self._is_batch = is_batch
        self._left = len(rows)
        self._explanations: dict[int, Explanation] = {}
        """The present attempt at each row, by its place."""
        self._is_over = False

    def begin(self) -> None:
        """Queues every row.

        Raises:
            DivisionsError: a row is refused, so all are.
        """
        try:
            for place, row in enumerate(self._rows):
                self._begin_row(place, row)
        except DivisionsError:
            self.cancel()
            raise

    def _begin_row(self, place: int, row: Row) -> None:
        endpoint, version = self._endpoint, self._options.version
        if version is not None:
            self._attempt(place, pool_named(endpoint, version), self._deadline_s)
            return
        pool = endpoint.pool_for(self._key(place, row))
        if pool is endpoint.stable:
            self._attempt(place, pool, self._deadline_s)
            return
        now_s = self._explainer.now_s()
        try:
            self._attempt(place, pool, now_s + (self._deadline_s - now_s) * ATTEMPT_SHARE)
        except RequestError:
            self._attempt(place, endpoint.stable, self._deadline_s)

    def _key(self, place: int, row: Row) -> bytes:
        """What the split decides by, as for plain requests."""
        if row.key is not None:
            return row.key.encode()
        return b"%s-%d" % (self._request_id, place) if self._is_batch else self._request_id

    def _attempt(self, place: int, pool: Pool, deadline_s: float) -> None:
        """Queues one row at one version.

        Raises:
            RequestError: it is refused.
        """
        packed = pool.encode(self._rows[place].checked())
        lane = self._explainer.lane(pool)
        explanation = Explanation(self, place, packed, lane, self._arrived_s, deadline_s)
        lane.check(explanation.rows_left, self._explainer.now_s(), deadline_s)
        self._explanations[place] = explanation
        lane.add(explanation)

    def explained(self, explanation: Explanation) -> None:
        self._left -= 1
        if self._left == 0 and not self._is_over:
            self._is_over = True
            exchange = self._exchange
            exchange.reply(self._render())
            if self._front.traces is not None:
                name, rows, began_s = self._endpoint.name, len(self._rows), exchange.received_s
                self._front.traces.replied(exchange.traceparent, self._request_id, name, rows, 200, "", began_s)

    def failed(self, explanation: Explanation, error: RequestError) -> None:
        if self._is_over:
            return
        stable = self._stable_instead(explanation)
        if stable is not None:
            try:
                self._attempt(explanation.place, stable, self._deadline_s)
                self._explainer.pump()
                return
            except RequestError as worse:
                error = worse
        self.cancel()
        self._front.refuse(self._endpoint.name, self._exchange, error, self._request_id)

    def _stable_instead(self, explanation: Explanation) -> Pool | None:
        """Stable's pool, if it may explain a row that another version could not."""
        endpoint = self._explainer.routes.endpoints.get(self._endpoint.name)
        if endpoint is None or self._options.version is not None or self._explainer.now_s() >= self._deadline_s:
            return None
        is_same_form = endpoint.decoder.names == self._endpoint.decoder.names
        return endpoint.stable if is_same_form and endpoint.stable is not explanation.lane.pool else None

    def cancel(self) -> None:
        """Ends all rows, also when the caller has gone."""
        self._is_over = True
        for explanation in self._explanations.values():
            explanation.cancel()

    def _render(self) -> bytes:
        rows = [
            render_row(self._endpoint, row, self._explanations[place], self._options.explain)
            for place, row in enumerate(self._rows)
        ]
        if self._is_batch:
            body = b'{"predictions":[%s],"request_id":"%s"}' % (
                b",".join([b"%s}" % row for row in rows]),
                self._request_id,
            )
        else:
            body = b'%s,"request_id":"%s"}' % (rows[0], self._request_id)
        compute_us = max(each.compute_us for each in self._explanations.values())
        total_us = int((self._explainer.now_s() - self._arrived_s) * 1e6)
        return OK % (
            self._request_id,
            b",".join(sorted({each.lane.pool.version.label for each in self._explanations.values()})),
            millis(max(0, total_us - compute_us)),
            millis(compute_us),
            self._exchange.connection_header,
            b"%d" % len(body),
            body,
        )
