"""What a gateway and its exporter of traces say to each other. Pure. Frames are cut as those of the prediction log."""

from __future__ import annotations

from typing import Final

import msgspec

from router.prediction_log.frames import frame

Record = tuple[bytes, int, bytes, str, str, bool, int, str, int, int, float, float, float, int]
"""One request: the caller's valid ``traceparent`` or nothing, the lower 64 bits of a new trace's id (without one),
request id, endpoint, version, whether it is the canary, status, code of the error, rows, rows of its batch, monotonic
seconds of its arrival, of its leaving for the replica (0 if it did not) and of the reply, and microseconds of
computing."""


class Requests(msgspec.Struct, frozen=True):
    """Some requests. A time is its monotonic second plus ``offset_s``."""

    offset_s: float
    records: list[Record]


class TraceCounts(msgspec.Struct, frozen=True):
    """Requests since the exporter's start: ``exported`` were taken by the collector, ``lost`` were not.

    ``fault`` says why the last attempt failed; empty if it did not.
    """

    exported: int
    lost: int
    fault: str


_encode: Final = msgspec.msgpack.Encoder().encode
_decode_requests: Final = msgspec.msgpack.Decoder(Requests).decode
_decode_counts: Final = msgspec.msgpack.Decoder(TraceCounts).decode


def encode(message: Requests | TraceCounts) -> bytes:
    """A whole frame."""
    return frame(_encode(message))


def decode_requests(body: bytes) -> Requests:
    found: Requests = _decode_requests(body)
    return found


def decode_counts(body: bytes) -> TraceCounts:
    found: TraceCounts = _decode_counts(body)
    return found
