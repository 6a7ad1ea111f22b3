"""Replies to infer requests: joins the jobs of a request, and renders its scores as JSON or as raw bytes."""

from __future__ import annotations

import array
from collections.abc import Sequence
from typing import Final

from divisions.errors import RequestError
from router.http.exchange import Exchange
from router.oip import codec
from router.oip.models import ServedModel
from router.predict.answer_log import Logged
from router.predict.front import Front
from router.predict.jobs import Answer, Job, Version


class TensorAnswer(Answer):
    """Joins the jobs of an infer request and writes its reply, or one problem."""

    __slots__ = (
        "_compute_us", "_exchange", "_front", "_has_own_id", "_is_binary", "_keys", "_left", "_logged", "_model",
        "_parameters", "_parts",
        "_request_id", "_rows",
    )  # fmt: skip

    def __init__(
        self,
        model: ServedModel,
        rows: int,
        is_binary: bool,
        request_id: bytes,
        has_own_id: bool,
        exchange: Exchange,
        front: Front,
        parameters: bytes = b"",
        keys: Sequence[str | None] = (),
    ) -> None:
        self._model = model
        self._parameters = parameters
        self._left = self._rows = rows
        self._is_binary = is_binary
        self._request_id = request_id
        self._has_own_id = has_own_id
        self._exchange = exchange
        self._front = front
        self._compute_us = 0
        self._keys = keys
        """The customer of each row, where the request names them."""
        self._logged: list[Logged] = []
        self._parts: list[tuple[int, Version, Sequence[float]]] = []  # no jobs, which refer to this object

    def answered(self, job: Job, scores: Sequence[float], compute_us: int, now_s: float) -> None:
        self._parts.append((job.positions[0], job.version, scores))
        self._compute_us = max(self._compute_us, compute_us)
        self._left -= job.rows
        log = self._model.endpoint.log
        if log is not None:
            self._logged.append(Logged(job, scores))
        if self._left == 0:
            self._reply(now_s - job.arrived_s)
            if log is not None:
                log.offer(self._logged, self._request_id, self._keys)
            traces = self._front.traces
            if traces is not None:
                name = self._model.endpoint.name
                traces.answered(
                    self._exchange.traceparent, self._request_id, name, self._rows, job, self._compute_us, now_s
                )

    def failed(self, job: Job, error: RequestError) -> None:
        if self._left > 0:
            self._left = 0  # One failed part fails the request; other parts are ignored.
            self._front.refuse(self._model.endpoint.name, self._exchange, error, self._request_id)

    def _reply(self, total_s: float) -> None:
        self._parts.sort(key=_position)
        labels = sorted({version.label for _, version, _ in self._parts})
        # Parts differ only if a canary failed on some of them. Stable has answered those, so it is named.
        stable = self._model.endpoint.stable.version.label
        label = stable if len(labels) > 1 and stable in labels else labels[0]
        name = self._model.output.encode()
        start = codec.head(
            self._model.encoded_name, label, self._request_id if self._has_own_id else b"", self._parameters
        )
        if self._is_binary:
            raw = b"".join([_to_bytes(scores) for _, _, scores in self._parts])
            text = start + codec.scores_binary(name, len(raw) // 4)
            kind = b"application/octet-stream\r\nInference-Header-Content-Length: %d" % len(text)
        else:
            raw = b""
            text = start + codec.scores_json(name, [score for _, _, part in self._parts for score in part])
            kind = b"application/json"
        compute_ms = self._compute_us * 1e-3
        self._exchange.reply(
            _OK
            % (
                kind,
                self._request_id,
                b",".join(labels),
                total_s * 1e3 - compute_ms,
                compute_ms,
                self._exchange.connection_header,
                len(text) + len(raw),
                text,
                raw,
            )
        )


_OK: Final = (
    b"HTTP/1.1 200 OK\r\n"
    b"content-type: %s\r\n"
    b"x-request-id: %s\r\n"
    b"x-model-version: %s\r\n"
    b"server-timing: queue;dur=%.3f, compute;dur=%.3f\r\n"
    b"%s"
    b"content-length: %d\r\n"
    b"\r\n"
    b"%s%s"
)


def _position(part: tuple[int, Version, Sequence[float]]) -> int:
    return part[0]


def _to_bytes(scores: Sequence[float]) -> bytes:
    # Both are little-endian float32 on every machine that ONNX Runtime and uvloop run on.
    return scores.tobytes() if isinstance(scores, memoryview) else array.array("f", scores).tobytes()
