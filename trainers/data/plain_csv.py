"""Plain CSV files, read by DuckDB itself: one record a line, UTF-8, nothing to mend.

DuckDB reads such files with all cores, many times faster than `trainers.data.csv_rows`, which reads all others. It must
come to the same rows, with the same numbers. So whatever could be read in two ways is not plain: a line break within a
field, an empty line, a record of too few fields, bytes that are not UTF-8.

Columns of numbers become numbers on the way. `guess_numbers` looks at the beginning of a file only. If a later value is
none, the file is read once more, as text.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from divisions.schema import FLOAT32_MAX
from trainers.data.csv_rows import CsvRows
from trainers.data.engine import first_row, in_parts, text_literal
from trainers.data.raw_columns import list_literal

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection
    from numpy.typing import NDArray

_BLOCK_BYTES = 1 << 18
"""Looked at several times, so it is to stay in the processor's cache."""
_SAMPLE_ROWS = 2_000
_LOOKS_NUMERIC = (
    "(bool_and(TRY_CAST({v} AS DOUBLE) IS NOT NULL) FILTER (WHERE {v} IS NOT NULL) AND NOT"
    " coalesce(bool_and(regexp_full_match({v}, '[+-]?[0-9]{{1,3}}([.][0-9]{{3}})+'))"
    " FILTER (WHERE contains({v}, '.')), false))"
)
_FIRST_RECORD = 2
"""The header is record 1."""
_PATTERN = frozenset("*?[")
_NO_TEXT = "\ufdd1"
"""Unicode reserves it: no text may contain it."""


