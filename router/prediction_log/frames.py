"""What a gateway and its log's writer say to each other, and how it is cut out of a stream of bytes. Pure."""

from __future__ import annotations

import struct
from typing import Final

import msgspec

from divisions.prediction_log import LogPolicy
from divisions.schema import FeatureSchema

_LENGTH: Final = struct.Struct("<I")
MAX_BYTES: Final = 256 << 20
"""Of a frame; a length over it is no length."""


class Opened(msgspec.Struct, frozen=True, tag="o"):
    """A version whose rows may follow. Told again when its policy has changed."""

    app_name: str
    endpoint: str
    model: str
    version: str
    schema: FeatureSchema
    policy: LogPolicy


class Rows(msgspec.Struct, frozen=True, tag="r"):
    """N rows that one version has answered, column by column: neither end touches them one by one.

    Attributes:
        app_name: the version.
        offset_s: added to the monotonic second of an arrival, it is the time since the Unix epoch.
        ids: the request of each row.
        places: of each row in its request, from 0; int32.
        entities: the customer of each row.
        arrived_s: the monotonic second at which the request of each row arrived; float64.
        encoded: the rows as the model saw them; float32, ``[N, F]``.
        scores: float32.

    Numbers are in this machine's byte order.
    """

    app_name: str
    offset_s: float
    ids: list[bytes]
    places: bytes
    entities: list[str | None]
    arrived_s: bytes
    encoded: bytes
    scores: bytes


class VersionCount(msgspec.Struct, frozen=True):
    """Rows of one version since the writer's start. What is ``kept`` is on the disk, and outlives gateway and writer.

    ``lost`` counts by reason: ``disk`` (it is full, or fails), ``place`` (the log's place takes nothing, and what waits
    for it has reached its limit) and ``rows`` (they do not fit the version's schema).
    """

    app_name: str
    kept: int
    lost: dict[str, int]


class Counts(msgspec.Struct, frozen=True, tag="c"):
    """What the writer has done. ``waiting_bytes`` are on the disk, and not yet in the log's place.

    ``fault`` says why the last attempt to write there failed; empty if it did not.
    """

    versions: list[VersionCount]
    files: int
    waiting_bytes: int
    fault: str


class KeepRule(msgspec.Struct, frozen=True):
    """How long files of an endpoint are kept in the place that ``to`` of a policy names."""

    endpoint: str
    to: str
    keep_s: float


class Keep(msgspec.Struct, frozen=True, tag="k"):
    """Which files may be removed. Places and endpoints without a rule keep theirs."""

    rules: tuple[KeepRule, ...]


ToWriter = Opened | Rows | Keep
_encode = msgspec.msgpack.Encoder().encode
_decode_to_writer = msgspec.msgpack.Decoder(ToWriter).decode
_decode_counts = msgspec.msgpack.Decoder(Counts).decode


def encode(message: ToWriter | Counts) -> bytes:
    """A whole frame."""
    return frame(_encode(message))


def frame(body: bytes) -> bytes:
    """A body as `Cutter` takes it."""
    return _LENGTH.pack(len(body)) + body


class Cutter:
    """Cuts a stream of bytes into the bodies of frames."""

    def __init__(self) -> None:
        self._rest = bytearray()

    def feed(self, data: bytes) -> list[bytes]:
        """The bodies that are whole now.

        Raises:
            ValueError: the stream is none of frames.
        """
        self._rest += data
        bodies: list[bytes] = []
        start = 0
        while len(self._rest) - start >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(self._rest, start)
            if length > MAX_BYTES:
                if bodies:  # Those before it are whole.
                    break
                raise ValueError(f"a frame of {length} bytes")
            end = start + _LENGTH.size + length
            if len(self._rest) < end:
                break
            bodies.append(bytes(self._rest[start + _LENGTH.size : end]))
            start = end
        del self._rest[:start]
        return bodies


def decode_to_writer(body: bytes) -> ToWriter:
    message: ToWriter = _decode_to_writer(body)
    return message


def decode_counts(body: bytes) -> Counts:
    counts: Counts = _decode_counts(body)
    return counts
