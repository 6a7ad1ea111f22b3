"""Where raw events are stored: a local path or an S3 prefix. Checks the allow-list and bounds the waiting time.

``s3://bucket/key``, ``file:///folder`` and plain paths are accepted; everything else is forbidden. An input's URI may
come from another person's pipeline file, and must not make the trainer send requests into the internal network.
"""

from __future__ import annotations

import difflib
import os
import re
import shutil
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Final, NoReturn, TypeVar
from urllib.parse import unquote, urlsplit

from divisions.errors import (
    EmptyInputError,
    ForbiddenInputError,
    InputError,
    RefusedInputError,
    UnreachableInputError,
)
from divisions.s3 import s3_filesystem
from trainers.data.local_files import Listing, is_hidden, names_in, refuse_special, walk

if TYPE_CHECKING:
    from pyarrow.fs import FileSystem

    from divisions.settings import S3Settings

T = TypeVar("T")

# S3 emulators accept any signature, but deny anonymous reads of private objects. A real server denies this key, too.
PLACEHOLDER_KEY = "divisions"
_COPY_BYTES = 8 << 20

ALIKE: Final = 0.6
"""Names less similar than this are no slip of the hand."""

_TABLES = {
    r"_delta_log(/|$)": "a Delta Lake table",
    r"\.hoodie(/|$)": "a Hudi table",
    r"metadata/[^/]*\.metadata\.json$": "an Iceberg table",
}
_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")  # S3's own naming rules
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):")


@dataclass(frozen=True, slots=True)
class Location:
    """A path in a file system. ``bucket`` is empty for local paths.

    ``signed`` is a second file system with a signature, used if ``filesystem`` reads anonymously and is refused.
    """

    uri: str
    filesystem: FileSystem
    path: str
    bucket: str = ""
    signed: FileSystem | None = None

    @property
    def partition(self) -> str:
        """The value of a last ``partition=...`` in the path, or empty."""
        values = [part.partition("=")[2] for part in PurePosixPath(self.path).parts if part.startswith("partition=")]
        return values[-1] if values else ""


def locate(uri: str, *, s3: S3Settings, allow_buckets: tuple[str, ...]) -> Location:
    """Turns a URI into a `Location`. Opens no connection.

    Raises:
        ForbiddenInputError: the scheme or the bucket is not allowed, or the URI contains credentials.
    """
    scheme = _SCHEME.match(uri)
    match scheme.group(1).lower() if scheme else "":
        case "s3":
            return _locate_s3(uri, s3, allow_buckets)
        case "" | "file":
            return _locate_local(uri)
        case other:
            raise ForbiddenInputError(
                f"input {_without_credentials(uri)} has the scheme {other!r}, which is not allowed",
                remedy="use s3://bucket/prefix or a local path",
            )


def _locate_s3(uri: str, s3: S3Settings, allow_buckets: tuple[str, ...]) -> Location:
    bucket, _, key = uri[len("s3://") :].partition("/") if uri[:5].lower() == "s3://" else ("", "", "")
    if "@" in bucket:
        raise ForbiddenInputError(
            f"input {_without_credentials(uri)} holds credentials",
            remedy="set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY in the environment instead",
        )
    if not _BUCKET.fullmatch(bucket):
        raise ForbiddenInputError(f"input {uri} does not name an S3 bucket", remedy="write s3://bucket/prefix")
    if allow_buckets and bucket not in allow_buckets:
        raise ForbiddenInputError(
            f"bucket {bucket!r} of input {uri} is not on the allow-list ({', '.join(allow_buckets)})",
            remedy="add it to DIVISIONS_ALLOW_BUCKETS, or read from an allowed bucket",
        )
    signed = None
    if s3.endpoint_url and not (s3.access_key and s3.secret_key):
        signed = s3_filesystem(replace(s3, access_key=PLACEHOLDER_KEY, secret_key=PLACEHOLDER_KEY, session_token=None))
    return Location(uri, s3_filesystem(s3), f"{bucket}/{key}".rstrip("/"), bucket, signed)


