"""Standard output and error of the command line: any encoding, a full disk, a closed pipe, no stream at all."""

from __future__ import annotations

import codecs
import contextlib
import io
import os
import sys
from collections.abc import Iterator
from typing import TextIO, cast

LOOKALIKES = {
    "→": "->", "…": "...", "–": "-", "×": "x", "·": ".", "█": "#", "‖": "=", "✔": "+", "✓": "+", "✖": "x", "✗": "x",
    "◌": "o", "◐": "o", "◕": "o", "⟳": "@", "⧉": "#", "├": "|", "└": "`", "│": "|", "─": "-", "≥": ">=", "≤": "<=",
    "▁": "_", "▂": "_", "▃": ".", "▄": "-", "▅": "-", "▆": "=", "▇": "#",
}  # fmt: skip
"""What an encoding without the character shows instead."""
_HANDLER = "divisions-lookalike"


class OutputError(OSError):
    """Standard output cannot be written. Tells that apart from an error of any other file."""

    def __init__(self, cause: OSError) -> None:
        super().__init__(cause.strerror)  # without `errno`: typer has its own way with broken pipes
        self.reason = cause.strerror
        self.is_closed = isinstance(cause, BrokenPipeError)


class _Output(io.TextIOWrapper):
    def write(self, text: str) -> int:
        try:
            return super().write(text)
        except OSError as error:
            raise OutputError(error) from None

    def flush(self) -> None:
        try:
            super().flush()
        except OSError as error:
            raise OutputError(error) from None


def prepare_streams() -> None:
    """Makes printing never fail for a character, and never for an absent stream."""
    codecs.register_error(_HANDLER, _replace)
    if sys.stderr is None:  # the caller has closed it
        sys.stderr = _nowhere()
    elif isinstance(sys.stderr, io.TextIOWrapper):
        sys.stderr.reconfigure(errors=_HANDLER)
    if sys.stdout is None:
        sys.stdout = _nowhere()
    elif isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout = _Output(
            io.BufferedWriter(io.FileIO(sys.stdout.fileno(), "wb", closefd=False)),
            encoding=sys.stdout.encoding,
            errors=_HANDLER,
            line_buffering=sys.stdout.line_buffering,
        )


def abandon_output() -> None:
    """Sends the rest of standard output nowhere. Otherwise the interpreter tries again at its end, and complains."""
    with contextlib.suppress(OSError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)


def complain(line: str) -> None:
    """One line on standard error. If that cannot be written, there is no other place to say so."""
    with contextlib.suppress(OSError):
        print(f"error: {' '.join(line.split())}", file=sys.stderr, flush=True)


@contextlib.contextmanager
def tells_if_interrupted(what: str) -> Iterator[None]:
    """Says on standard error what a Ctrl-C has ended, and what goes on."""
    try:
        yield
    except KeyboardInterrupt:
        with contextlib.suppress(OSError):
            print(f"interrupted: {what}", file=sys.stderr, flush=True)
        raise


def _replace(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    text = error.object[error.start : error.end]
    return "".join(LOOKALIKES.get(character) or _escape(character) for character in text), error.end


def _escape(character: str) -> str:
    return character.encode("ascii", "backslashreplace").decode()


def _nowhere() -> TextIO:
    return cast(TextIO, open(os.devnull, "w", encoding="utf-8"))  # lives as long as the process
