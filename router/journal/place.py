"""Where the journal is in a home. A command that only asks whether there is one needs no database client."""

from __future__ import annotations

from pathlib import Path

NAME = "journal.db"
COPIES = "journal-copies"


def is_begun(path: Path) -> bool:
    """Whether there is a journal at ``path``, or was one: its head and its copies lie beside it."""
    return path.exists() or head_path(path).exists() or has_copies(path.parent)


def head_path(path: Path) -> Path:
    return path.with_suffix(".head")


def has_copies(folder: Path) -> bool:
    return any(folder.glob(f"{COPIES}/*.db"))
