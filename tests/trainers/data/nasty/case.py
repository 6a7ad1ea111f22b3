"""What a nasty input is: how it is written, and what comes out of it."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from divisions.pipeline.definition import DataFormat

DAY = "2025-01-14"
NOW = dt.datetime(2025, 2, 1, tzinfo=dt.UTC)
Write = Callable[[Path], object]


@dataclass(frozen=True)
class Nasty:
    """One input and its outcome: values, or one error. Either may come with notes.

    Attributes:
        what: the input, for the table in the docs.
        comes: what comes out, for the table in the docs.
        write: writes the files into a folder.
        values: the expected values of columns, in the order of the customers c-0, c-1, ...
        kinds: the kinds of columns; None for one that must not be learned.
        error: patterns that the error's line has, culprit and remedy.
        notes: patterns, each found in one of the notes or lines about the files.
        quarantined: rows by reason.
        by: the system that writes so.
        format: the section data_prep.format.
        features: keys of the section features.
    """

    what: str
    comes: str
    write: Write
    values: dict[str, list[Any]] = field(default_factory=dict)
    kinds: dict[str, str | None] = field(default_factory=dict)
    error: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    quarantined: dict[str, int] = field(default_factory=dict)
    by: str = ""
    format: DataFormat = field(default_factory=DataFormat)
    features: dict[str, Any] = field(default_factory=dict)


def table(count: int = 6, **columns: Sequence[object]) -> pd.DataFrame:
    """Customers c-0, c-1, ... with a plain numeric column ``calls``; other columns replace these or are added."""
    length = len(next(iter(columns.values()))) if columns else count
    frame = {
        "customer_id": [f"c-{i}" for i in range(length)],
        "event_time": [DAY] * length,
        "calls": [i * 7 % 5 for i in range(length)],
        "churn": ["yes" if i % 2 else "no" for i in range(length)],
    }
    return pd.DataFrame({**frame, **{name: list(column) for name, column in columns.items()}})


def csv(frame: pd.DataFrame | str | bytes, name: str = "a.csv", **options: Any) -> Write:
    def write(folder: Path) -> None:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        if isinstance(frame, pd.DataFrame):
            frame.to_csv(folder / name, **{"index": False, **options})
        else:
            (folder / name).write_bytes(frame.encode() if isinstance(frame, str) else frame)

    return write


def parquet(frame: pd.DataFrame, name: str = "a.parquet", **options: Any) -> Write:
    def write(folder: Path) -> None:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        frame.to_parquet(folder / name, **options)

    return write


def json_lines(frame: pd.DataFrame | Sequence[str], name: str = "a.jsonl") -> Write:
    def write(folder: Path) -> None:
        lines = frame
        if isinstance(frame, pd.DataFrame):
            lines = [json.dumps(record, ensure_ascii=False) for record in frame.to_dict("records")]
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("\n".join(lines) + "\n")

    return write


def each(*writes: Write) -> Write:
    def write(folder: Path) -> None:
        for one in writes:
            one(folder)

    return write
