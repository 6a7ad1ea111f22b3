"""The gateway's copy of the house (`divisions.house`): it asks the controller for what it lacks, once a second at most.

All who look get the same bytes from memory. Sections have stamps, so that a stream is sent only what is new to it, and
a document as a whole has an ``ETag``. Stamps are made of the content: all gateways have the same.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Mapping
from typing import Final, Protocol

import msgspec

from divisions.house import SECTIONS
from router.gateway.scrape import Scrape

STATUS: Final = "status"
"""What may be shown beside the sections: the events `status` of the stream."""
ALL: Final = frozenset({*SECTIONS, STATUS})

Sections = dict[str, tuple[str, bytes]]


class HouseLink(Protocol):
    """Part of `router.predict.controller_link.ControllerLink`."""

    async def house(self, known: Mapping[str, str]) -> bytes:
        """The sections that are not as these stamps say, by name."""
        ...


class HouseCopy:
    """See the module.

    Args:
        link: to the controller.
        now_s: monotonic clock.
    """

    def __init__(self, link: HouseLink, now_s: Callable[[], float]) -> None:
        self._link = link
        self._sections: Sections = {}
        self._renewal = Scrape(self._renew, now_s)

    async def refresh(self) -> None:
        """Brings the copy up to date, unless that was done within the last second.

        Raises:
            DivisionsError: the controller does not answer; the copy is as it was.
        """
        await self._renewal.read()

    async def _renew(self) -> bytes:
        known = {name: stamp for name, (stamp, _) in self._sections.items()}
        found = msgspec.msgpack.decode(await self._link.house(known), type=Sections)
        self._sections |= {name: found[name] for name in found.keys() & ALL}
        return b""

    def etag(self, names: Collection[str]) -> str:
        """Names the content of these sections."""
        stamps = [f"{name}={self._sections[name][0]}" for name in self._named(names)]
        return f'"{hashlib.sha256(" ".join(stamps).encode()).hexdigest()[:16]}"'

    def document(self, names: Collection[str]) -> bytes:
        """These sections as one JSON object."""
        return _object({name: self._sections[name][1] for name in self._named(names)})

    def news(self, sent: dict[str, str], names: Collection[str]) -> bytes:
        """Those of these sections that are not as ``sent`` says, as a JSON object; empty if all are. ``sent`` is
        brought up to date."""
        fresh = [name for name in self._named(names) if sent.get(name) != self._sections[name][0]]
        sent.update((name, self._sections[name][0]) for name in fresh)
        return _object({name: self._sections[name][1] for name in fresh}) if fresh else b""

    def _named(self, names: Collection[str]) -> list[str]:
        return [name for name in SECTIONS if name in names and name in self._sections]


def _object(members: Mapping[str, bytes]) -> bytes:
    return b"{" + b",".join(b'"%s":%s' % (name.encode(), data) for name, data in members.items()) + b"}"
