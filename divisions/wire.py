"""The data channel's wire format: the messages between a gateway and a replica. Pure; no I/O.

Every frame is a little-endian header followed by its payload. ``length`` counts the bytes after itself.

==========  =========================================================================  =====================
frame       header after ``length: u32, version: u8, kind: u8``                         payload
==========  =========================================================================  =====================
HELLO       ``reserved: u16``                                                           the channel token
HELLO_ACK   ``status: u16, columns: u16, max_batch: u32``                               the version's label
REQUEST     ``columns: u16, rows: u32, id: u64, deadline_us: u32``                      ``float32[rows, columns]``
REPLY       ``status: u16, rows: u32, id: u64, queue_us: u32, compute_us: u32``         ``float32[rows]`` or text
==========  =========================================================================  =====================

``deadline_us`` is the time left, because the two ends may be on different hosts with different clocks. A reply
whose status is not OK has a short text instead of scores. The client sends HELLO first. The replica answers HELLO_ACK;
if it refuses, the status is REFUSED and it closes. On a Unix socket the token may be empty (the socket's folder is
private). On TCP it must match.
"""

from __future__ import annotations

import enum
import struct
from collections.abc import Iterator
from typing import Final

import msgspec

from divisions.errors import ChannelError

WIRE_VERSION = 1
MAX_FRAME_BYTES = 64 * 1024 * 1024
SMALL_BYTES = 16 * 1024

_LENGTH = struct.Struct("<I")
_PREFIX = struct.Struct("<IBB")
_HELLO = struct.Struct("<IBBH")
_HELLO_ACK = struct.Struct("<IBBHHI")
_REQUEST = struct.Struct("<IBBHIQI")
_REPLY = struct.Struct("<IBBHIQII")


class Kind(enum.IntEnum):
    HELLO = 0
    HELLO_ACK = 1
    REQUEST = 2
    REPLY = 3


class Status(enum.IntEnum):
    OK = 0
    REFUSED = 1  # wrong token, wire version or number of columns
    EXPIRED = 2  # the deadline passed before the engine ran
    FAILED = 3  # the engine raised
    CLOSING = 4  # the replica is draining and takes no new work
    PARTIAL = 5  # scores follow, but some of them are NaN or infinite


_KIND_REQUEST: Final = int(Kind.REQUEST)
_KIND_REPLY: Final = int(Kind.REPLY)
_STATUS_OK: Final = int(Status.OK)
_STATUS_PARTIAL: Final = int(Status.PARTIAL)
"""Values that every batch needs, as plain integers: reading an enum's member takes as long as unpacking a header."""


class Hello(msgspec.Struct, frozen=True, gc=False):
    token: bytes


class HelloAck(msgspec.Struct, frozen=True, gc=False):
    status: int
    columns: int
    max_batch: int
    version: str


class Request(msgspec.Struct, frozen=True, gc=False):
    """``rows_f32`` is a view of ``rows * columns`` little-endian float32 values."""

    request_id: int
    rows: int
    columns: int
    deadline_us: int
    rows_f32: bytes | memoryview


class Reply(msgspec.Struct, frozen=True, gc=False):
    """``payload`` is ``rows`` little-endian float32 scores when ``status`` is OK, else a text in UTF-8."""

    request_id: int
    status: int
    rows: int
    queue_us: int
    compute_us: int
    payload: bytes | memoryview


Frame = Hello | HelloAck | Request | Reply

_U32_MAX = 0xFFFF_FFFF


def encode_hello(token: bytes) -> bytes:
    return _HELLO.pack(_HELLO.size - 4 + len(token), WIRE_VERSION, Kind.HELLO, 0) + token


def encode_hello_ack(status: int, columns: int, max_batch: int, version: str) -> bytes:
    label = version.encode()
    length = _HELLO_ACK.size - 4 + len(label)
    return _HELLO_ACK.pack(length, WIRE_VERSION, Kind.HELLO_ACK, status, columns, max_batch) + label


def encode_request(request_id: int, rows: int, columns: int, deadline_us: int, rows_f32: bytes | memoryview) -> bytes:
    """Encodes a batch; ``rows_f32`` must be ``rows * columns * 4`` bytes."""
    length = _REQUEST.size - 4 + len(rows_f32)
    deadline_us = min(max(deadline_us, 0), _U32_MAX)
    return _REQUEST.pack(length, WIRE_VERSION, _KIND_REQUEST, columns, rows, request_id, deadline_us) + rows_f32


