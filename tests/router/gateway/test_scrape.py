"""A scrape is made once, however many ask for it."""

from __future__ import annotations

import asyncio

import pytest

from divisions.clock import ManualClock
from router.gateway.scrape import KEPT_S, Scrape


class Source:
    def __init__(self):
        self.made = 0
        self.gate = asyncio.Event()
        self.gate.set()
        self.fault: Exception | None = None

    async def make(self) -> bytes:
        self.made += 1
        await self.gate.wait()
        if self.fault is not None:
            raise self.fault
        return b"%d" % self.made


def test_a_document_is_kept_for_a_second():
    async def scenario():
        clock, source = ManualClock(), Source()
        scrape = Scrape(source.make, clock.monotonic_s)
        assert [await scrape.read(), await scrape.read()] == [b"1", b"1"]
        clock.advance(KEPT_S * 1.01)
        assert [await scrape.read(), await scrape.read()] == [b"2", b"2"]

    asyncio.run(scenario())


def test_all_who_ask_while_it_is_made_get_the_same_one_even_if_the_first_leaves():
    async def scenario():
        source = Source()
        source.gate.clear()
        scrape = Scrape(source.make, ManualClock().monotonic_s)
        readers = [asyncio.create_task(scrape.read()) for _ in range(50)]
        await asyncio.sleep(0)
        readers.pop(0).cancel()
        source.gate.set()
        assert set(await asyncio.gather(*readers)) == {b"1"}
        assert source.made == 1

    asyncio.run(scenario())


def test_a_failure_is_not_kept():
    async def scenario():
        source = Source()
        scrape = Scrape(source.make, ManualClock().monotonic_s)
        source.fault = RuntimeError("no metrics")
        with pytest.raises(RuntimeError):
            await scrape.read()
        source.fault = None
        assert await scrape.read() == b"2"

    asyncio.run(scenario())


def test_a_document_is_as_old_as_the_time_at_which_it_was_begun():
    async def scenario():
        clock, source = ManualClock(), Source()
        source.gate.clear()
        scrape = Scrape(source.make, clock.monotonic_s)
        reader = asyncio.create_task(scrape.read())
        while not source.made:
            await asyncio.sleep(0)
        clock.advance(KEPT_S * 2)
        source.gate.set()
        assert [await reader, await scrape.read()] == [b"1", b"2"], "or counters of two gateways would go backwards"

    asyncio.run(scenario())
