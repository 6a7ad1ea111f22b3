"""Removes files of the log that are older than the pipeline file keeps them, in a thread of the writer's process.

Only files that bear the name of one of the log, in a folder of a date, are removed. Every gateway of a place does so;
a file that another one has removed is no error.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from divisions.control import RoutingTable
from divisions.errors import DivisionsError
from divisions.prediction_log import LogPolicy, is_log_file, old_dates, place_of
from divisions.settings import S3Settings
from router.prediction_log import places
from router.prediction_log.frames import KeepRule

log = logging.getLogger(__name__)

PAUSE_S = 3_600.0


def rules_of(table: RoutingTable) -> tuple[KeepRule, ...]:
    """How long files are kept by endpoint and place: as long as the version that keeps them longest wants it.

    The file of one version does not say so in its name, and a canary must not remove what stable keeps.
    """
    longest: dict[tuple[str, str], float] = {}
    for route in table.endpoints:
        for share in route.versions:
            policy = share.version.log
            if policy is not None:
                key = (route.endpoint, policy.to)
                longest[key] = max(longest.get(key, 0.0), policy.keep_s or float("inf"))
    return tuple(KeepRule(*key, keep_s) for key, keep_s in sorted(longest.items()) if keep_s != float("inf"))


def remove_old(place: str, endpoint: str, keep_s: float, wall_s: float, s3: S3Settings) -> int:
    """Removes the files of an endpoint that are older than ``keep_s``; returns how many.

    Raises:
        OSError: the place cannot be listed or changed.
    """
    from pyarrow.fs import FileSelector

    is_remote = place.startswith("s3://")
    filesystem = places.filesystem(place, s3)
    root = f"{place.removeprefix('s3://')}/{endpoint}"
    names = [each.base_name for each in _listed(filesystem, FileSelector(root, allow_not_found=True))]
    removed = 0
    for date in old_dates(names, keep_s, wall_s):
        folder = f"{root}/{date}"
        found = _listed(filesystem, FileSelector(folder, allow_not_found=True))
        ours = [each.path for each in found if each.is_file and is_log_file(each.base_name)]
        for path in ours:
            with contextlib.suppress(FileNotFoundError):
                filesystem.delete_file(path)
                removed += 1
        if is_remote and len(ours) == len(found):
            filesystem.delete_dir(folder)  # what stands for a folder there, an empty object
        elif not is_remote:
            with contextlib.suppress(OSError):  # another file is in it
                Path(folder).rmdir()
    return removed


def _listed(filesystem: Any, selector: Any) -> list[Any]:
    found: list[Any] = filesystem.get_file_info(selector)
    return found


class Keeper:
    """The thread. It looks at once when its rules change, and then once an hour.

    Args:
        home: the home folder.
        remove: removes a place's files of an endpoint, see `remove_old`.
        wall_s: the time, in seconds since the Unix epoch.
    """

    def __init__(
        self, home: Path, remove: Callable[[str, str, float, float], int], wall_s: Callable[[], float]
    ) -> None:
        self._home = home
        self._remove = remove
        self._wall_s = wall_s
        self._rules: tuple[KeepRule, ...] = ()
        self._has_changed = threading.Event()

    def start(self) -> None:
        threading.Thread(target=self._run, name="keeper", daemon=True).start()

    def follow(self, rules: Iterable[KeepRule]) -> None:
        self._rules = tuple(rules)
        self._has_changed.set()

    def turn(self) -> None:
        """Looks at every place once."""
        for rule in self._rules:
            place = place_of(LogPolicy(to=rule.to), self._home)
            try:
                removed = self._remove(place, rule.endpoint, rule.keep_s, self._wall_s())
            except (
                OSError,
                DivisionsError,
                ValueError,
            ) as error:  # A place that is away today is looked at in an hour.
                log.warning("old files of %s's prediction log stay in %s: %s", rule.endpoint, place, error)
                continue
            if removed:
                days = rule.keep_s / 86_400
                log.info("removed %d files of %s's prediction log, older than %g days", removed, rule.endpoint, days)

    def _run(self) -> None:
        while True:
            self._has_changed.wait(PAUSE_S)
            self._has_changed.clear()
            self.turn()