def encode_reply(
    request_id: int, status: int, rows: int, queue_us: int, compute_us: int, payload: bytes = b""
) -> bytes:
    length = _REPLY.size - 4 + len(payload)
    times = min(queue_us, _U32_MAX), min(compute_us, _U32_MAX)
    return _REPLY.pack(length, WIRE_VERSION, _KIND_REPLY, status, rows, request_id, *times) + payload


def decode_frame(frame: bytes | memoryview) -> Frame:
    """Decodes one whole frame, its length field included.

    Raises:
        ChannelError: wrong wire version, unknown kind, or sizes that contradict each other.
    """
    if len(frame) < _PREFIX.size:
        raise ChannelError(f"frame of {len(frame)} bytes is shorter than its prefix of {_PREFIX.size}")
    length, version, kind = _PREFIX.unpack_from(frame)
    if version != WIRE_VERSION:
        raise ChannelError(
            f"peer speaks wire version {version}, we speak {WIRE_VERSION}",
            remedy="run the same release of Divisions on every node",
        )
    if length + 4 != len(frame):
        raise ChannelError(f"frame says {length + 4} bytes, but has {len(frame)}")
    try:
        return _decode_body(kind, frame)
    except (struct.error, UnicodeDecodeError) as error:
        raise ChannelError(f"frame of kind {kind} is damaged: {error}") from None


def _decode_body(kind: int, frame: bytes | memoryview) -> Frame:
    if kind == _KIND_REQUEST:
        _, _, _, columns, rows, request_id, deadline_us = _REQUEST.unpack_from(frame)
        payload = frame[_REQUEST.size :]
        _check_size(rows * columns * 4, len(payload))
        return Request(request_id, rows, columns, deadline_us, payload)
    if kind == _KIND_REPLY:
        _, _, _, status, rows, request_id, queue_us, compute_us = _REPLY.unpack_from(frame)
        payload = frame[_REPLY.size :]
        if status in (_STATUS_OK, _STATUS_PARTIAL):
            _check_size(rows * 4, len(payload))
        return Reply(request_id, status, rows, queue_us, compute_us, payload)
    if kind == Kind.HELLO:
        _HELLO.unpack_from(frame)
        return Hello(bytes(frame[_HELLO.size :]))
    if kind == Kind.HELLO_ACK:
        _, _, _, status, columns, max_batch = _HELLO_ACK.unpack_from(frame)
        return HelloAck(status, columns, max_batch, bytes(frame[_HELLO_ACK.size :]).decode())
    raise ChannelError(f"unknown frame kind {kind}")


def _check_size(expected: int, got: int) -> None:
    if expected != got:
        raise ChannelError(f"payload must be {expected} bytes, got {got}")


class FrameReader:
    """Cuts a byte stream into frames.

    ``feed`` yields each frame once it is complete and keeps the rest for the next call. ``max_frame_bytes`` may be
    changed at any time, also between two frames of one call: a peer that has not sent its token yet gets less.
    """

    def __init__(self, max_frame_bytes: int = MAX_FRAME_BYTES) -> None:
        self.max_frame_bytes = max_frame_bytes
        self._rest = bytearray()
        self._needed_bytes = 0

    def feed(self, data: bytes | bytearray) -> Iterator[Frame]:
        """Yields the frames that ``data`` completes. Payloads of large frames are views into it, not copies.

        Raises:
            ChannelError: a frame is over the cap or damaged. The stream cannot be used any further.
        """
        if self._rest:
            # A large frame comes in many pieces. Join them once, when all are there, not at every piece.
            self._rest += data
            if len(self._rest) < self._needed_bytes:
                return
            data, self._rest = self._rest, bytearray()
        position, end = 0, len(data)
        source = memoryview(data) if end > SMALL_BYTES else bytes(data)  # for few bytes a slice is cheaper than a view
        size = 4
        while end - position >= 4:
            size = _LENGTH.unpack_from(data, position)[0] + 4
            if size > self.max_frame_bytes:
                raise ChannelError(f"frame of {size} bytes is over the cap of {self.max_frame_bytes}")
            if end - position < size:
                break
            yield decode_frame(source if size == end and position == 0 else source[position : position + size])
            position += size
            size = 4
        if position < end:
            self._rest = bytearray(data[position:])
            self._needed_bytes = size
