"""Replies to predict requests, for one row and for many."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from divisions.errors import RequestError
from router.http.exchange import Exchange
from router.predict.answer_log import Logged
from router.predict.endpoint import Endpoint
from router.predict.front import Front
from router.predict.jobs import Answer, Job, Version
from router.predict.reply_templates import OK, millis

_encode: Final = msgspec.json.Encoder().encode


class SingleAnswer(Answer):
    """Writes the reply to a request of one row."""

    __slots__ = ("_endpoint", "_exchange", "_front", "_key", "_note", "_request_id")

    def __init__(
        self, endpoint: Endpoint, key: str | None, note: bytes, request_id: bytes, exchange: Exchange, front: Front
    ) -> None:
        self._endpoint = endpoint
        self._key = key
        self._note = note
        self._request_id = request_id
        self._exchange = exchange
        self._front = front

    def answered(self, job: Job, scores: Sequence[float], compute_us: int, now_s: float) -> None:
        exchange = self._exchange
        entity = b"null" if self._key is None else _encode(self._key)
        exchange.reply(
            self._endpoint.reply_form(job.version).fill(
                self._request_id,
                int((now_s - job.arrived_s) * 1e6),
                compute_us,
                exchange.connection_header,
                entity + self._note if self._note else entity,
                scores[0],
            )
        )
        log = self._endpoint.log
        if log is not None:
            log.offer_one(job, self._request_id, self._key, scores)
        traces = self._front.traces
        if traces is not None:
            traces.answered(exchange.traceparent, self._request_id, self._endpoint.name, 1, job, compute_us, now_s)

    def failed(self, job: Job, error: RequestError) -> None:
        self._front.refuse(self._endpoint.name, self._exchange, error, self._request_id)


class BatchAnswer(Answer):
    """Joins the jobs of a batch request and writes its reply: all rows, in the request's order, or one problem."""

    __slots__ = (
        "_compute_us", "_endpoint", "_exchange", "_front", "_keys", "_left", "_logged", "_notes", "_parts",
        "_request_id",
    )  # fmt: skip

    def __init__(
        self,
        endpoint: Endpoint,
        keys: Sequence[str | None],
        notes: Sequence[bytes],
        request_id: bytes,
        exchange: Exchange,
        front: Front,
    ) -> None:
        self._endpoint = endpoint
        self._keys = keys
        self._notes = notes
        self._request_id = request_id
        self._exchange = exchange
        self._front = front
        self._left = len(keys)
        self._compute_us = 0
        self._parts: list[tuple[Sequence[int], Version, Sequence[float]]] = []  # no jobs, which refer to this object
        self._logged: list[Logged] = []

    def answered(self, job: Job, scores: Sequence[float], compute_us: int, now_s: float) -> None:
        self._parts.append((job.positions, job.version, scores))
        self._compute_us = max(self._compute_us, compute_us)
        self._left -= job.rows
        log = self._endpoint.log
        if log is not None:
            self._logged.append(Logged(job, scores))
        if self._left == 0:
            self._exchange.reply(self._render(now_s - job.arrived_s))
            if log is not None:
                log.offer(self._logged, self._request_id, self._keys)
            traces = self._front.traces
            if traces is not None:
                name, rows = self._endpoint.name, len(self._keys)
                traces.answered(self._exchange.traceparent, self._request_id, name, rows, job, self._compute_us, now_s)

    def _render(self, total_s: float) -> bytes:
        endpoint = self._endpoint
        predictions: list[bytes] = [b""] * len(self._keys)
        versions: dict[bytes, None] = {}
        for positions, version, scores in self._parts:
            versions[version.label] = None
            form = endpoint.reply_form(version)
            for position, score in zip(positions, scores, strict=True):
                predictions[position] = b'{"%s":%s%s,"%s_probability":%.8g%s,"model":"%s","version":"%s"}' % (
                    endpoint.entity_name,
                    msgspec.json.encode(self._keys[position]),
                    self._notes[position],
                    endpoint.encoded_name,
                    score,
                    form.decision(score),
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
            self._front.refuse(self._endpoint.name, self._exchange, error, self._request_id)
