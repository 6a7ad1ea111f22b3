"""The audit log of a home: ``audit.jsonl`` and its head ``audit.head``. Written under a lock, read without one."""

from __future__ import annotations

import contextlib
import fcntl
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import msgspec

from divisions.access.audit import AuditEvent, AuditHead, AuditLine, Verified, encode, verify
from divisions.errors import AuditUnavailableError

NAME = "audit.jsonl"
HEAD = "audit.head"
_TAIL_BYTES = 65_536
"""More than the longest line: texts in it are cut."""


class AuditFile:
    """See the module. Several processes may append; each takes the chain up where the last one left it."""

    def __init__(self, home: Path) -> None:
        self._path = home / NAME
        self._head = home / HEAD

    def append(self, event: AuditEvent) -> None:
        """Writes an event; it is durable when this returns.

        Raises:
            AuditUnavailableError: nothing was written.
        """
        try:
            with self._opened() as descriptor:
                size, last = _end(descriptor)
                data, head = encode(last, event)
                try:
                    os.ftruncate(descriptor, size)  # what a killed writer left of a line
                    if os.pwrite(descriptor, data, size) < len(data):
                        raise OSError("the disk is full")
                    os.fsync(descriptor)
                except OSError:
                    with contextlib.suppress(OSError):
                        os.ftruncate(descriptor, size)
                    raise
                with contextlib.suppress(OSError):  # a head that is a line behind is valid
                    self._write_head(head)
        except OSError as error:
            raise AuditUnavailableError(
                f"the audit log {self._path} cannot be written: {error.strerror or error}",
                remedy="free space on the disk; until then only what takes a rollout back is done",
            ) from None

    def read(self) -> Verified:
        """Checks all of it.

        Raises:
            AuditUnavailableError: it cannot be read.
        """
        try:
            data = self._path.read_bytes()
            head = msgspec.json.decode(self._head.read_bytes(), type=AuditHead)
        except FileNotFoundError as error:
            if error.filename == str(self._head):
                return verify(data, None)
            return verify(b"", self._known_head())
        except msgspec.MsgspecError:
            return verify(data, None)
        except OSError as error:
            raise AuditUnavailableError(
                f"the audit log {self._path} cannot be read: {error.strerror or error}",
                remedy="look at the rights of the folder",
            ) from None
        return verify(data, head)

    def _known_head(self) -> AuditHead:
        """The head of a log that is missing itself."""
        with contextlib.suppress(OSError, msgspec.MsgspecError):
            return msgspec.json.decode(self._head.read_bytes(), type=AuditHead)
        return AuditHead()

    @contextlib.contextmanager
    def _opened(self) -> Iterator[int]:
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield descriptor
        finally:
            os.close(descriptor)

    def _write_head(self, head: AuditHead) -> None:
        descriptor, temporary = tempfile.mkstemp(prefix=f".{HEAD}.", dir=self._head.parent)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(msgspec.json.encode(head))
            os.replace(temporary, self._head)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
            raise


def _end(descriptor: int) -> tuple[int, AuditHead]:
    """Where the last whole line ends, and what it is. After a damaged one a new chain begins: appending must go on, and
    `verify` finds the damage."""
    size = os.fstat(descriptor).st_size
    start = max(0, size - _TAIL_BYTES)
    tail = os.pread(descriptor, size - start, start)
    whole, separator, _ = tail.rpartition(b"\n")
    if not separator:
        return 0, AuditHead()
    text = whole.rpartition(b"\n")[2]
    end = start + len(whole) + 1
    try:
        line = msgspec.json.decode(text, type=AuditLine)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return end, AuditHead()
    return end, AuditHead(line.seq, line.hash)
