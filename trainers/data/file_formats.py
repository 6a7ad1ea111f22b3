"""What a raw file is, and its bytes: Parquet, CSV, JSON lines or a JSON array, compressed or not.

A file's content decides over its name where the two disagree: gzip and Parquet are recognised under any known
extension. An archive or a web page under ``.csv`` is refused by name.
"""

from __future__ import annotations

import codecs
import enum
import io
import re
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from divisions.errors import InputError

if TYPE_CHECKING:
    from pyarrow.fs import FileSystem

HEAD_BYTES = 1 << 20
_NAMES = {".gz": "gzip", ".gzip": "gzip", ".bz2": "bz2", ".zst": "zstd"}
_FORMATS = {
    **dict.fromkeys((".parquet", ".parq", ".pq"), "parquet"),
    **dict.fromkeys((".csv", ".tsv", ".tab", ".psv"), "csv"),
    **dict.fromkeys((".jsonl", ".ndjson", ".json"), "jsonl"),
}
_MAGIC = {b"\x1f\x8b": "gzip", b"BZh": "bz2", b"\x28\xb5\x2f\xfd": "zstd"}
_WORKBOOK = "save the sheet as CSV"
_EXPORT = "export its rows as Parquet or CSV"
# How files begin that cannot be read, what they are, and what helps.
_FOREIGN = (
    (b"\xd0\xcf\x11\xe0", "an Excel workbook", _WORKBOOK),
    (b"7z\xbc\xaf", "a 7z archive", "unpack it"),
    (b"Rar!\x1a", "a RAR archive", "unpack it"),
    (b"\xfd7zXZ\0", "compressed by xz", "unpack it, or use gzip or zstd"),
    (b"Obj\x01", "an Avro file", _EXPORT),
    (b"ARROW1\0", "an Arrow file", _EXPORT),
    (b"FEA1", "a Feather file", _EXPORT),
    (b"SQLite format 3\0", "an SQLite database", _EXPORT),
    (b"\x89HDF\r\n", "an HDF5 file", _EXPORT),
    (b"\x93NUMPY", "an array of NumPy", _EXPORT),
    (b"%PDF-", "a PDF", "download the data itself"),
    (b"\x80\x04\x95", "a pickle of Python", _EXPORT),
    (b"\x80\x05\x95", "a pickle of Python", _EXPORT),
    (b"RDX", "data of R", "write it with write.csv or arrow::write_parquet"),
    (b"\0" * 12 + b"\xc2\xea\x81\x60", "a data set of SAS", _EXPORT),
    (b"<stata_dta>", "a data set of Stata", _EXPORT),
    (b"$FL2@(#)", "a data set of SPSS", _EXPORT),
)
# Longest first: the mark of UTF-32 begins with that of UTF-16.
_MARKS = {
    codecs.BOM_UTF32_LE: "utf-32-le",
    codecs.BOM_UTF32_BE: "utf-32-be",
    codecs.BOM_UTF8: "utf-8",
    codecs.BOM_UTF16_LE: "utf-16-le",
    codecs.BOM_UTF16_BE: "utf-16-be",
}


class FileKind(enum.StrEnum):
    PARQUET = "Parquet"
    CSV = "CSV"
    JSON_LINES = "JSON lines"
    JSON_ARRAY = "a JSON array"
    EMPTY = "empty"


@dataclass(frozen=True, slots=True)
class BadRow:
    """An unusable row. ``row`` counts records from 1; the header of a CSV file is its record 1."""

    source: str
    row: int
    reason: str
    detail: str
    raw: str


@dataclass(frozen=True, slots=True)
class RawFile:
    """A file whose kind is known. ``head`` is how its text begins, without compression and byte order mark."""

    path: str
    kind: FileKind
    head: bytes = b""
    compression: str | None = None
    encoding: str = "utf-8"


def format_of(path: str) -> str | None:
    """``parquet``, ``csv`` or ``jsonl`` by the file's extension; None if it is another.

    >>> format_of("a.csv.gz"), format_of("df.parquet.gzip"), format_of("notes.txt")
    ('csv', 'parquet', None)
    """
    suffixes = [suffix.lower() for suffix in PurePosixPath(path).suffixes]
    if suffixes and suffixes[-1] in _NAMES:
        suffixes.pop()
    return _FORMATS.get(suffixes[-1]) if suffixes else None


def inspect_file(filesystem: FileSystem, path: str, encoding: str = "") -> RawFile:
    """Finds out what a file is, from its extension and its first bytes.

    Args:
        filesystem: holds the file.
        path: its path there; its extension is one of ours.
        encoding: of text, as declared; empty means by the byte order mark, or else UTF-8.

    Raises:
        InputError: the file is not what its extension says.
        OSError: it cannot be opened or read.
    """
    with filesystem.open_input_stream(path, compression=None) as stream:
        start = stream.read(4096)
    if not start:
        return RawFile(path, FileKind.EMPTY)
    compression = next((name for magic, name in _MAGIC.items() if start.startswith(magic)), None)
    if start.startswith(b"PAR1"):
        return RawFile(path, FileKind.PARQUET)
    _refuse_foreign(path, start)
    if format_of(path) == "parquet" and compression is None:
        return RawFile(path, FileKind.PARQUET)
    if format_of(path) == "parquet":
        raise damaged(path, "Parquet: it is compressed as a whole", remedy="unpack it; Parquet is compressed inside")
    compression = compression or _NAMES.get(PurePosixPath(path).suffix.lower())
    file = RawFile(path, FileKind.CSV, compression=compression)
    with open_bytes(filesystem, file) as stream:
        head = bytes(stream.read(HEAD_BYTES))
    if compression is not None:
        _refuse_foreign(path, head[:4096])
    mark = next((mark for mark in _MARKS if head.startswith(mark)), b"")
    encoding = _MARKS[mark] if mark else encoding or "utf-8"
    head = head[len(mark) :]
    if codecs.lookup(encoding).name != "utf-8":
        head = codecs.getincrementaldecoder(encoding)("replace").decode(head).encode()
    _refuse_binary(path, head)
    return RawFile(path, _kind_of_text(path, head), head, compression, encoding)


