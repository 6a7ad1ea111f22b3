"""Reads one raw file as a table: Parquet, CSV or JSON lines. Unreadable rows are returned, not dropped.

All values of a CSV file are read as text. The kind of a column is decided later, over all files
(`trainers.data.column_kinds`). Missing values are the empty field and the words of `CSV_NULLS`. A quoted field is text.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from divisions.errors import EmptyInputError, InputError

if TYPE_CHECKING:
    from collections.abc import Callable

    import pandas as pd
    from pyarrow.fs import FileSystem

CSV_NULLS = ("", "NA", "NaN", "nan", "null", "NULL")
_COMPRESSED = (".gz", ".bz2", ".zst")


@dataclass(frozen=True, slots=True)
class BadRow:
    """A row that cannot be used. ``row`` counts records from 1. The header of a CSV file is record 1."""

    source: str
    row: int
    reason: str
    detail: str
    raw: str


@dataclass(frozen=True, slots=True)
class RawFile:
    """The readable rows of one file. ``rows`` are their numbers in it, as in `BadRow`."""

    source: str
    frame: pd.DataFrame
    rows: list[int]
    is_untyped: bool
    bad: list[BadRow]


def format_of(path: str) -> str | None:
    """``parquet``, ``csv`` or ``jsonl`` by the file's extension; None for other extensions."""
    suffixes = [suffix.lower() for suffix in PurePosixPath(path).suffixes]
    if suffixes and suffixes[-1] in _COMPRESSED and suffixes[-2:-1] != [".parquet"]:
        suffixes.pop()
    names = {".parquet": "parquet", ".csv": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl", ".json": "jsonl"}
    return names.get(suffixes[-1]) if suffixes else None


def read_file(filesystem: FileSystem, path: str) -> RawFile:
    """Reads one file.

    Raises:
        InputError: the file is damaged, or its content does not match its extension.
        OSError: it cannot be opened or read.
    """
    match format_of(path):
        case "parquet":
            return _read_parquet(filesystem, path)
        case "csv":
            return _read_text(filesystem, path, _parse_csv)
        case "jsonl":
            return _read_text(filesystem, path, _parse_json_lines)
    raise InputError(f"{path} is not Parquet, CSV or JSON lines", remedy="use .parquet, .csv or .jsonl")


def _read_parquet(filesystem: FileSystem, path: str) -> RawFile:
    import pyarrow as pa
    import pyarrow.parquet as pq

    with filesystem.open_input_file(path) as file:
        try:
            table = pq.ParquetFile(file).read()
        except pa.ArrowInvalid as error:
            raise _damaged(path, "Parquet", error) from None
    _refuse_repeated(path, table.column_names)
    # A column of integers and nulls is kept as objects. As doubles, an entity such as 9007199254740993 would change.
    frame = table.to_pandas(integer_object_nulls=True, ignore_metadata=True)
    for name in table.column_names:
        if pa.types.is_dictionary(table.schema.field(name).type):
            frame[name] = frame[name].astype(object)
    return RawFile(path, frame, list(range(1, len(frame) + 1)), False, [])


def _read_text(filesystem: FileSystem, path: str, parse: Callable[[str, bytes], RawFile]) -> RawFile:
    try:
        with filesystem.open_input_stream(path, compression="detect") as stream:
            data = bytes(stream.read())
    except OSError as error:
        if PurePosixPath(path).suffix in _COMPRESSED and error.errno is None and "AWS" not in str(error):
            raise _damaged(path, "a compressed file", error) from None
        raise
    return parse(path, data.removeprefix(b"\xef\xbb\xbf"))


def _parse_csv(source: str, data: bytes) -> RawFile:
    import pandas as pd
    import pyarrow as pa
    from pyarrow import csv

    if not data.strip():
        raise EmptyInputError(f"{source} is empty: not even a header", remedy="write a header line with column names")
    data = data if data.endswith(b"\n") else data + b"\n"
    bad: list[BadRow] = []

    def keep(row: csv.InvalidRow) -> str:
        detail = f"{row.actual_columns} fields, expected {row.expected_columns}"
        # An unclosed quote takes in the lines after it. Each of these lines counts as a bad row.
        bad.extend(BadRow(source, row.number or 0, "unparsable line", detail, line) for line in row.text.split("\n"))
        return "skip"

    try:
        header = _csv_header(source, data)
        table = csv.read_csv(
            io.BytesIO(data),
            # pyarrow reports the numbers of bad lines only with one thread.
            read_options=csv.ReadOptions(use_threads=False, block_size=min(1 << 30, max(1 << 20, len(data) + 1))),
            parse_options=csv.ParseOptions(invalid_row_handler=keep, newlines_in_values=True),
            convert_options=csv.ConvertOptions(
                column_types=dict.fromkeys(header, pa.binary()),
                null_values=list(CSV_NULLS),
                strings_can_be_null=True,
                quoted_strings_can_be_null=False,
            ),
        )
    except pa.ArrowInvalid as error:
        raise _damaged(source, "CSV", error) from None
    taken = {row.row for row in bad}
    rows = [number for number in range(2, table.num_rows + len(taken) + 2) if number not in taken]
    frame = pd.DataFrame({name: table.column(name).to_pylist() for name in header}, dtype=object)
    is_bad = np.zeros(len(frame), dtype=bool)
    for name in header:
        frame[name] = [_decoded(value) for value in frame[name]]
        for index in np.flatnonzero([isinstance(value, bytes) for value in frame[name]]):
            if not is_bad[index]:
                raw = repr(frame.loc[index].to_dict())
                bad.append(BadRow(source, rows[index], "unparsable line", f"{name!r} is not UTF-8", raw))
            is_bad[index] = True
    kept = np.flatnonzero(~is_bad)
    return RawFile(source, frame.iloc[kept].reset_index(drop=True), [rows[index] for index in kept], True, bad)


def _csv_header(source: str, data: bytes) -> list[str]:
    from pyarrow import csv

    first = io.BytesIO(data)
    with csv.open_csv(first, parse_options=csv.ParseOptions(invalid_row_handler=lambda row: "skip")) as reader:
        header: list[str] = reader.schema.names
    _refuse_repeated(source, header)
    return header


def _decoded(value: bytes | None) -> str | bytes | None:
    try:
        return None if value is None else value.decode()
    except UnicodeDecodeError:
        return value


def _parse_json_lines(source: str, data: bytes) -> RawFile:
    import pandas as pd

    decoder = msgspec.json.Decoder()
    records: list[dict[str, Any]] = []
    rows: list[int] = []
    bad: list[BadRow] = []
    for number, line in enumerate(data.split(b"\n"), start=1):
        if not line.strip():
            continue
        try:
            record = decoder.decode(line)
            detail = "" if isinstance(record, dict) else f"a {type(record).__name__}, not an object"
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            record, detail = None, str(error) or type(error).__name__
        if isinstance(record, dict):
            records.append(record)
            rows.append(number)
        else:
            bad.append(BadRow(source, number, "unparsable line", detail, line.decode(errors="replace")))
    names = dict.fromkeys(name for record in records for name in record)
    columns = {name: [record.get(name) for record in records] for name in names}
    # As objects: otherwise pandas turns integers with nulls into doubles, and None into NaN.
    frame = pd.DataFrame({name: pd.Series(values, dtype=object) for name, values in columns.items()})
    return RawFile(source, frame, rows, False, bad)


def _refuse_repeated(source: str, names: list[str]) -> None:
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise InputError(f"{source} names columns more than once: {', '.join(repeated)}", remedy="rename them")


def _damaged(source: str, what: str, error: Exception) -> InputError:
    return InputError(
        f"{source} is damaged or not {what}: {' '.join(str(error).split())[:200]}",
        remedy="write the file again, or move it out of the partition",
    )
