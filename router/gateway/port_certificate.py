"""The certificate that a gateway's port serves, and how it follows its files.

Both files are read again every `LOOK_S`, and compared by content: tools replace them in place, by renaming, or as
Kubernetes does by another link. A new pair that cannot be used changes nothing; the log says what is wrong with it,
once, and when that is mended. The two files change one after the other, so the first failed look is not told.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from divisions.certificates.pinned import SERVED, with_served
from divisions.certificates.port_pair import PortPair, examine, read_pair
from divisions.deployment import write_private
from divisions.errors import SettingsError

log = logging.getLogger(__name__)

LOOK_S = 1.0


@dataclass(frozen=True, slots=True)
class PortHealth:
    """When the certificate in force expires, since 1970, and whether a new one lies there that cannot be used."""

    end_s: float
    is_refusing: bool


class PortCertificate:
    """See the module.

    Args:
        paths: of certificate and key.
        home: where the certificate in force is noted.
        wall_s: the time since 1970.

    Raises:
        SettingsError: the pair cannot be used. One that has expired is served with an error in the log: it is better
            than no port, and will be renewed.
    """

    def __init__(self, paths: tuple[str, str], home: Path, wall_s: Callable[[], float]) -> None:
        self._paths = paths
        self._home = home
        self._wall_s = wall_s
        self._wrong = ""
        """What was wrong at the last look."""
        self._is_told = False
        self._current = examine(read_pair(*paths))
        try:
            self._current.check_dates(wall_s())
        except SettingsError as error:
            log.error("%s", error)
        self._note(self._current.pair)

    def context(self) -> ssl.SSLContext:
        """For a connection that begins now."""
        return self._current.context

    @property
    def names(self) -> tuple[str, ...]:
        """Hosts that the certificate in force is for."""
        return self._current.names

    def health(self) -> PortHealth:
        """For metrics."""
        return PortHealth(self._current.end_s, self._is_told)

    async def follow(self) -> None:
        """Looks again and again, in another thread: the files may be on a file system that hangs."""
        while True:
            await asyncio.sleep(LOOK_S)
            try:
                await asyncio.to_thread(self.look)
            except Exception:  # The edge of a loop: the next look may succeed.
                log.exception("the certificate could not be looked at")

    def look(self) -> None:
        """Takes a new pair into force if there is one that can be used."""
        try:
            pair = read_pair(*self._paths)
            if pair.stamp != self._current.pair.stamp:
                found = examine(pair)
                found.check_dates(self._wall_s())
                self._note(pair)  # first, or a command could meet a certificate that it does not know
                self._current = found
                log.info("a new certificate is in force, from %s", pair.certificate_path)
            elif self._is_told:
                log.info("the files have the certificate in force again, and can be used")
        except SettingsError as error:
            self._refuse(str(error))
        else:
            self._wrong, self._is_told = "", False

    def _refuse(self, why: str) -> None:
        if why != self._wrong:
            self._wrong, self._is_told = why, False
        elif not self._is_told:
            self._is_told = True
            log.error("the certificate in force stays, because the new one cannot be used: %s", why)

    def _note(self, pair: PortPair) -> None:
        try:
            path = self._home / SERVED
            known = path.read_bytes() if path.is_file() else b""
            write_private(path, with_served(known, pair.leaf))
        except OSError as error:
            log.error("commands of this home may not know their gateway: its certificate cannot be noted: %s", error)
