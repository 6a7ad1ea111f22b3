"""Rows on this machine's disk, before they are in the log's place: a file of Arrow's stream format for each version.

What is written is safe from the death of gateway and writer: the kernel has it. The file says itself where its rows
belong, so any later writer of the home can bring them there. A lock tells whether its own writer still lives; it ends
with the process, however that ends. A file may end in the middle of a batch: what is whole before it counts.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa

FOLDER = "spool"
"""Below the log's folder in the home."""
SUFFIX = ".arrows"
MIN_FREE_BYTES = 256 << 20
"""The log leaves so much of a disk free: journal and bundles of the same home need it more."""

_TARGET = b"target"
Write = Callable[[int, bytes], int]


class SpoolFile:
    """A file that is locked by this process. Make it by `create` or `adopt`."""

    def __init__(self, path: Path, descriptor: int, size: int = 0) -> None:
        self.path = path
        self.size = size
        self.rows = 0
        self.place = ""
        """Where it goes; known once it was read."""
        self._descriptor = descriptor

    def append(self, data: bytes, rows: int, write: Write = os.write) -> None:
        """Adds one whole message of the stream, or nothing.

        Raises:
            OSError: the disk is full, or fails.
        """
        left = memoryview(data)
        try:
            if shutil.disk_usage(self.path.parent).free < MIN_FREE_BYTES + len(data):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self.path))
            while left:
                left = left[write(self._descriptor, bytes(left)) :]
        except OSError:
            with contextlib.suppress(OSError):
                os.ftruncate(self._descriptor, self.size)
                os.lseek(self._descriptor, self.size, os.SEEK_SET)
            raise
        self.size += len(data)
        self.rows += rows

    def read(self) -> tuple[Any, str]:
        """The rows that are whole, and the name of the file that they become; None without a row.

        Raises:
            OSError: it cannot be read.
        """
        return read(self.path)

    def remove(self) -> None:
        """Its rows are in the log's place, or it has none."""
        with contextlib.suppress(FileNotFoundError):
            self.path.unlink()
        self.close()

    def close(self) -> None:
        """Gives it up; another writer may take it."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def create(folder: Path, name: str, schema: Any, target: str) -> SpoolFile:
    """A new file, with its head.

    Args:
        target: where its rows belong, as a place and a path below it, separated by a line end.

    Raises:
        OSError: it cannot be made.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = folder / f"{name}{SUFFIX}"
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    file = SpoolFile(path, descriptor)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        file.append(bytes(schema.with_metadata({_TARGET: target.encode()}).serialize()), 0)
    except OSError:
        file.remove()
        raise
    return file


def adopt(folder: Path) -> Iterator[SpoolFile]:
    """The files whose writers have ended."""
    for path in sorted(folder.glob(f"*{SUFFIX}")):
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        except OSError:  # another writer was faster
            continue
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            status = os.fstat(descriptor)
            if status.st_nlink == 0:
                raise FileNotFoundError(path)
        except OSError:
            os.close(descriptor)
            continue
        yield SpoolFile(path, descriptor, status.st_size)


def read(path: Path) -> tuple[Any, str]:
    """See `SpoolFile.read`."""
    batches = []
    try:
        with pa.OSFile(str(path)) as source, pa.ipc.open_stream(source) as stream:
            schema = stream.schema
            try:
                while True:
                    batches.append(stream.read_next_batch())
            except (StopIteration, pa.ArrowInvalid, OSError):  # its end, or the middle of a batch
                pass
    except pa.ArrowInvalid:  # not even its head is whole
        return None, ""
    target = (schema.metadata or {}).get(_TARGET, b"").decode()
    if not batches or not target:
        return None, target
    return pa.Table.from_batches(batches, schema.remove_metadata()), target
