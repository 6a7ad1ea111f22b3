"""A bundle as one file, ``churn-predictor-v3.2.tar.gz``: the same bytes for the same bundle, and safe to unpack.

The tar holds the bundle's files and nothing else: sorted by name, without times, owners or folders. Its identity is
the bundle's own SHA-256. The compressed bytes depend on the version of zlib, so their digest only guards the transport.
"""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import os
import tarfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Final, cast

from divisions.errors import BundleError

_COPY_BYTES: Final = 1 << 20
_LEVEL: Final = 6
_MAX_FILES: Final = 1_000
_HEAD_BYTES: Final = 1_024
"""More than the header and the padding of one member."""


def write_tarball(folder: Path, target: Path) -> str:
    """Packs a bundle's folder; ``target`` is there whole or not at all. Returns the SHA-256 of the uncompressed tar.

    Raises:
        BundleError: ``target`` cannot be written, or the folder not be read.
    """
    with packing(target) as (tar, sink):
        for path in sorted(folder.iterdir(), key=lambda each: os.fsencode(each.name)):
            _add(tar, path)
    return sink.digest.hexdigest()


@contextlib.contextmanager
def packing(target: Path) -> Iterator[tuple[tarfile.TarFile, Hashed]]:
    """A ``.tar.gz`` to add members to. It is there, whole, when this ends; the other value then has its SHA-256.

    Raises:
        BundleError: ``target`` cannot be written, or a member not be read.
    """
    part = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        with part.open("wb") as file:
            with gzip.GzipFile(filename="", mode="wb", compresslevel=_LEVEL, fileobj=file, mtime=0) as packed:
                sink = Hashed(packed)
                with tarfile.open(fileobj=cast(IO[bytes], sink), mode="w|", format=tarfile.USTAR_FORMAT) as tar:
                    yield tar, sink
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, target)
    except (OSError, ValueError) as error:
        raise BundleError(
            f"{target} cannot be written: {getattr(error, 'strerror', None) or error}",
            remedy="check the disk's space, the folder and its permissions",
        ) from None
    finally:
        with contextlib.suppress(OSError):
            part.unlink()


def unpack_tarball(source: Path, folder: Path, max_bytes: int, *, takes_folders: bool = False) -> None:
    """Unpacks a bundle into an empty folder. Takes plain files with plain names only, at most ``max_bytes`` of them.

    What was unpacked still has to be checked against the bundle's SHA-256. With ``takes_folders``, it may be what other
    tools pack of such a folder: they name it, and write ``./`` before each name.

    Raises:
        BundleError: it is no such file, holds something else, or more.
    """
    try:
        with gzip.open(source) as unpacked:
            bounded = _Bounded(unpacked, max_bytes)
            with tarfile.open(fileobj=cast(IO[bytes], bounded), mode="r|") as tar:
                for number, member in enumerate(tar):
                    if number >= _MAX_FILES:
                        raise BundleError(f"{source.name} has over {_MAX_FILES} files", remedy="package it again")
                    if takes_folders:
                        member.name = member.name.removeprefix("./")
                        if member.isdir() and member.name in {"", "."}:
                            continue
                    _extract(tar, member, folder, source.name)
            while bounded.read(_COPY_BYTES):  # To the end, where the checksum is.
                pass
    except (tarfile.TarError, gzip.BadGzipFile, zlib.error, EOFError) as error:
        raise BundleError(
            f"{source.name} is no whole .tar.gz: {error}", remedy="fetch it, or package the bundle, again"
        ) from None
    except OSError as error:
        raise BundleError(
            f"{source.name} cannot be unpacked into {folder}: {error.strerror or error}",
            remedy="check the disk's space and permissions",
        ) from None


def inner_sha256(source: Path) -> str:
    """The SHA-256 of the uncompressed tar, which does not depend on zlib.

    Raises:
        BundleError: it is no whole file.
    """
    digest = hashlib.sha256()
    try:
        with gzip.open(source) as unpacked:
            while chunk := unpacked.read(_COPY_BYTES):
                digest.update(chunk)
    except (gzip.BadGzipFile, zlib.error, EOFError) as error:
        raise BundleError(f"{source.name} is no whole .tar.gz: {error}", remedy="package the bundle again") from None
    return digest.hexdigest()


def _add(tar: tarfile.TarFile, path: Path) -> None:
    if path.is_symlink() or not path.is_file():
        raise ValueError(f"{path.name} in the bundle is no plain file")
    info = tarfile.TarInfo(path.name)
    info.size, info.mode = path.stat().st_size, 0o644
    with path.open("rb") as content:
        tar.addfile(info, content)


def _extract(tar: tarfile.TarFile, member: tarfile.TarInfo, folder: Path, source: str) -> None:
    name = member.name
    if not member.isreg() or not name or "/" in name or "\\" in name or name in {".", ".."} or not name.isprintable():
        raise BundleError(
            f"{source} holds {name[:80]!r}, which is no plain file of a bundle", remedy="package the bundle again"
        )
    content = tar.extractfile(member)
    assert content is not None, "regular files have content"
    try:
        with (folder / name).open("xb") as file:
            while chunk := content.read(_COPY_BYTES):
                file.write(chunk)
    except FileExistsError:
        raise BundleError(f"{source} holds {name!r} twice", remedy="package the bundle again") from None
    (folder / name).chmod(0o400)


class Hashed:
    """Hashes what passes through it into a file: the tar before its compression."""

    def __init__(self, file: gzip.GzipFile) -> None:
        self._file = file
        self.digest = hashlib.sha256()

    def write(self, data: bytes) -> int:
        self.digest.update(data)
        return self._file.write(data)


class _Bounded:
    """Ends reading when more was unpacked than is allowed: a few kilobytes can hold terabytes."""

    def __init__(self, file: gzip.GzipFile, limit: int) -> None:
        self._file = file
        self._left = limit + _HEAD_BYTES * _MAX_FILES

    def read(self, size: int) -> bytes:
        data = self._file.read(size)
        self._left -= len(data)
        if self._left < 0:
            raise BundleError("the archive unpacks to more than is allowed", remedy="raise DIVISIONS_ARTIFACT_CACHE_MB")
        return data


def tarball_name(model: str, version: str) -> str:
    """The file's name: ``churn-predictor-v3.2.tar.gz``."""
    return f"{model}-v{version}.tar.gz"
