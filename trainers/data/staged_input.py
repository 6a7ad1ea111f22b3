"""Opens an input: finds its files, stages them in an engine, and turns every failure into an error that names it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, TypeVar

from divisions.errors import EmptyInputError, InputError
from divisions.pipeline.definition import DataFormat
from trainers.data.csv_ranges import ByteRange
from trainers.data.engine import Limits, open_engine
from trainers.data.file_formats import format_of
from trainers.data.full_disks import full_disk_error
from trainers.data.locations import Location, list_files, locate, raise_unreachable, signed_if_refused
from trainers.data.raw_columns import MISSING_WORDS
from trainers.data.staging import Staging

if TYPE_CHECKING:
    from divisions.settings import S3Settings

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Files:
    """The files of an input, and the places in ``paths`` of those to read; None means all. Rows keep their ids.

    With ``lines``, that is one CSV file, of which only these are read. Their ids count from the first of them.
    """

    paths: tuple[str, ...]
    only: frozenset[int] | None = None
    lines: ByteRange | None = None


def read_staged(
    uri: str,
    *,
    s3: S3Settings,
    allow_buckets: tuple[str, ...],
    form: DataFormat,
    limits: Limits,
    use: Callable[[Staging], T],
    texts: frozenset[str] | None = None,
    files: Files | None = None,
) -> T:
    """Stages the files of an input, and returns what ``use`` makes of them. The engine ends with it.

    Columns of CSV are text. With ``texts``, those that hold numbers alone are numbers, except for these columns. With
    ``files``, only those are read, not all that are there.

    Raises:
        InputError: see `trainers.data.ingest.read_events`.
    """
    return signed_if_refused(
        locate(uri, s3=s3, allow_buckets=allow_buckets),
        lambda location: _read(location, form, limits, use, texts, files),
    )


def _read(
    location: Location,
    form: DataFormat,
    limits: Limits,
    use: Callable[[Staging], T],
    texts: frozenset[str] | None,
    files: Files | None,
) -> T:
    import duckdb

    paths, notes = data_files(location) if files is None else (list(files.paths), [])
    with open_engine(limits) as engine:
        staging = Staging(engine, location, form.null or MISSING_WORDS, texts, notes=notes)
        try:
            only, lines = (files.only, files.lines) if files is not None else (None, None)
            staging.read(paths, form.delimiter, form.encoding, only, lines)
            engine.make_room(max((len(group.columns) for group in staging.groups), default=0))
            return use(staging)
        except OSError as error:
            full = full_disk_error(f"reading {location.uri}", error, engine.folder)
            if full is not None:
                raise full from None
            raise_unreachable(location, error)
        except duckdb.Error as error:
            full = full_disk_error(f"reading {location.uri}", error, engine.folder)
            if full is not None:
                raise full from None
            staging.raise_culprit(error)
            if isinstance(error, duckdb.OutOfMemoryException | duckdb.IOException):
                raise InputError(
                    f"reading {location.uri} failed: {str(error).splitlines()[0][:200]}",
                    remedy="give data_prep.resources more memory, or TMPDIR a larger disk",
                ) from None
            raise


def data_files(location: Location) -> tuple[list[str], list[str]]:
    """The files to read, and notes on what is left out."""
    listing = list_files(location)
    known = [path for path in listing.files if format_of(path) is not None]
    if not known:
        names = ", ".join(PurePosixPath(path).name for path in listing.files[:3])
        raise EmptyInputError(
            f"input {location.uri} holds no Parquet, CSV or JSON lines files, only {names}",
            remedy="use the extensions .parquet, .csv or .jsonl",
        )
    skipped = sorted(set(listing.files) - set(known))
    notes = [f"skipped {len(skipped)} files of other formats: {', '.join(skipped[:5])}"] if skipped else []
    return known, [*listing.notes, *notes]
