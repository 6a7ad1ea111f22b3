"""Puts a file into the log's place: a folder or S3. It is whole there, or it is not there under its name."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from divisions.prediction_log import REQUEST_ID
from divisions.s3 import s3_filesystem
from divisions.settings import S3Settings
from router.prediction_log.spool import MIN_FREE_BYTES

PART = ".part"
"""The ending of a file that is being written; its name begins with a dot, so no reader of Parquet takes it."""


def put(table: Any, place: str, path: str, s3: S3Settings) -> None:
    """Writes rows as one Parquet file. A file of this name has the same rows, and is replaced.

    Args:
        place: an absolute path, or an ``s3://`` URI.
        path: below it.

    Raises:
        OSError: the place does not take it.
    """
    buffer = io.BytesIO()
    pq.write_table(table, buffer, compression="zstd", use_dictionary=repeating_texts(table.schema))
    if place.startswith("s3://"):
        _to_s3(buffer.getbuffer(), f"{place.removeprefix('s3://')}/{path}", s3)
    else:
        _to_folder(buffer.getbuffer(), Path(place, path))


def repeating_texts(schema: Any) -> list[str]:
    """The columns in which the same texts come again and again: all but the requests' ids.

    Only they are worth a dictionary. Numbers hardly repeat: looking for repetitions of theirs would take most of the
    time, and make the file larger.
    """
    found = [field.name for field in schema if pa.types.is_string(field.type) and field.name != REQUEST_ID]
    for struct in [field for field in schema if pa.types.is_struct(field.type)]:
        found += [f"{struct.name}.{field.name}" for field in struct.type if pa.types.is_string(field.type)]
    return found


def filesystem(place: str, s3: S3Settings) -> Any:
    """Where a place is; paths in it are without ``s3://``. Opens no connection."""
    from pyarrow.fs import LocalFileSystem

    return s3_filesystem(s3) if place.startswith("s3://") else LocalFileSystem()


def _to_s3(data: memoryview, key: str, s3: S3Settings) -> None:
    with s3_filesystem(s3).open_output_stream(key, compression=None) as sink:
        sink.write(data)


def _to_folder(data: memoryview, path: Path) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if shutil.disk_usage(path.parent).free < MIN_FREE_BYTES + len(data):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
    aside = path.parent / f".{path.name}{PART}"
    try:
        with open(aside, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(aside, path)
    except OSError:
        with contextlib.suppress(OSError):
            aside.unlink()
        raise