@dataclass(frozen=True, slots=True)
class PlainCsv:
    """A file that may turn out to be plain.

    Attributes:
        path: on this disk.
        names: the header.
        delimiter: between fields.
        missing: the words that mean a missing value; without any, all texts stay as they are spelled.
    """

    path: str
    names: Sequence[str]
    delimiter: str
    missing: tuple[str, ...]

    def guess_numbers(self, connection: DuckDBPyConnection) -> frozenset[int]:
        """The positions of the columns that begin with numbers, except for those that may have groups of three."""
        import duckdb

        found: list[bool] = []
        try:
            connection.execute(f"CREATE TEMP TABLE sample AS FROM {self._scan(())} LIMIT {_SAMPLE_ROWS}")
            for part in in_parts(range(len(self.names))):
                facts = ", ".join(_LOOKS_NUMERIC.format(v=f"v{index}") for index in part)
                found += first_row(connection, f"SELECT {facts} FROM sample")
        except duckdb.Error:
            return frozenset()
        finally:
            connection.execute("DROP TABLE IF EXISTS sample")
        return frozenset(index for index, is_numeric in enumerate(found) if is_numeric)

    def load(self, connection: DuckDBPyConnection, table: str, numbers: Collection[int]) -> PlainTable | None:
        """Writes the table, its rows in the file's order.

        Args:
            connection: the engine's.
            table: its name.
            numbers: the positions of the columns that are numbers; the others stay text.

        Returns:
            None, and no table, if the file is not plain or a value is no number.
        """
        import duckdb

        try:
            self._create(connection, table, self._scan(numbers))
        except duckdb.Error as error:
            if isinstance(error, duckdb.OutOfMemoryException | duckdb.IOException):
                raise
            return None
        is_nan = " OR ".join(f"isnan(v{index})" for index in numbers) or "false"
        is_large = " OR ".join(f"abs(v{index}) > {FLOAT32_MAX!r}" for index in numbers) or "false"  # so is NaN
        rows, num_large = first_row(connection, f"SELECT count(*), count(*) FILTER (WHERE {is_large}) FROM {table}")
        num_nans = 0
        if num_large:
            (num_nans,) = first_row(connection, f"SELECT count(*) FILTER (WHERE {is_nan}) FROM {table}")
        bytes_of = count_bytes(Path(self.path), self.delimiter)
        is_plain = bytes_of is not None and self._is_regular(connection, table, numbers, bytes_of, rows + 1)
        if bytes_of is None or not is_plain or num_nans or self._has_spelled(connection, table, numbers, bytes_of):
            connection.execute(f"DROP TABLE {table}")
            return None
        return PlainTable(table, frozenset(numbers), int(rows), self, has_large=num_large > 0)

    def load_text(self, connection: DuckDBPyConnection, path: Path, table: str) -> None:
        """Writes a table of the texts of another file with the same header, each as it is spelled."""
        self._create(connection, table, replace(self, path=str(path), missing=())._scan(()))

    def _create(self, connection: DuckDBPyConnection, table: str, scan: str) -> None:
        """A table whose ``rowid`` counts the rows of a file."""
        connection.execute("SET preserve_insertion_order = true")
        try:
            connection.execute(f"CREATE TEMP TABLE {table} AS FROM {scan}")
        finally:
            connection.execute("SET preserve_insertion_order = false")

    def _is_regular(
        self,
        connection: DuckDBPyConnection,
        table: str,
        numbers: Collection[int],
        bytes_of: ByteCounts,
        num_records: int,
    ) -> bool:
        """Whether each record is one line with all of its fields, and no more.

        DuckDB takes one field too many if it is empty or a word for missing. Delimiters within fields are in quotes.
        """
        extra = bytes_of.delimiters - num_records * (len(self.names) - 1)
        if bytes_of.lines != num_records or not extra or not bytes_of.has_quotes:
            return bytes_of.lines == num_records and not extra
        texts = (f"v{index}" for index in range(len(self.names)) if index not in numbers)
        mark = text_literal(self.delimiter)
        counts = (f"coalesce(len({v}) - len(replace({v}, {mark}, '')), 0)" for v in texts)
        (within,) = first_row(connection, f"SELECT coalesce(sum({' + '.join((*counts, '0'))}), 0) FROM {table}")
        return bool(extra == within + sum(name.count(self.delimiter) for name in self.names))

    def _has_spelled(
        self, connection: DuckDBPyConnection, table: str, numbers: Collection[int], bytes_of: ByteCounts
    ) -> bool:
        """Whether numbers may be written for people, so that `trainers.data.spelled_numbers` must see all columns.

        DuckDB takes ``1_000`` for a number. And ``1.200`` is 1200 in a file that has ``29,85`` in another column.
        """
        texts = [f"v{index}" for index in range(len(self.names)) if index not in numbers]
        underscores = bytes_of.underscores - sum(name.count("_") for name in self.names)
        if not numbers or not texts:
            return bool(numbers and underscores)
        asked = []
        if underscores:
            counts = (
                f"CASE WHEN contains({v}, '_') THEN len({v}) - len(replace({v}, '_', '')) ELSE 0 END" for v in texts
            )
            asked.append(f"coalesce(sum({' + '.join(counts)}), 0) <> {underscores}")
        if bytes_of.has_quotes if self.delimiter == "," else bytes_of.commas:
            commas = (f"contains({v}, ',') AND regexp_matches({v}, '[0-9],[0-9]')" for v in texts)
            asked.append(f"coalesce(bool_or({' OR '.join(commas)}), false)")
        return any(first_row(connection, f"SELECT {', '.join(asked)} FROM {table}")) if asked else False

    def _scan(self, numbers: Collection[int]) -> str:
        # The engine finds the line ends itself. Where they are declared as CR LF, its strict mode gives no rows at all.
        kinds = ["DOUBLE" if index in numbers else "VARCHAR" for index in range(len(self.names))]
        columns = ", ".join(f"'v{index}': '{kind}'" for index, kind in enumerate(kinds))
        return (
            f"read_csv({text_literal(self.path)}, auto_detect = false, columns = {{{columns}}}, header = true,"
            f" skip = 0, delim = {text_literal(self.delimiter)}, quote = '\"',"
            " escape = '\"', comment = '', strict_mode = true, null_padding = false, allow_quoted_nulls = true,"
            " hive_partitioning = false, compression = 'none',"
            f" nullstr = {list_literal(('', *self.missing) if self.missing else (_NO_TEXT,))})"
        )


@dataclass(frozen=True, slots=True)
class PlainTable:
    """A file in a table, with the positions of its columns of numbers. ``has_large``: some do not fit 32 bits."""

    name: str
    numbers: frozenset[int]
    num_rows: int
    csv: PlainCsv
    has_large: bool = False

    def select(self, file_id: str) -> str:
        """The rows as other relations of staging have them. A row's place in the table is its place in the file."""
        return f"SELECT {file_id} + rowid + {_FIRST_RECORD} AS id, NULL::VARCHAR AS flaw, * FROM {self.name}"


def load_plain_files(
    connection: DuckDBPyConnection,
    files: Sequence[tuple[int, CsvRows]],
    missing: tuple[str, ...],
    texts: Collection[str] | None,
) -> dict[int, PlainTable]:
    """The tables of the plain ones among files of the same columns, by the files' numbers.

    A column of numbers is one in every file, or it is text in all: another file may show that it holds codes. See
    `load_plain` for the arguments.
    """
    plain: dict[int, PlainTable] = {}
    for index, file in files:
        table = load_plain(connection, file, f"plain_{index}", missing, texts)
        if table is not None:
            plain[index] = table
    shared: frozenset[int] = frozenset()
    if len(plain) == len(files):
        shared = frozenset.intersection(*(table.numbers for table in plain.values()))
    stay_text = {name for position, name in enumerate(files[0][1].names) if position not in shared}
    for index, file in files:
        if index in plain and plain[index].numbers != shared:
            connection.execute(f"DROP TABLE {plain[index].name}")
            again = load_plain(connection, file, plain[index].name, missing, stay_text)
            assert again is not None  # it was plain before, and fewer columns are numbers now
            plain[index] = again
    return plain


