"""A range of bytes of a CSV file as a file of its own, so that several tasks can read one file.

A range has the lines that begin in it, after a copy of the header. This gives the rows of the whole file if each range
is plain (`trainers.data.plain_csv`). The first one begins with a record. If a range ended within a quoted field, it
would have a quote that is never closed, and would not be plain. So each of the others begins with a record, too.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from trainers.data.csv_rows import CsvRows
from trainers.data.plain_csv import may_be_plain

if TYPE_CHECKING:
    from pyarrow import NativeFile
    from pyarrow.fs import FileSystem

_COPY_BYTES, _LINE_BYTES = 8 << 20, 64 << 10


@dataclass(frozen=True, slots=True)
class ByteRange:
    """The bytes of a file from ``first`` to before ``end``."""

    first: int
    end: int


class NotPlainError(Exception):
    """The lines of a range are no plain CSV, so that the file must be read as a whole."""


def can_be_cut(file: CsvRows) -> bool:
    """Whether ranges of the file may be plain, and its header is one line."""
    header, newline, _ = file.file.head.partition(b"\n")
    return may_be_plain(file) and bool(newline) and header.count(b'"') % 2 == 0


def copy_range(filesystem: FileSystem, file: CsvRows, lines: ByteRange, target: Path) -> CsvRows:
    """Copies the header and the lines that begin in a range; returns the copy.

    Raises:
        OSError: the file cannot be read, or the copy not be written.
    """
    with filesystem.open_input_file(file.file.path) as source, target.open("wb") as sink:
        # The head has no byte order mark, the file may have one.
        header = _line_of(source.read(len(file.file.head) + 8))
        sink.write(header)
        _copy_lines(source, sink, max(lines.first, len(header)), lines.end, is_first=lines.first <= len(header))
    return replace(file, file=replace(file.file, path=str(target)))


def _copy_lines(source: NativeFile, sink: BinaryIO, first: int, end: int, *, is_first: bool) -> None:
    # Before the first line of another range there is the end of a line, if only its newline.
    position = first if is_first else _end_of_line(source, first - 1)
    source.seek(position)
    last = b"\n"
    while position < end and (chunk := source.read(min(_COPY_BYTES, end - position))):
        sink.write(chunk)
        position += len(chunk)
        last = chunk[-1:]
    while last != b"\n" and (chunk := source.read(_LINE_BYTES)):
        rest = _line_of(chunk)
        sink.write(rest)
        last = rest[-1:]


def _end_of_line(source: NativeFile, position: int) -> int:
    """Where the line ends that has the byte at ``position``."""
    source.seek(position)
    while chunk := source.read(_LINE_BYTES):
        rest = _line_of(chunk)
        position += len(rest)
        if rest.endswith(b"\n"):
            break
    return position


def _line_of(data: bytes) -> bytes:
    """The data up to its first newline, inclusive; all of it if there is none."""
    end = data.find(b"\n")
    return data if end < 0 else data[: end + 1]
