"""A gateway's number on its node, and its own address for metrics.

All gateways of a node share one port, so a scrape of that port reaches any one of them. It asks the others
(`router.gateway.neighbours`), so each gateway also has an address of its own. It takes the lowest number that is free,
by a lock on ``metrics/gateway-<number>.json`` in the home folder. The file names its address in Prometheus' format for
file-based service discovery. The lock ends with the process, however that ends; the next gateway takes the number over.
So the label ``gateway`` has as many values as a node has gateways, also after restarts.
"""

from __future__ import annotations

import fcntl
import logging
import os
from pathlib import Path

import msgspec

log = logging.getLogger(__name__)

FOLDER = "metrics"
MAX_GATEWAYS = 256


class Slot:
    """A number that one process holds until it ends.

    Attributes:
        number: from 0.
    """

    def __init__(self, number: int, descriptor: int | None) -> None:
        self.number = number
        self._descriptor = descriptor

    def advertise(self, address: str, scheme: str = "http") -> None:
        """Writes the address into the file; an empty one says that no process is there. A full disk ends nothing."""
        if self._descriptor is None:
            return
        group: dict[str, object] = {"targets": [address]}
        if scheme != "http":
            group["labels"] = {"__scheme__": scheme}
        data = msgspec.json.encode([group] if address else [])
        try:
            os.ftruncate(self._descriptor, 0)
            os.pwrite(self._descriptor, data + b"\n", 0)
        except OSError as error:
            log.warning("no scraper finds this gateway's metrics: %s", error)

    def release(self) -> None:
        """Empties the file and gives the number back."""
        self.advertise("")
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def claim(home: Path) -> Slot:
    """Takes the lowest free number. Without one, or without a file for it, the gateway serves as number 0."""
    folder = home / FOLDER
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        for number in range(MAX_GATEWAYS):
            descriptor = os.open(folder / f"gateway-{number}.json", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(descriptor)
                continue
            return Slot(number, descriptor)
    except OSError as error:
        log.warning("this gateway has no number of its own: %s", error)
    return Slot(0, None)


def address(host: str, port: int) -> str:
    """What a scraper on this machine connects to.

    >>> address("0.0.0.0", 9100), address("::1", 9100)
    ('127.0.0.1:9100', '[::1]:9100')
    """
    reachable = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}.get(host, host)
    return f"[{reachable}]:{port}" if ":" in reachable else f"{reachable}:{port}"
