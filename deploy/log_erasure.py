"""Takes a customer out of an endpoint's prediction log and outcomes, for `divisions features delete`.

A file that has the customer is written anew without its rows, under the same name: aside and renamed in a folder, as
one object in S3. So a reader never meets half of one. What cannot be changed is named.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from divisions.errors import DivisionsError
from divisions.names import is_name
from divisions.prediction_log import FOLDER, PLACES, hash_key, is_log_date, is_log_file, places_in, pseudonym
from divisions.settings import S3Settings, Settings
from router.prediction_log import places, spool
from trainers.outcomes.store import OutcomeStore


@dataclass(slots=True)
class Erased:
    """What became of a customer's rows.

    Attributes:
        rows: that were removed from files.
        files: that were written anew, or removed because no row was left.
        outcomes: that were removed.
        nameless: rows that name no customer, because the log leaves them out or the request named none.
        waiting: rows of the customer that are still on their way to the log.
        failed: files or places that could not be looked at, each with the reason.
    """

    rows: int = 0
    files: int = 0
    outcomes: int = 0
    nameless: int = 0
    waiting: int = 0
    failed: list[str] = field(default_factory=list)


def known_places(home: Path, endpoint: str) -> tuple[str, ...]:
    """Where gateways of this home have logged an endpoint to."""
    if not is_name(endpoint):
        return ()
    folder = home / FOLDER
    notes = folder / PLACES
    noted = places_in(notes.read_text(), endpoint) if notes.is_file() else ()
    own = (str(folder),) if (folder / endpoint).is_dir() else ()
    return tuple(dict.fromkeys((*own, *noted)))


def erase(settings: Settings, endpoint: str, entity_id: str) -> Erased:
    """Removes a customer from all files of the endpoint's log that this home knows, and from its outcomes."""
    found, wanted = Erased(), _texts(settings.home, entity_id)
    requests: set[str] = set()
    for place in known_places(settings.home, endpoint):
        try:
            for filesystem, path in _files(place, endpoint, settings.s3):
                requests |= _erase_from(filesystem, path, place, endpoint, wanted, settings.s3, found)
        except (OSError, DivisionsError) as error:
            found.failed.append(f"{place}: {error}")
    found.waiting = _num_waiting(settings.home, endpoint, wanted)
    try:
        store = OutcomeStore(settings.home, endpoint)
        found.outcomes = store.remove("entity", wanted) + store.remove("request", sorted(requests))
    except DivisionsError as error:
        found.failed.append(str(error))
    return found


def _texts(home: Path, entity_id: str) -> tuple[str, ...]:
    """How the log may name the customer: in clear, or hashed."""
    try:
        key = hash_key((home / "channel_token").read_bytes().strip())
    except FileNotFoundError:  # Never started, so nothing is hashed.
        return (entity_id,)
    return entity_id, pseudonym(key, entity_id)


def _files(place: str, endpoint: str, s3: S3Settings) -> Iterator[tuple[Any, str]]:
    from pyarrow.fs import FileSelector

    filesystem = places.filesystem(place, s3)
    root = f"{place.removeprefix('s3://')}/{endpoint}"
    dates = filesystem.get_file_info(FileSelector(root, allow_not_found=True))
    for date in sorted(each.path for each in dates if not each.is_file and is_log_date(each.base_name)):
        for each in sorted(filesystem.get_file_info(FileSelector(date)), key=lambda info: str(info.path)):
            if each.is_file and is_log_file(each.base_name):
                yield filesystem, each.path


def _erase_from(
    filesystem: Any, path: str, place: str, endpoint: str, wanted: tuple[str, ...], s3: S3Settings, found: Erased
) -> set[str]:
    """Takes the customer out of one file; returns the ids of the requests that were in it."""
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    try:
        # As a file of its own: a path with `date=` in it would give the rows one more column.
        with filesystem.open_input_file(path) as source:
            file = pq.ParquetFile(source)
            entities = file.read(columns=["entity"]).column("entity")
            found.nameless += entities.null_count
            is_wanted = pc.is_in(entities, pa.array(wanted, pa.string()))
            count = pc.sum(is_wanted).as_py() or 0
            if not count:
                return set()
            table = file.read()
        gone = table.filter(is_wanted).column("request_id").to_pylist()
        rest = table.filter(pc.invert(is_wanted))
        if rest.num_rows:
            places.put(rest, place, path[len(place.removeprefix("s3://")) + 1 :], s3)
        else:
            filesystem.delete_file(path)
    except FileNotFoundError:  # removed by its age meanwhile
        return set()
    except (OSError, pa.ArrowException, KeyError) as error:
        found.failed.append(f"{path}: {error}")
        return set()
    found.rows += count
    found.files += 1
    return {text for text in gone if text is not None}


def _num_waiting(home: Path, endpoint: str, wanted: tuple[str, ...]) -> int:
    waiting = 0
    for path in (home / FOLDER / spool.FOLDER).glob(f"*{spool.SUFFIX}"):
        try:
            table, target = spool.read(path)
        except OSError:  # It was brought to its place meanwhile.
            continue
        if table is not None and target.partition("\n")[2].startswith(f"{endpoint}/"):
            waiting += sum(text in wanted for text in table.column("entity").to_pylist())
    return waiting
