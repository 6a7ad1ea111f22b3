"""RESP2, the protocol of Redis and Valkey: commands to bytes, bytes to replies. Pure; no I/O."""

from __future__ import annotations

from typing import Final, TypeAlias

from divisions.errors import OnlineStoreError

MAX_BULK_BYTES: Final = 16 * 1024 * 1024
"""Far above any row. A longer one comes from another server, or from another database."""
MAX_ARRAY: Final = 1_000_000
_MAX_LINE_BYTES: Final = 16 * 1024


class ErrorReply(str):
    """What the server refused, such as ``OOM command not allowed when used memory > 'maxmemory'``."""

    __slots__ = ()

    @property
    def code(self) -> str:
        """Its first word, such as ``OOM``."""
        return self.partition(" ")[0]


Reply: TypeAlias = "bytes | int | str | ErrorReply | list[Reply] | None"
"""A bulk string, an integer, a status such as ``OK``, an error, or an array. None is a missing one."""


class ProtocolError(OnlineStoreError):
    """The other end does not speak RESP2."""


def encode(parts: list[bytes]) -> bytes:
    """A command.

    >>> encode([b"GET", b"a"])
    b'*2\\r\\n$3\\r\\nGET\\r\\n$1\\r\\na\\r\\n'
    """
    return b"*%d\r\n" % len(parts) + b"".join([b"$%d\r\n%b\r\n" % (len(part), part) for part in parts])


class ReplyReader:
    """Turns a stream of bytes into replies. Bytes of an unfinished reply are kept, and not read again by each chunk."""

    __slots__ = ("_arrays", "_chunks", "_have", "_need")

    def __init__(self) -> None:
        self._chunks: list[bytes] = []
        self._have = 0
        self._need = 1
        self._arrays: list[tuple[list[Reply], int]] = []
        """Arrays that have begun, the outermost first, each with its full length."""

    def feed(self, data: bytes) -> list[Reply]:
        """Takes bytes; returns the replies that they complete.

        Raises:
            ProtocolError: these are no replies. Nothing more can be read.
        """
        self._chunks.append(data)
        self._have += len(data)
        if self._have < self._need:
            return []
        buffer = data if len(self._chunks) == 1 else b"".join(self._chunks)
        replies: list[Reply] = []
        position = self._read(buffer, replies)
        rest = buffer[position:]
        self._chunks = [rest] if rest else []
        self._have = len(rest)
        return replies

    def _read(self, buffer: bytes, replies: list[Reply]) -> int:
        """Reads what is complete; returns the position after it, and sets how many bytes the next element needs."""
        position = 0
        self._need = 1
        size = len(buffer)
        while position < size:
            end = buffer.find(b"\r\n", position)
            if end < 0:
                if size - position > _MAX_LINE_BYTES:
                    raise ProtocolError("the server does not speak Redis' protocol")
                self._need = size - position + 1
                return position
            kind = buffer[position]
            value: Reply
            if kind == 36:  # $
                length = _length(buffer, position, end, MAX_BULK_BYTES)
                if length < 0:
                    value, position = None, end + 2
                else:
                    stop = end + 2 + length
                    if size < stop + 2:
                        self._need = stop + 2 - position
                        return position
                    value, position = buffer[end + 2 : stop], stop + 2
            elif kind == 42:  # *
                length = _length(buffer, position, end, MAX_ARRAY)
                position = end + 2
                if length > 0:
                    self._arrays.append(([], length))
                    continue
                value = None if length < 0 else []
            else:
                value, position = _line(buffer, position, end), end + 2
            self._take(value, replies)
        return position

    def _take(self, value: Reply, replies: list[Reply]) -> None:
        """Puts an element into the array that it belongs to, or among the replies."""
        arrays = self._arrays
        while arrays:
            items, length = arrays[-1]
            items.append(value)
            if len(items) < length:
                return
            arrays.pop()
            value = items
        replies.append(value)


def _length(buffer: bytes, position: int, end: int, most: int) -> int:
    digits = buffer[position + 1 : end]
    if digits.isdigit() and len(digits) <= 9 and (length := int(digits)) <= most:
        return length
    if digits == b"-1":
        return -1
    raise ProtocolError("the server does not speak Redis' protocol")


def _line(buffer: bytes, position: int, end: int) -> Reply:
    text = buffer[position + 1 : end]
    match buffer[position]:
        case 58:  # :
            digits = text[1:] if text[:1] == b"-" else text
            if digits.isdigit() and len(digits) <= 19:
                return int(text)
        case 43:  # +
            return text.decode(errors="replace")
        case 45:  # -
            return ErrorReply(text.decode(errors="replace"))
    raise ProtocolError("the server does not speak Redis' protocol")
