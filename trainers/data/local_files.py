"""The files below a local folder, whatever else lies there: links, loops, pipes, and folders that may not be read.

Links are followed, also out of the folder. Each folder and each linked file is read once: under its own name if that is
below the input, too. Links that lead nowhere or back, pipes, sockets and devices are left out, with a note.
"""

from __future__ import annotations

import os
import stat
from collections import deque
from dataclasses import dataclass, field

from divisions.errors import InputError


@dataclass(slots=True)
class Listing:
    """``files`` by their paths, and what was left out."""

    files: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def is_hidden(name: str) -> bool:
    """Such names (``_SUCCESS``, ``.part.crc``, drafts) are not data."""
    return name.startswith(("_", "."))


def refuse_special(path: str) -> None:
    """Raises `InputError` for a path that is neither file nor folder. Opening a pipe would wait for its writer."""
    try:
        kind = _special_kind(os.stat(path).st_mode)
    except OSError:
        return
    if kind:
        raise InputError(f"input {path} is {kind}", remedy="write the data to a file, and name that")


def names_in(folder: str) -> list[str]:
    """The names in a folder, hidden ones too; none if there is no such folder."""
    try:
        return sorted(os.listdir(folder))
    except (FileNotFoundError, NotADirectoryError):
        return []


def walk(root: str) -> Listing:
    """All visible files below a folder, sorted.

    Raises:
        OSError: a folder cannot be read.
    """
    listing = Listing()
    links: deque[str] = deque()
    seen = {_identity(os.stat(root))}
    _walk_folder(root, listing, links, seen)
    # Real names come first: a link to a folder of the same input must not take its files, and its place in the names.
    while links:
        _follow(links.popleft(), listing, links, seen)
    listing.files.sort()
    return listing


def _walk_folder(folder: str, listing: Listing, links: deque[str], seen: set[tuple[int, int]]) -> None:
    with os.scandir(folder) as found:
        entries = sorted((entry for entry in found if not is_hidden(entry.name)), key=lambda entry: entry.name)
    for entry in entries:
        if entry.is_symlink():
            links.append(entry.path)
            continue
        mode = entry.stat(follow_symlinks=False)
        if stat.S_ISDIR(mode.st_mode):
            seen.add(_identity(mode))
            _walk_folder(entry.path, listing, links, seen)
        elif stat.S_ISREG(mode.st_mode):
            seen.add(_identity(mode))
            listing.files.append(entry.path)
        else:
            listing.notes.append(f"{entry.path} is {_special_kind(mode.st_mode)}: it is left out")


def _follow(link: str, listing: Listing, links: deque[str], seen: set[tuple[int, int]]) -> None:
    try:
        found = os.stat(link)
    except OSError:
        listing.notes.append(f"{link} is a link that leads nowhere: it is left out")
        return
    kind = _special_kind(found.st_mode)
    if kind:
        listing.notes.append(f"{link} is a link to {kind}: it is left out")
    elif _identity(found) in seen:
        listing.notes.append(f"{link} is a link to what is read anyway: it is left out")
    else:
        seen.add(_identity(found))
        if stat.S_ISDIR(found.st_mode):
            _walk_folder(link, listing, links, seen)
        else:
            listing.files.append(link)


def _identity(found: os.stat_result) -> tuple[int, int]:
    return found.st_dev, found.st_ino


def _special_kind(mode: int) -> str:
    if stat.S_ISREG(mode) or stat.S_ISDIR(mode):
        return ""
    kinds = {stat.S_IFIFO: "a named pipe", stat.S_IFSOCK: "a socket"}
    return kinds.get(stat.S_IFMT(mode), "a device")
