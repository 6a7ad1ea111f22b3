"""How commands print: tables and JSON. Colours and boxes appear only on a terminal."""

from __future__ import annotations

import enum
import json
import re
import shutil
import sys
from collections.abc import Sequence
from typing import Annotated

import typer

_GAP, _INDENT = "   ", "  "
_NOT_ASCII = re.compile(r"[^\x00-\x7f]+")


class Format(enum.StrEnum):
    TEXT = "text"
    JSON = "json"


Output = Annotated[Format, typer.Option("--output", "-o", help="How to print the result.")]


def print_json(value: object) -> None:
    """Prints one JSON document; ``value`` is anything that msgspec encodes."""
    import msgspec

    _print_document(msgspec.json.format(msgspec.json.encode(value, enc_hook=str)).decode())


def print_json_line(value: object) -> None:
    import msgspec

    _print_document(msgspec.json.encode(value, enc_hook=str).decode())


def _print_document(text: str) -> None:
    """Prints JSON; where the encoding of the output lacks a character, as JSON's own escape."""
    try:
        text.encode(sys.stdout.encoding or "utf-8")
    except UnicodeEncodeError:
        text = _NOT_ASCII.sub(lambda found: json.dumps(found[0])[1:-1], text)
    print(text, flush=True)


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table as kubectl prints it: three blanks between columns, no rules. A narrow terminal gets it folded."""
    return folded_table(header, rows, shutil.get_terminal_size().columns if is_terminal() else None)


def folded_table(header: Sequence[str], rows: Sequence[Sequence[str]], most: int | None) -> str:
    """No line is longer than ``most``, unless one cell alone is: columns beyond it go to further, indented lines.

    >>> print(folded_table(("NAME", "PHASE", "AGE"), [("churn", "HOLD", "3s")], 14))
    NAME    PHASE
      AGE
    churn   HOLD
      3s
    """
    widths = [max(len(row[column]) for row in [header, *rows]) for column in range(len(header))]
    folds = _folds(widths, most)
    lines = [
        _INDENT * (number > 0) + _GAP.join(row[column].ljust(widths[column]) for column in columns).rstrip()
        for row in [header, *rows]
        for number, columns in enumerate(folds)
    ]
    return "\n".join(lines)


def _folds(widths: Sequence[int], most: int | None) -> list[list[int]]:
    """Which columns are in each line of a row."""
    folds: list[list[int]] = [[]]
    used = 0
    for column, width in enumerate(widths):
        if most is not None and folds[-1] and used + len(_GAP) + width > most:
            folds.append([])
            used = len(_INDENT)
        used += width + (len(_GAP) if folds[-1] else 0)
        folds[-1].append(column)
    return folds


def print_facts(facts: Sequence[tuple[str, str]]) -> None:
    """Names and values, a line each."""
    width = max(len(name) for name, _ in facts) + 2
    print("\n".join(f"{name + ':':<{width}}{value}" for name, value in facts))


def age(seconds: float) -> str:
    """``14h``, ``3m20s``, as kubectl writes ages."""
    whole = max(0, int(seconds))
    days, hours, minutes = whole // 86_400, whole % 86_400 // 3_600, whole % 3_600 // 60
    if days:
        return f"{days}d{hours}h" if days < 8 and hours else f"{days}d"
    if hours:
        return f"{hours}h{minutes}m" if hours < 8 and minutes else f"{hours}h"
    if minutes:
        return f"{minutes}m{whole % 60}s" if minutes < 10 and whole % 60 else f"{minutes}m"
    return f"{whole}s"


def metric(value: float) -> str:
    """A metric with four digits; counts are whole.

    >>> metric(1978.0), metric(10_127.4), metric(0.85176), metric(1.84e-4)
    ('1,978', '10,127', '0.8518', '0.000184')
    """
    return f"{value:,.0f}" if abs(value) >= 1_000 else f"{value:.4g}"


def percent(basis_points: int) -> str:
    return f"{basis_points / 100:g}%"


def is_terminal() -> bool:
    return sys.stdout.isatty()


def redraw(text: str) -> None:
    """Replaces what the terminal shows by ``text``. In a file or pipe, appends it."""
    print(f"\x1b[H\x1b[2J{text}" if is_terminal() else text + "\n", flush=True)