def _locate_local(uri: str) -> Location:
    from pyarrow.fs import LocalFileSystem

    if uri[:5].lower() == "file:":
        parts = urlsplit(uri)
        if parts.netloc not in {"", "localhost"}:
            raise ForbiddenInputError(
                f"input {uri} lies on another host, {parts.netloc!r}", remedy="write file:///absolute/path"
            )
        path = unquote(parts.path)
    else:
        path = uri
    path = os.path.expanduser(path)
    if path.startswith("~") and not Path(path).exists():
        raise UnreachableInputError(
            f"input {uri[:200]!r} names a user that does not exist", remedy="write the folder's path"
        )
    try:
        local = Path(path).absolute()
    except FileNotFoundError:
        raise UnreachableInputError(
            f"input {uri} is relative to a working folder that was removed", remedy="write the path in full"
        ) from None
    return Location(uri=uri, filesystem=LocalFileSystem(), path=str(local))


def signed_if_refused(location: Location, attempt: Callable[[Location], T]) -> T:
    """What ``attempt`` returns; where it is refused without a signature, it is tried once more with one.

    Raises:
        RefusedInputError: the location refuses us.
    """
    try:
        return attempt(location)
    except RefusedInputError:
        if location.signed is None:
            raise
        return attempt(replace(location, filesystem=location.signed))


def list_files(location: Location) -> Listing:
    """The visible files at or below a location, sorted by path.

    Files and folders whose names begin with ``_`` or ``.`` (``_SUCCESS``, drafts) are not data.

    Raises:
        EmptyInputError: there are no files. The message lists existing partitions with similar names.
        InputError: the location is no plain folder of files, such as a pipe, or a table with a log of its own.
        UnreachableInputError: the location does not answer, or refuses us.
    """
    from pyarrow.fs import FileType

    if not location.bucket:
        refuse_special(location.path)
    try:
        info = location.filesystem.get_file_info(location.path)
        if info.type == FileType.File:
            return Listing([info.path])
        if info.type == FileType.NotFound:
            listing = Listing()
        elif location.bucket:
            listing, names = _list_bucket(location)
            _refuse_tables(location.uri, names)
        else:
            folders = ("", "metadata")
            names = [str(PurePosixPath(f, name)) for f in folders for name in names_in(f"{location.path}/{f}")]
            _refuse_tables(location.uri, names)
            listing = walk(location.path)
    except (OSError, ValueError) as error:
        raise_unreachable(location, error)
    if not listing.files:
        raise _empty(location, listing.notes, is_there=info.type != FileType.NotFound)
    return listing


def _list_bucket(location: Location) -> tuple[Listing, list[str]]:
    """The visible objects, and the names of all of them below the location."""
    from pyarrow.fs import FileSelector, FileType

    found = location.filesystem.get_file_info(FileSelector(location.path, recursive=True))
    depth = len(PurePosixPath(location.path).parts)
    names = {item.path: PurePosixPath(item.path).parts[depth:] for item in found if item.type == FileType.File}
    visible = sorted(path for path, parts in names.items() if not any(map(is_hidden, parts)))
    return Listing(visible), ["/".join(parts) for parts in names.values()]


def _refuse_tables(uri: str, names: Iterable[str]) -> None:
    """Their Parquet files hold deleted and replaced rows, too; only their log says which of them count."""
    for name in names:
        for form, kind in _TABLES.items():
            if re.match(form, name):
                raise InputError(
                    f"input {uri} is {kind} ({name}): its files hold deleted and replaced rows, too",
                    remedy="export the table's current rows to plain Parquet, and read that",
                )


