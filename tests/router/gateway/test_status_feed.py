"""The feed of statuses: what counts as a change, how many may watch, and when the controller is away."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import msgspec

from divisions.errors import NotRunningError
from router.gateway.event_stream import KEEP_ALIVE_S
from router.gateway.status_feed import MAX_WATCHERS, StatusFeed, _without_clocks


async def turns(count: int = 10) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


class Script:
    """A feed whose turns the test grants."""

    def __init__(self, *answers) -> None:
        self.answers = list(answers)
        self.pauses: list[float] = []
        self.go_on = asyncio.Event()
        self.feed = StatusFeed(self.read, self.sleep)

    async def read(self):
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def sleep(self, seconds):
        self.pauses.append(seconds)
        await self.go_on.wait()
        self.go_on.clear()

    async def turn(self):
        self.go_on.set()
        await turns()


def test_numbers_rise_with_changes_alone(run):
    async def scenario():
        one = {"epoch": 1, "replicas": [{"name": "a", "age_s": 1.0}], "gateway": {"now_s": 5.0}}
        older = {"epoch": 1, "replicas": [{"name": "a", "age_s": 2.0}], "gateway": {"now_s": 6.0}}
        it = Script(one, older, {"epoch": 2}, NotRunningError("gone"), ValueError("a fault"), {"epoch": 2})
        seen = []
        with it.feed.watched():
            for _ in range(6):
                await turns()
                latest = it.feed.latest
                seen.append((latest.number, latest.name, msgspec.json.decode(latest.data)))
                await it.turn()
        assert [(number, name) for number, name, _ in seen] == [
            (1, "status"), (1, "status"), (2, "status"), (3, "away"), (4, "away"), (5, "status"),
        ]  # fmt: skip
        assert seen[0][2] == seen[1][2] == one
        assert seen[3][2] == {"reason": "gone"}
        assert seen[4][2] == {"reason": "internal error; the gateway's log has the details"}
        assert set(it.pauses) == {1.0}, "once a second"

    run(scenario())


def test_a_document_is_compared_without_what_grows_by_itself():
    document = {"a": 1, "replicas": [{"name": "r", "age_s": 9.5}], "gateway": {"id": "g", "now_s": 3.0}}
    assert _without_clocks(document) == {
        "a": 1,
        "replicas": [{"name": "r", "age_s": 0}],
        "gateway": {"id": "g", "now_s": 0},
    }
    assert document["replicas"][0]["age_s"] == 9.5


def test_as_many_as_the_limit_may_watch_and_the_last_one_stops_the_feed(run):
    async def scenario():
        it = Script({"epoch": 1})
        entered = [it.feed.watched() for _ in range(MAX_WATCHERS)]
        for number, each in enumerate(entered):
            assert not it.feed.is_full
            each.__enter__()
            assert it.feed.num_watchers == number + 1
        assert it.feed.is_full
        await turns()
        assert it.feed.latest.number == 1
        for each in entered[1:]:
            each.__exit__(None, None, None)
        assert it.feed.latest is not None
        entered[0].__exit__(None, None, None)
        assert (it.feed.latest, it.feed.num_watchers) == (None, 0)
        with it.feed.watched():
            await turns()
            assert it.feed.latest.number == 1, "numbers begin anew"

    run(scenario())


def test_closing_wakes_watchers_and_asks_no_more(run):
    async def scenario():
        it = Script({"epoch": 1})
        with it.feed.watched():
            await turns()
            waiting = asyncio.ensure_future(it.feed.turn())
            await turns()
            assert not waiting.done()
            it.feed.close()
            await waiting
            await it.feed.turn()
        with it.feed.watched():
            await turns()
            assert it.feed.latest is None

    run(scenario())


def test_limits_of_streams_are_those_of_the_documentation():
    text = " ".join((Path(__file__).parents[3] / "docs" / "page.md").read_text().split())
    assert int(re.search(r"It keeps at most (\d+) streams open", text)[1]) == MAX_WATCHERS
    assert re.search(r"A comment line comes after (\w+) seconds without an event", text)[1] == "ten"
    assert KEEP_ALIVE_S == 10.0
