"""The log's writer: collects rows by version, spools them, and gives finished spool files to the shipper.

::

    frame -> pending rows -> spool file (a second later, or at `FLUSH_ROWS`) -> Parquet in the log's place (`shipper`)

It reads no clock and no socket: `router.prediction_log.process` calls it with the time.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from divisions.prediction_log import FOLDER, PLACES, place_line, place_of
from router.prediction_log import spool
from router.prediction_log.batches import BatchMaker
from router.prediction_log.frames import Counts, Keep, KeepRule, Opened, Rows, ToWriter, VersionCount
from router.prediction_log.shipper import Shipper
from router.prediction_log.spool import SpoolFile

log = logging.getLogger(__name__)

FLUSH_S = 1.0
FLUSH_ROWS = 8_192
FLUSH_BYTES = 8 << 20
ROLL_BYTES = 32 << 20
MAX_WAITING_BYTES = 1 << 30
"""What may wait on this machine for a place that takes nothing. Rows beyond it are lost, and counted."""
ADOPT_S = 60.0


class _Version:
    """The open file of one version, and its rows that are not in it yet."""

    def __init__(self, opened: Opened, key: bytes) -> None:
        self.opened = opened
        self.maker = BatchMaker(opened, key)
        self.pending: list[Rows] = []
        self.pending_rows = 0
        self.pending_bytes = 0
        self.file: SpoolFile | None = None
        self.roll_at_s = 0.0
        self.date = ""
        self.kept = 0
        self.lost: dict[str, int] = {}


class LogWriter:
    """See the module.

    Args:
        home: the home folder; spool files are in it, also those for other places.
        gateway_id: names the files; unique for each process.
        key: of the hashes.
        shipper: takes finished files; started by the caller.
        write: writes to a file.
        max_waiting_bytes: see `MAX_WAITING_BYTES`.
        keep: told how long files are kept.
    """

    def __init__(
        self,
        home: Path,
        gateway_id: str,
        key: bytes,
        shipper: Shipper,
        write: spool.Write = os.write,
        max_waiting_bytes: int = MAX_WAITING_BYTES,
        keep: Callable[[tuple[KeepRule, ...]], None] = lambda rules: None,
    ) -> None:
        self._home = home
        self._folder = home / FOLDER / spool.FOLDER
        self._gateway_id = gateway_id
        self._key = key
        self._shipper = shipper
        self._write = write
        self._max_waiting_bytes = max_waiting_bytes
        self._keep = keep
        self._versions: dict[str, _Version] = {}
        self._num_files = 0
        self._flushed_s = 0.0
        self._adopted_s = -ADOPT_S
        self._told = ""
        self.has_news = False
        """Whether counts have changed since somebody set this to false."""

    def take(self, message: ToWriter, now_s: float, wall_s: float) -> None:
        """Takes a message of the gateway."""
        match message:
            case Opened():
                known = self._versions.get(message.app_name)
                if known is None:
                    self._versions[message.app_name] = _Version(message, self._key)
                elif known.opened != message:
                    self._flush(known, now_s, wall_s)
                    self._roll(known)
                    known.opened, known.maker = message, BatchMaker(message, self._key)
            case Keep():
                self._keep(message.rules)
            case Rows():
                version = self._versions[message.app_name]
                version.pending.append(message)
                version.pending_rows += len(message.ids)
                version.pending_bytes += len(message.encoded)
                if version.pending_rows >= FLUSH_ROWS or version.pending_bytes >= FLUSH_BYTES:
                    self._flush(version, now_s, wall_s)

    def turn(self, now_s: float, wall_s: float) -> None:
        """Spools, closes files whose time has come, and takes over those of writers that have ended."""
        if now_s - self._flushed_s >= FLUSH_S:
            self._flushed_s = now_s
            for version in self._versions.values():
                self._flush(version, now_s, wall_s)
                if version.file is not None and (now_s >= version.roll_at_s or version.date != _date(wall_s)):
                    self._roll(version)
        if now_s - self._adopted_s >= ADOPT_S:
            self._adopted_s = now_s
            self.adopt()

    def adopt(self) -> None:
        """Takes over the spool files of writers that have ended."""
        for file in spool.adopt(self._folder):
            log.info("%s was left by a gateway that has ended; its rows go to their place", file.path.name)
            self._shipper.ship(file)

    def close(self, now_s: float, wall_s: float) -> None:
        """Spools what is pending, and closes all files."""
        for version in self._versions.values():
            self._flush(version, now_s, wall_s)
            self._roll(version)

    def counts(self) -> Counts:
        versions = [VersionCount(each.opened.app_name, each.kept, dict(each.lost)) for each in self._versions.values()]
        return Counts(versions, self._shipper.files, self._waiting_bytes(), self._shipper.fault)

    def _waiting_bytes(self) -> int:
        is_open = [version.file.size for version in self._versions.values() if version.file is not None]
        return self._shipper.waiting_bytes + sum(is_open)

    def _flush(self, version: _Version, now_s: float, wall_s: float) -> None:
        pending, rows = version.pending, version.pending_rows
        if not pending:
            return
        version.pending, version.pending_rows, version.pending_bytes = [], 0, 0
        self.has_news = True
        if self._shipper.fault and self._waiting_bytes() >= self._max_waiting_bytes:
            self._lose(version, rows, "place", self._shipper.fault)
            return
        try:
            self._spool(version, pending, rows, now_s, wall_s)
        except OSError as error:
            self._lose(version, rows, "disk", error.strerror or str(error))
            self._roll(version)
            return
        except (
            ValueError,
            IndexError,
        ) as error:  # Arrow's errors are ValueErrors; one version's rows must not end the log of all.
            self._lose(version, rows, "rows", str(error))
            return
        version.kept += rows
        self._told = ""
        if version.file is not None and version.file.size >= ROLL_BYTES:
            self._roll(version)

    def _spool(self, version: _Version, pending: Sequence[Rows], rows: int, now_s: float, wall_s: float) -> None:
        batch = version.maker.batch(pending)
        if version.file is None:
            version.file = self._create(version, wall_s)
            version.roll_at_s = now_s + version.opened.policy.roll_s
        version.file.append(bytes(batch.serialize()), rows, self._write)

    def _create(self, version: _Version, wall_s: float) -> SpoolFile:
        self._num_files += 1
        name = f"{self._gateway_id}-{self._num_files}"
        version.date = _date(wall_s)
        time_of_day = time.strftime("%H%M%S", time.gmtime(wall_s))
        path = f"{version.opened.endpoint}/date={version.date}/{time_of_day}-{name}.parquet"
        place = place_of(version.opened.policy, self._home)
        file = spool.create(self._folder, name, version.maker.schema, f"{place}\n{path}")
        try:
            note_place(self._home, version.opened.endpoint, place)
        except OSError:
            file.remove()
            raise
        return file

    def _roll(self, version: _Version) -> None:
        file, version.file = version.file, None
        if file is None:
            return
        if file.rows:
            self._shipper.ship(file)
        else:
            file.remove()

    def _lose(self, version: _Version, rows: int, reason: str, why: str) -> None:
        version.lost[reason] = version.lost.get(reason, 0) + rows
        if why != self._told:
            self._told = why
            log.error("rows of the prediction log are lost, requests go on: %s", why)


def note_place(home: Path, endpoint: str, place: str) -> None:
    """Remembers where an endpoint's log is, for who has to find a customer in it.

    Raises:
        OSError: the disk is full, or fails.
    """
    path, line = home / FOLDER / PLACES, place_line(endpoint, place)
    if not path.is_file() or line not in path.read_text().splitlines(keepends=True):
        with open(path, "a") as file:  # Two writers at once note it twice, which is no harm.
            file.write(line)


def _date(wall_s: float) -> str:
    return time.strftime("%Y-%m-%d", time.gmtime(wall_s))
