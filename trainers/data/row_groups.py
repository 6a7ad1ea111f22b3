"""Rows of files of one format and the same columns. Their ``id`` is the file's index * 2**40 + the row's number."""

from __future__ import annotations

from dataclasses import dataclass, field

from trainers.data.file_formats import FileKind
from trainers.data.original_rows import OriginalFile
from trainers.data.raw_columns import RawColumn

ROW_BITS = 40


@dataclass(frozen=True, slots=True)
class RowGroup:
    """Rows of files of one format and the same columns.

    Attributes:
        relation: the table or view; it has ``id`` and ``flaw`` (why the row cannot be read, or null) besides columns.
        columns: by name, in the order of the data.
        present: how many values of a column are not null, where the file's statistics say so.
        example: one of the files.
        has_row_number: the relation reads Parquet files, and has their ``file_row_number``.
        only_file: the file's number, where it is the only one.
        delimiter: of CSV files, where it is the same in all.
        originals: the files of plain CSV, if the relation does not have the rows as they are spelled.
    """

    relation: str
    columns: dict[str, RawColumn]
    kind: FileKind
    num_rows: int
    example: str
    present: dict[str, int] = field(default_factory=dict)
    has_row_number: bool = False
    only_file: int | None = None
    originals: tuple[OriginalFile, ...] = ()
    delimiter: str = ""

    def is_row(self, number: str) -> str:
        """BOOLEAN, to join by: the row has the id ``number``. Parquet is then read only where such rows may be."""
        place = f"file_row_number = ({number} & {(1 << ROW_BITS) - 1}) - 1"
        if self.only_file is not None:
            return f"{number} >> {ROW_BITS} = {self.only_file} AND {place}"
        return f"id = {number} AND {place}" if self.has_row_number else f"id = {number}"

    @property
    def is_untyped(self) -> bool:
        return self.kind is FileKind.CSV