def may_be_plain(file: CsvRows) -> bool:
    """Whether what is known of a file, which is how it begins, is plain."""
    # A row of one column without a value looks like an empty line.
    is_text = file.file.compression is None and file.file.encoding == "utf-8" and len(file.names) > 1
    is_usual = file.header_row == 1 and not file.has_backslashes
    return is_text and is_usual and not file.file.head.startswith((b"\n", b"\r"))


def load_plain(
    connection: DuckDBPyConnection, file: CsvRows, table: str, missing: tuple[str, ...], texts: Collection[str] | None
) -> PlainTable | None:
    """Reads a file on this disk into a new table if it is plain.

    Args:
        connection: the engine's.
        file: what is known of it.
        table: the table's name.
        missing: the words that mean a missing value.
        texts: columns that stay text, even if they hold numbers; None means all, each as it is spelled.
    """
    names = file.names
    # The engine would take some paths for patterns.
    if not may_be_plain(file) or not _PATTERN.isdisjoint(file.file.path):
        return None
    csv = PlainCsv(file.file.path, names, file.delimiter, missing if texts is not None else ())
    numbers: frozenset[int] = frozenset()
    if texts is not None:
        stay = {index for index, name in enumerate(names) if name in texts or name.strip() in texts}
        numbers = csv.guess_numbers(connection) - stay
    for guess in dict.fromkeys((numbers, frozenset[int]())):
        loaded = csv.load(connection, table, guess)
        if loaded is not None:
            return loaded
    return None


@dataclass(frozen=True, slots=True)
class ByteCounts:
    """What a file consists of, as far as it matters here."""

    lines: int
    delimiters: int
    underscores: int
    commas: int
    has_quotes: bool


def count_bytes(path: Path, delimiter: str) -> ByteCounts | None:
    """Counts; None where line ends differ, or where DuckDB is more generous than `trainers.data.csv_rows`.

    It takes a delimiter at the end of a line, blanks before a quote, and zero bytes. Lines may end with a delimiter if
    no quote is in the file, since then counting tells.
    """
    counts = Counter[str]()
    # The byte before a block is in front of it, since pairs may lie across two blocks.
    bytes_N = np.full(_BLOCK_BYTES + 1, ord("x"), np.uint8)
    with path.open("rb", buffering=0) as file:
        while size := file.readinto(bytes_N.data[1:]):
            _count_block(counts, bytes_N[: size + 1], ord(delimiter))
            bytes_N[0] = bytes_N[size]
    lines, returns, last = counts["lines"], counts["returns"], chr(bytes_N[0])
    is_odd = counts["zeros"] or returns != counts["pairs"] or returns not in {0, lines}
    if is_odd or (counts["quotes"] and (counts["odd pairs"] or last == delimiter)):
        return None
    return ByteCounts(
        lines + (last != "\n"), counts["delimiters"], counts["underscores"], counts["commas"], counts["quotes"] > 0
    )


def _count_block(counts: Counter[str], bytes_N: NDArray[np.uint8], delimiter: int) -> None:
    """Adds the counts of a block after its first byte, which is the one before it."""
    is_line_N, is_delimiter_N = bytes_N == ord("\n"), bytes_N == delimiter
    counts["lines"] += _num(is_line_N[1:])
    counts["delimiters"] += _num(is_delimiter_N[1:])
    counts["commas"] += _num(bytes_N[1:] == ord(","))
    counts["underscores"] += _num(bytes_N[1:] == ord("_"))
    counts["zeros"] += not bytes_N.all()
    counts["odd pairs"] += _num(is_delimiter_N[:-1] & is_line_N[1:])
    is_return_N = bytes_N == ord("\r")
    if is_return_N.any():
        counts["returns"] += _num(is_return_N[1:])
        counts["pairs"] += _num(is_return_N[:-1] & is_line_N[1:])
        counts["odd pairs"] += _num(is_delimiter_N[:-1] & is_return_N[1:])
    is_quote_N = bytes_N[1:] == ord('"')
    if is_quote_N.any():
        before_N = bytes_N[:-1]
        counts["quotes"] += 1
        counts["odd pairs"] += _num(is_quote_N & ((before_N == ord(" ")) | (before_N == ord("\t"))))


def _num(mask_N: NDArray[np.bool_]) -> int:
    return int(np.count_nonzero(mask_N))
