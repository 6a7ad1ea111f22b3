"""The rows of one CSV file, a block at a time: all text, numbered, with a note on each row that is not UTF-8.

A record that has not as many fields as the header is returned as a bad row and never skipped. A quote that is never
closed makes one record of all lines after it; each of these lines counts as lost.
"""

from __future__ import annotations

import codecs
import io
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from divisions.errors import InputError
from trainers.data.file_formats import BadRow, Filter, RawFile, damaged, open_text

if TYPE_CHECKING:
    import pyarrow as pa
    from pyarrow import csv
    from pyarrow.fs import FileSystem

DELIMITERS = ",;\t|\x01"
"""The last one is Hive's."""
BLOCK_BYTES = 16 << 20
"""No record may be longer. Also the share of a file that is in memory at a time, a few times over."""
_MARK = "\ufdd1"
"""Stands for a byte that is not UTF-8. Unicode reserves it: no text may contain it."""
_SEPARATOR_LINE = re.compile(rb"sep=([,;\t|])\r?\n")
_ESCAPED = re.compile("[\udc80-\udcff]")


class _Marked(Filter):
    """UTF-8 with a mark for each byte that is not. pyarrow loses a row that it cannot show, without a word."""

    def __init__(self, stream: io.BufferedIOBase) -> None:
        super().__init__(stream)
        self._decoder = codecs.getincrementaldecoder("utf-8")("surrogateescape")
        self._ready = b""

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        is_at_end = False
        while not self._ready and not is_at_end:
            data = self._stream.read(len(buffer))
            is_at_end = not data
            text = self._decoder.decode(data, final=is_at_end)
            try:
                self._ready = text.encode()
            except UnicodeEncodeError:
                self._ready = _ESCAPED.sub(_MARK, text).encode()
        data, self._ready = self._ready[: len(buffer)], self._ready[len(buffer) :]
        buffer[: len(data)] = data
        return len(data)


@dataclass(slots=True)
class CsvRows:
    """One file.

    Attributes:
        names: the header.
        delimiter: as found or declared.
        header_row: the header's record; 2 after a line ``sep=;``, which Excel writes.
        has_backslashes: quotes within a field are escaped by a backslash, as Spark and MySQL do, and not doubled.
    """

    file: RawFile
    names: list[str]
    delimiter: str
    header_row: int = 1
    has_backslashes: bool = False
    _taken: set[int] = field(default_factory=set)
    """Numbers of records that cannot be told apart into fields, and that no block has passed yet."""
    _failures: list[OSError] = field(default_factory=list, repr=False)
    """pyarrow does not pass on what is raised while it parses."""

    def batches(self, filesystem: FileSystem, keep: Callable[[BadRow], None]) -> Iterator[pa.RecordBatch]:
        """Blocks with the columns ``row``, ``flaw`` (null for a row without one), ``v0``, ``v1``, ...

        Args:
            filesystem: has the file.
            keep: takes the records that cannot be told apart into fields.

        Raises:
            InputError: the file is not CSV.
            OSError: it cannot be read.
        """
        import pyarrow as pa
        from pyarrow import csv

        names = [f"v{index}" for index in range(len(self.names))]
        options = {
            # One thread: only then does pyarrow know the numbers of the lines that it cannot parse.
            "read_options": csv.ReadOptions(use_threads=False, block_size=BLOCK_BYTES, column_names=names, skip_rows=0),
            "parse_options": csv.ParseOptions(
                delimiter=self.delimiter,
                escape_char="\\" if self.has_backslashes else False,
                invalid_row_handler=partial(self._keep, keep),
                newlines_in_values=True,
            ),
            "convert_options": csv.ConvertOptions(
                column_types=dict.fromkeys(names, pa.binary()), null_values=[], strings_can_be_null=False
            ),
        }
        # A line sep=; is a record of two fields. It has no number where these are too few or too many for a row.
        first = 1 if len(names) == 2 else self.header_row
        try:
            text = io.BufferedReader(_Marked(open_text(filesystem, self.file)), BLOCK_BYTES)
            with text, csv.open_csv(text, **options) as reader:
                for batch in reader:
                    rows = self._numbers(first, batch.num_rows)
                    first = int(rows[-1]) + 1 if len(rows) else first
                    yield self._checked(batch, rows).slice(int((rows <= self.header_row).sum()))
        except pa.ArrowInvalid as error:
            if self._failures:
                raise self._failures[0] from None
            what = "CSV (a quote that is never closed?)" if "straddl" in str(error) else "CSV"
            raise damaged(self.file.path, what, error) from None

    def _keep(self, keep: Callable[[BadRow], None], row: csv.InvalidRow) -> str:
        if row.number is not None and row.number < self.header_row:
            return "skip"
        detail = f"{row.actual_columns} fields, expected {row.expected_columns}"
        try:
            for line in row.text.replace(_MARK, "\ufffd").split("\n"):
                keep(BadRow(self.file.path, row.number or 0, "unparsable line", detail, line))
        except OSError as error:
            self._failures.append(error)
            return "error"
        self._taken.add(row.number or 0)
        return "skip"

    def _numbers(self, first: int, count: int) -> np.ndarray:
        """The record numbers of the next ``count`` rows; those of bad rows are taken."""
        self._taken = {number for number in self._taken if number >= first}
        taken = np.array(sorted(self._taken), dtype=np.int64)
        numbers = np.arange(first, first + count + len(taken), dtype=np.int64)
        return numbers[~np.isin(numbers, taken)][:count]

    def _checked(self, batch: pa.RecordBatch, rows: np.ndarray) -> pa.RecordBatch:
        import pyarrow as pa
        import pyarrow.compute as pc

        flaws: dict[int, str] = {}
        columns = []
        for index, column in enumerate(batch.columns):
            texts = column.cast(pa.string())
            marked = pc.match_substring(texts, _MARK)
            if pc.any(marked).as_py():
                for position in np.flatnonzero(marked.to_numpy(zero_copy_only=False)).tolist():
                    flaws.setdefault(position, f"{self.names[index]!r} is not UTF-8")
                texts = pc.replace_substring(texts, _MARK, "\ufffd")
            columns.append(texts)
        flaw = pa.array([flaws.get(position) for position in range(len(rows))] if flaws else [None] * len(rows))
        return pa.record_batch(
            [pa.array(rows), flaw.cast(pa.string()), *columns], names=["row", "flaw", *batch.schema.names]
        )


