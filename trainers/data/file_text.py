"""How files are written, in words: for a run's output and its report."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING

from trainers.data.file_formats import FileKind, RawFile

if TYPE_CHECKING:
    from trainers.data.csv_rows import CsvRows


def format_text(file: RawFile, delimiter: str = "") -> str:
    """What a file was taken for.

    >>> format_text(RawFile("a.csv.gz", FileKind.CSV, compression="gzip", encoding="cp1252"), ";")
    "CSV (fields end with ';', cp1252, gzip)"
    """
    if file.kind in {FileKind.PARQUET, FileKind.EMPTY}:
        return file.kind.value
    facts = [f"fields end with {delimiter!r}"] if delimiter else []
    facts += [file.encoding, *filter(None, [file.compression])]
    return f"{file.kind.value} ({', '.join(facts)})"


def format_lines(formats: Mapping[int, str]) -> tuple[str, ...]:
    """One line for each way of writing, the most frequent first. ``formats`` is by file.

    >>> format_lines({0: "Parquet", 1: "empty", 2: "Parquet"})
    ('2 files: Parquet', '1 file: empty')
    """
    counts = Counter(text for _, text in sorted(formats.items()))
    return tuple(f"{count:,} file{'s' * (count > 1)}: {text}" for text, count in counts.most_common())


def csv_notes(csv: CsvRows, declared: str) -> list[str]:
    """Notes on what is unusual. ``declared`` is the delimiter of the pipeline file, or empty."""
    notes = []
    if csv.delimiter != "," and not declared:
        notes.append(f"{csv.file.path} is separated by {csv.delimiter!r}, not by commas")
    if csv.has_backslashes:
        notes.append(f"{csv.file.path} escapes quotes by backslashes: they are read so")
    return notes