def _kind_of_text(path: str, head: bytes) -> FileKind:
    begin = head[:4096].lstrip()
    if not begin:
        return FileKind.EMPTY if not head.strip() else FileKind.CSV
    # No header of CSV begins like an object of JSON.
    if format_of(path) == "jsonl" or re.match(rb'(\[\s*)?\{\s*"[^"]*"\s*:', begin):
        return FileKind.JSON_ARRAY if begin.startswith(b"[") else FileKind.JSON_LINES
    return FileKind.CSV


def _refuse_foreign(path: str, start: bytes) -> None:
    if start.startswith(b"PK\x03\x04"):
        if b"[Content_Types].xml" in start or b"xl/" in start:
            raise damaged(path, "text: it is an Excel workbook", remedy=_WORKBOOK)
        raise damaged(path, "text: it is a ZIP archive", remedy="unpack it")
    if start.startswith(b"ORC") and b"\0" in start:
        raise damaged(path, "text: it is an ORC file", remedy=_EXPORT)
    if start[257:262] == b"ustar":
        raise damaged(path, "text: it is a tar archive", remedy="unpack it")
    for magic, kind, remedy in _FOREIGN:
        if start.startswith(magic):
            raise damaged(path, f"text: it is {kind}", remedy=remedy)


def _refuse_binary(path: str, head: bytes) -> None:
    begin = head.lstrip()[:16].lower()
    if begin.startswith((b"<!doctype", b"<html", b"<?xml")):
        raise damaged(
            path, "data: it is a web page or XML", remedy="download the data itself; this may be an error page"
        )
    if b"\0" in head[:4096]:
        raise damaged(
            path,
            "text: it holds NUL characters, as UTF-16 without a byte order mark does",
            remedy="declare data_prep.format.encoding, such as utf-16-le, or write the file as UTF-8",
        )


def open_bytes(filesystem: FileSystem, file: RawFile) -> io.BufferedIOBase:
    """The file's bytes without compression. Reading raises `InputError` where the compression is broken."""
    import pyarrow as pa

    stream = filesystem.open_input_stream(file.path, compression=None)
    if file.compression is not None:
        stream = pa.CompressedInputStream(stream, file.compression)
    return io.BufferedReader(_Decompressed(stream, file), HEAD_BYTES)


def open_text(filesystem: FileSystem, file: RawFile) -> io.BufferedIOBase:
    """The file's text as UTF-8 without a byte order mark, and with a newline at its end."""
    return io.BufferedReader(_Utf8(open_bytes(filesystem, file), file), HEAD_BYTES)


def damaged(source: str, what: str, error: object = "", remedy: str = "") -> InputError:
    """``source`` is not ``what`` its name says."""
    detail = f": {' '.join(str(error).split())[:200]}" if str(error) else ""
    return InputError(
        f"{source} is damaged or not {what}{detail}",
        remedy=remedy or "write the file again, or move it out of the partition",
    )


class Filter(io.RawIOBase):
    """A stream that reads another one, and closes it."""

    def __init__(self, stream: io.BufferedIOBase) -> None:
        self._stream = stream

    def readable(self) -> bool:
        return True

    def close(self) -> None:
        self._stream.close()
        super().close()


class _Decompressed(Filter):
    def __init__(self, stream: io.BufferedIOBase, file: RawFile) -> None:
        super().__init__(stream)
        self._file = file

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        try:
            data = self._stream.read(len(buffer))
        except OSError as error:
            # An error of the place has a number or names AWS; what is left is one of the decompressor.
            if self._file.compression is None or error.errno is not None or "AWS" in str(error):
                raise
            raise damaged(self._file.path, "a compressed file", error) from None
        buffer[: len(data)] = data
        return len(data)


class _Utf8(Filter):
    def __init__(self, stream: io.BufferedIOBase, file: RawFile) -> None:
        super().__init__(stream)
        self._path = file.path
        is_utf8 = codecs.lookup(file.encoding).name == "utf-8"
        self._decoder = None if is_utf8 else codecs.getincrementaldecoder(file.encoding)()
        self._ready = b""
        self._last = b""
        self._is_at_start = True
        self._is_at_end = False

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        while not self._ready and not self._is_at_end:
            self._ready = self._next(len(buffer))
        data, self._ready = self._ready[: len(buffer)], self._ready[len(buffer) :]
        buffer[: len(data)] = data
        return len(data)

    def _next(self, size: int) -> bytes:
        data = self._stream.read(size)
        self._is_at_end = not data
        if self._decoder is not None:
            try:
                data = self._decoder.decode(data, final=not data).encode()
            except UnicodeError as error:
                raise damaged(
                    self._path, "in the encoding it was read with", error, "correct data_prep.format.encoding"
                ) from None
        if self._is_at_start and data:
            data, self._is_at_start = data.removeprefix(codecs.BOM_UTF8), False
        self._last = data[-1:] or self._last
        return b"\n" if self._is_at_end and not data and self._last not in {b"", b"\n"} else data
