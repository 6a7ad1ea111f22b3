"""What the kernel knows of a process: its memory, its CPU time, who listens on a port. Linux, read from /proc."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

_TICK_S = 1.0 / os.sysconf("SC_CLK_TCK")
_LISTEN = "0A"


def rss_bytes(pid: int) -> int:
    """Resident memory; 0 when the process has gone."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except (OSError, IndexError):
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")


def cpu_s(pid: int) -> float:
    """CPU time so far, user and kernel; 0 when the process has gone."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return 0.0
    return parse_cpu_s(text)


def parse_cpu_s(stat: str) -> float:
    """From the text of ``/proc/<pid>/stat``; the name in brackets may hold anything, also brackets and spaces."""
    fields = stat.rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) * _TICK_S


def listeners(port: int) -> list[int]:
    """The processes of ours that listen on a TCP port, rising; several where they share it."""
    inodes = _listening_inodes(port)
    found = set()
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        if any(link in inodes for link in _open_files(folder)):
            found.add(int(folder.name))
    return sorted(found)


def _open_files(folder: Path) -> Iterator[str]:
    with contextlib.suppress(OSError):  # somebody else's process, or gone
        for link in list((folder / "fd").iterdir()):
            with contextlib.suppress(OSError):  # closed meanwhile
                yield os.readlink(link)


def _listening_inodes(port: int) -> set[str]:
    inodes = set()
    for table in ("tcp", "tcp6"):
        try:
            lines = Path(f"/proc/net/{table}").read_text().splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            fields = line.split()
            if fields[3] == _LISTEN and int(fields[1].rpartition(":")[2], 16) == port:
                inodes.add(f"socket:[{fields[9]}]")
    return inodes
