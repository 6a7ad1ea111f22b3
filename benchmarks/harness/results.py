"""How a benchmark ends: its result as text or JSON on standard output, and in a file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import msgspec

Result = TypeVar("Result", bound=msgspec.Struct)


def encode_result(found: msgspec.Struct) -> str:
    """The result as indented JSON."""
    return msgspec.json.format(msgspec.json.encode(found), indent=2).decode() + "\n"


def write_result(found: Result, out: Path | None, output: str, render: Callable[[Result], str]) -> None:
    """Prints the result in the form ``output`` (``json`` or ``text``), and writes JSON to ``out`` if there is one."""
    encoded = encode_result(found)
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(encoded, encoding="utf-8")
    print(encoded.rstrip() if output == "json" else render(found))