def _empty(location: Location, notes: Sequence[str], *, is_there: bool) -> EmptyInputError | UnreachableInputError:
    """The error for a location without files. Lists similar names of the parent folder, of partitions the nearest."""
    from pyarrow.fs import FileSelector, FileType

    parent, name = str(PurePosixPath(location.path).parent), PurePosixPath(location.path).name
    try:
        around = location.filesystem.get_file_info(FileSelector(parent)) if parent != "." else []
    except FileNotFoundError:
        return UnreachableInputError(
            f"input {location.uri} does not exist, nor does {parent}", remedy="check the path, or pass --input"
        )
    except OSError as error:
        raise_unreachable(location, error)
    is_partition = name.startswith("partition=")
    kinds = {FileType.Directory} if is_partition else {FileType.Directory, FileType.File}
    names = [PurePosixPath(item.path).name for item in around if item.type in kinds]
    near = nearest_names(name, names, least=0.0 if is_partition else ALIKE)
    remedy = f"existing nearby: {', '.join(near)}" if near else "check the path, or that the upload has finished"
    what = f"partition {location.partition}" if is_partition else f"input {name!r}"
    fault = "holds no files" if is_there or is_partition or location.bucket else "does not exist"
    left_out = f" ({'; '.join(notes[:3])})" if notes else ""
    return EmptyInputError(f"{what} {fault}: {location.uri}{left_out}", remedy=remedy)


def nearest_names(name: str, candidates: list[str], count: int = 3, least: float = 0.0) -> list[str]:
    """Up to ``count`` candidates most similar to ``name``, best first. Of two equally similar, the later in the
    alphabet comes first. ``least`` is the similarity that they must have, from 0 to 1 (`difflib`'s ratio).

    >>> nearest_names("event.csv", ["docs", "events.csv", "trainers"], least=0.6)
    ['events.csv']
    """
    others = sorted({item for item in candidates if item != name and not item.startswith(("_", "."))}, reverse=True)
    alike = {item: difflib.SequenceMatcher(a=name, b=item).ratio() for item in others}
    return sorted((item for item in others if alike[item] >= least), key=lambda item: -alike[item])[:count]


def raise_unreachable(location: Location, error: Exception) -> NoReturn:
    """Raises an error that says why a location does not answer. The SDK's own message is long and repeats itself."""
    text = str(error)
    if "NO_SUCH_BUCKET" in text or "NoSuchBucket" in text:
        raise UnreachableInputError(
            f"bucket {location.bucket!r} of input {location.uri} does not exist",
            remedy="check the bucket's name and AWS_ENDPOINT_URL_S3",
        ) from None
    # The error of a file names it; the path of an object begins with its bucket.
    named = re.search(r"'([^']+)'", text)
    file = f"{named[1]} of input {location.uri}" if named and named[1] != location.path else f"input {location.uri}"
    if isinstance(error, PermissionError) or "ACCESS_DENIED" in text or "HTTP response code 403" in text:
        raise RefusedInputError(
            f"{file} refuses us: access denied",
            remedy="check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (if both are missing, an S3"
            " endpoint of your own is read without a login, then with a placeholder key) and the bucket's policy"
            if location.bucket
            else "check the permissions of the files",
        ) from None
    if isinstance(error, FileNotFoundError):
        raise UnreachableInputError(
            f"{file} vanished while it was read", remedy="wait until the job that writes the input has finished"
        ) from None
    remedy = (
        "check that the S3 endpoint (AWS_ENDPOINT_URL_S3) is up and reachable from here"
        if location.bucket
        else "check the path and its permissions"
    )
    raise UnreachableInputError(
        f"input {location.uri} does not answer: {' '.join(text.partition('; Details:')[0].split())[:200]}",
        remedy=remedy,
    ) from None


def _without_credentials(uri: str) -> str:
    return re.sub(r"//[^/@]*@", "//***@", uri)


def copy_object(location: Location, path: str, target: Path) -> None:
    """Copies an object of S3 to this disk, so that each one is fetched once, however often it is read.

    Raises:
        InputError: the disk has no room for it.
        OSError: it cannot be read or written.
    """
    size = location.filesystem.get_file_info(path).size
    free = shutil.disk_usage(target.parent).free
    if size > free:
        raise InputError(
            f"{path} has {size:,} bytes, and the disk for temporary files has room for {free:,}",
            remedy="set TMPDIR to a larger disk",
        )
    with location.filesystem.open_input_stream(path, compression=None) as source, target.open("wb") as sink:
        shutil.copyfileobj(source, sink, _COPY_BYTES)