def open_csv(file: RawFile, delimiter: str = "") -> CsvRows | None:
    """The header and the delimiter of a CSV file; None for a file without any text.

    Raises:
        InputError: the header cannot be read.
    """
    import pyarrow as pa
    from pyarrow import csv

    text = file.head.lstrip(b"\r\n")
    if not text.strip():
        return None
    prefix = _SEPARATOR_LINE.match(text)
    if prefix is not None:
        text, delimiter = text[prefix.end() :], delimiter or prefix[1].decode()
    line = text.partition(b"\n")[0]
    try:
        line.decode()
    except UnicodeDecodeError:
        raise InputError(
            f"the header of {file.path} is not UTF-8",
            remedy="declare data_prep.format.encoding, such as cp1252, or write the file as UTF-8",
        ) from None
    delimiter = delimiter or find_delimiter(line.decode())
    options = csv.ParseOptions(delimiter=delimiter, invalid_row_handler=lambda _: "skip", newlines_in_values=True)
    whole = text if len(file.head) < (1 << 20) else text.rpartition(b"\n")[0] + b"\n"
    try:
        names = csv.open_csv(pa.BufferReader(_header_of(whole)), parse_options=options).schema.names
    except pa.ArrowInvalid as error:
        raise damaged(file.path, "CSV", error) from None
    escaped = rb'\\"[^"\r\n' + re.escape(delimiter.encode()) + rb"]"
    has_backslashes = re.search(escaped, whole) is not None
    return CsvRows(file, names, delimiter, 1 if prefix is None else 2, has_backslashes)


def _header_of(text: bytes) -> bytes:
    """The header's record: lines until the number of quotes is even."""
    end = text.find(b"\n")
    while end >= 0 and text.count(b'"', 0, end) % 2:
        end = text.find(b"\n", end + 1)
    return text[: end + 1] if end >= 0 else text + b"\n"


def find_delimiter(header: str) -> str:
    """The delimiter that stands most often in a header, outside quotes.

    >>> find_delimiter('id;"a,b,c";x')
    ';'
    >>> find_delimiter("id")
    ','
    """
    outside = "".join(header.split('"')[::2])
    return max(DELIMITERS, key=lambda delimiter: (outside.count(delimiter), -DELIMITERS.index(delimiter)))
