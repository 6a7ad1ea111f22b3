"""The lines of one JSON-lines file, a block at a time, numbered; and what is wrong with a line that is no object."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import msgspec

from trainers.data.bad_rows import BadRows
from trainers.data.file_formats import BadRow, RawFile, open_text

if TYPE_CHECKING:
    import pyarrow as pa
    from pyarrow.fs import FileSystem

BLOCK_BYTES = 8 << 20
SUSPICIOUS = r"(?i)([:\[,]\s*-?(nan|inf))|,\s*[}\]]"
"""DuckDB takes NaN, Infinity and trailing commas, which are no JSON. Lines that match may hold one of them."""


def line_batches(filesystem: FileSystem, file: RawFile, bad: BadRows) -> Iterator[pa.RecordBatch]:
    """Blocks with the columns ``row`` and ``line``. Lines that are not UTF-8 are added to ``bad``."""
    import pyarrow as pa

    number, rest = 1, b""
    with open_text(filesystem, file) as stream:
        while block := stream.read(BLOCK_BYTES):
            *lines, rest = (rest + block).split(b"\n")
            yield _batch(file.path, number, lines, bad)
            number += len(lines)
    if rest:
        yield _batch(file.path, number, [rest], bad)
    elif number == 1:
        yield pa.record_batch([pa.array([], pa.int64()), pa.array([], pa.string())], names=["row", "line"])


def _batch(source: str, first: int, lines: list[bytes], bad: BadRows) -> pa.RecordBatch:
    import pyarrow as pa

    numbered = [(number, line) for number, line in enumerate(lines, start=first) if line.strip()]
    try:
        texts = pa.array([line for _, line in numbered], pa.binary()).cast(pa.string())
    except pa.ArrowInvalid:
        good = []
        for number, line in numbered:
            try:
                line.decode()
                good.append((number, line))
            except UnicodeDecodeError as error:
                bad.append(BadRow(source, number, "unparsable line", str(error), line.decode(errors="replace")))
        numbered = good
        texts = pa.array([line.decode() for _, line in numbered], pa.string())
    return pa.record_batch([pa.array([number for number, _ in numbered], pa.int64()), texts], names=["row", "line"])


def flaw_of(line: str) -> str:
    """Why a line is no JSON object; empty if it is one.

    >>> flaw_of("[1]")
    'a list, not an object'
    >>> flaw_of('{"a": 1}')
    ''
    """
    try:
        record = msgspec.json.decode(line.encode())
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        return str(error) or type(error).__name__
    return "" if isinstance(record, dict) else f"a {type(record).__name__}, not an object"
