"""The gateway's copy of the house: asked for once a second, sent in parts to streams, the same bytes for all."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import msgspec
import pytest

from divisions.clock import ManualClock
from divisions.errors import NotRunningError
from divisions.house import SECTIONS
from divisions.setting_values import _CHOICES
from router.gateway.house_copy import ALL, STATUS, HouseCopy


class Controller:
    def __init__(self) -> None:
        self.sections = {"live": ("1", b'{"at_s":1.0}'), "runs": ("1", b"{}")}
        self.known: list[dict[str, str]] = []
        self.is_away = False
        self.clock = ManualClock()
        self.copy = HouseCopy(self, self.clock.monotonic_s)

    async def house(self, known: Mapping[str, str]) -> bytes:
        self.known.append(dict(known))
        await asyncio.sleep(0)
        if self.is_away:
            raise NotRunningError("away")
        lacking = {name: each for name, each in self.sections.items() if known.get(name) != each[0]}
        return msgspec.msgpack.encode(lacking)


def test_many_who_look_ask_once_a_second_and_only_for_what_is_new(run):
    async def scenario():
        it = Controller()
        await asyncio.gather(*[it.copy.refresh() for _ in range(50)])
        assert it.known == [{}]
        it.sections["live"] = ("2", b'{"at_s":2.0}')
        await it.copy.refresh()
        assert len(it.known) == 1
        it.clock.advance(1.0)
        await it.copy.refresh()
        assert it.known[1:] == [{"live": "1", "runs": "1"}]
        assert it.copy.document(ALL) == b'{"live":{"at_s":2.0},"runs":{}}'

    run(scenario())


def test_a_controller_that_is_away_leaves_what_was_told(run):
    async def scenario():
        it = Controller()
        await it.copy.refresh()
        it.is_away = True
        it.clock.advance(1.0)
        with pytest.raises(NotRunningError):
            await it.copy.refresh()
        assert it.copy.document(ALL) == b'{"live":{"at_s":1.0},"runs":{}}'
        it.is_away = False
        await it.copy.refresh()

    run(scenario())


def test_a_stream_gets_all_at_first_and_then_what_changes(run):
    async def scenario():
        it = Controller()
        await it.copy.refresh()
        sent: dict[str, str] = {}
        assert it.copy.news(sent, ALL) == b'{"live":{"at_s":1.0},"runs":{}}'
        assert it.copy.news(sent, ALL) == b""
        it.sections["live"] = ("2", b'{"at_s":2.0}')
        it.clock.advance(1.0)
        await it.copy.refresh()
        assert it.copy.news(sent, {"runs"}) == b"", "what may not be seen is no news"
        assert it.copy.news(sent, ALL) == b'{"live":{"at_s":2.0}}'

    run(scenario())


def test_the_etag_changes_with_what_may_be_seen_and_with_its_content(run):
    async def scenario():
        it = Controller()
        empty = it.copy.etag(ALL)
        await it.copy.refresh()
        first, part = it.copy.etag(ALL), it.copy.etag({"runs"})
        assert len({empty, first, part}) == 3
        it.sections["live"] = ("2", b"{}")
        it.clock.advance(1.0)
        await it.copy.refresh()
        assert it.copy.etag(ALL) != first
        assert it.copy.etag({"runs"}) == part

    run(scenario())


def test_a_later_controllers_sections_that_are_not_known_here_are_left_out(run):
    async def scenario():
        it = Controller()
        it.sections["secrets"] = ("1", b'"x"')
        await it.copy.refresh()
        assert it.copy.document({*ALL, "secrets"}) == b'{"live":{"at_s":1.0},"runs":{}}'

    run(scenario())


def test_the_setting_knows_every_section():
    assert set(_CHOICES["public_sections"]) == {*SECTIONS, STATUS, "all"}
