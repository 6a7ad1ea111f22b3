"""The gateway's end of the prediction log, with the other end in the test's hands."""

import asyncio
import os
import socket

import pytest

from divisions.control import EndpointRoute, RoutingTable, VersionRoute, VersionSpec
from divisions.prediction_log import LogCount, LogPolicy
from router.gateway import log_link, side_process
from router.gateway.log_link import LogLink
from router.predict.answer_log import LogBuffer
from router.prediction_log.frames import (
    Counts,
    Cutter,
    Keep,
    KeepRule,
    Opened,
    Rows,
    VersionCount,
    decode_to_writer,
    encode,
)
from tests.router.prediction_log.logged import APP, SCHEMA, entry, fill, rows_of


class FakeClock:
    def __init__(self) -> None:
        self.now_s = 1_000.0

    def monotonic_s(self) -> float:
        return self.now_s

    def wall_s(self) -> float:
        return self.now_s + 50_000.0


class FakeProcess:
    def poll(self) -> int:
        return 0


class World:
    def __init__(self) -> None:
        self.clock = FakeClock()
        self.buffer = LogBuffer()
        self.ends: list[socket.socket] = []
        self.cannot_start = False
        self.link = LogLink(self.buffer, "gw", self.clock, self._start)

    def _start(self, gateway_id, number, theirs):
        if self.cannot_start:
            raise OSError("no more processes")
        end = socket.socket(fileno=os.dup(theirs.fileno()))
        end.setblocking(False)
        self.ends.append(end)
        self.cutter = Cutter()
        return FakeProcess()

    def follow(self, policy: LogPolicy | None = None, epoch: int = 1) -> None:
        spec = VersionSpec("churn-predictor", "3.1", "", "", SCHEMA, log=policy)
        self.link.follow(RoutingTable(epoch, (EndpointRoute("churn", "salt", (VersionRoute(spec, 10_000, False),)),)))

    async def sweep(self, turns: int = 20) -> None:
        for _ in range(turns):
            self.link.sweep()
            await asyncio.sleep(0.001)

    async def until_started(self, number: int) -> None:
        for _ in range(5_000):
            if len(self.ends) == number and self.link._writer.is_there:
                return
            await self.sweep(1)
        raise AssertionError("no writer was started")

    def received(self) -> list:
        try:
            return [decode_to_writer(body) for body in self.cutter.feed(self.ends[-1].recv(1 << 22))]
        except BlockingIOError:
            return []

    def tell(self, kept: int, **lost: int) -> None:
        self.ends[-1].sendall(encode(Counts([VersionCount(APP, kept, lost)], 1, 5, "")))

    def count(self) -> tuple[int, dict[str, int]]:
        (count,) = self.link.counts()
        assert (count.endpoint, count.version) == ("churn", "3.1")
        return count.kept, count.lost

    def close(self) -> None:
        for end in self.ends:
            end.close()


@pytest.fixture
def run(monkeypatch):
    monkeypatch.setattr(log_link, "END_S", 0.2)

    def run(scenario):
        async def main():
            world = World()
            try:
                await asyncio.wait_for(scenario(world), 60)
            finally:
                await world.link.close()
                world.close()

        asyncio.run(main())

    return run


def test_without_a_policy_there_is_no_writer(run):
    async def scenario(world):
        world.follow(None)
        await world.sweep()
        assert (world.ends, world.link.health()) == ([], log_link.LogHealth())

    run(scenario)


def test_rows_go_to_the_writer_after_their_version_with_the_time_of_the_wall(run):
    async def scenario(world):
        world.follow(LogPolicy())
        fill(world.buffer, entry(1))
        await world.until_started(1)
        await world.sweep()
        opened, rows = world.received()
        assert opened == Opened(APP, "churn", "churn-predictor", "3.1", SCHEMA, LogPolicy())
        assert rows == rows_of(50_000.0, entry(1))
        world.tell(1)
        await world.sweep()
        assert world.count() == (1, {})
        assert world.link.health().files == 1

    run(scenario)


def test_another_policy_is_told_before_the_rows_that_follow_it(run):
    async def scenario(world):
        world.follow(LogPolicy())
        await world.until_started(1)
        await world.sweep()
        world.follow(LogPolicy(leave_out=("plan",)), epoch=2)
        world.follow(LogPolicy(leave_out=("plan",)), epoch=3)
        fill(world.buffer, entry(1))
        await world.sweep()
        policies = [message.policy if isinstance(message, Opened) else message for message in world.received()]
        assert policies == [LogPolicy(), LogPolicy(leave_out=("plan",)), rows_of(50_000.0, entry(1))]

    run(scenario)


def test_a_writer_is_told_how_long_files_are_kept_also_one_that_starts_later(run):
    async def scenario(world):
        keep = Keep((KeepRule("churn", "", 86_400.0),))
        world.follow(LogPolicy(keep_s=86_400.0))
        await world.until_started(1)
        await world.sweep()
        assert world.received()[1:] == [keep]
        world.follow(LogPolicy(keep_s=86_400.0), epoch=2)
        world.follow(LogPolicy(), epoch=3)
        await world.sweep()
        assert world.received()[1:] == [Keep(())]

    run(scenario)


def test_few_rows_are_gathered_and_many_go_at_once(run):
    async def scenario(world):
        world.follow(LogPolicy())
        await world.until_started(1)
        await world.sweep(log_link.GATHER_SWEEPS)
        world.received()
        wakes = 0
        for number in range(5 * log_link.GATHER_SWEEPS):
            fill(world.buffer, entry(number))
            await world.sweep(1)
            wakes += bool(world.received())
        assert wakes == 5
        assert not world.buffer.size
        while world.buffer.size < log_link.GATHER_BYTES:
            fill(world.buffer, entry(99))
        await world.sweep(1)
        assert world.received()

    run(scenario)


def test_a_writer_that_stands_still_costs_rows_and_never_blocks(run):
    async def scenario(world):
        world.follow(LogPolicy())
        await world.until_started(1)
        handed = 0
        while not world.buffer.lost:
            fill(world.buffer, entry(handed, rows=4_096))
            handed += 1
            world.link.sweep()  # would hang here
        assert world.count() == (0, {"buffer": 4_096})

    run(scenario)


def test_a_writer_that_died_is_started_again_and_what_it_had_not_kept_is_lost(run):
    async def scenario(world):
        world.follow(LogPolicy())
        for number in range(5):
            fill(world.buffer, entry(number))
        await world.until_started(1)
        await world.sweep()
        world.tell(2, disk=1)
        await world.sweep()
        world.ends[-1].close()
        await world.sweep()
        assert world.count() == (2, {"disk": 1, "writer": 2})
        fill(world.buffer, entry(9))
        await world.sweep()
        assert len(world.ends) == 1, "not at once"
        world.clock.now_s += side_process.FIRST_PAUSE_S
        await world.until_started(2)
        await world.sweep()
        assert [type(message) for message in world.received()] == [Opened, Rows]
        world.tell(1)
        await world.sweep()
        assert world.count() == (3, {"disk": 1, "writer": 2})

    run(scenario)


def test_one_that_dies_again_and_again_is_started_ever_more_rarely(run):
    async def scenario(world):
        world.follow(LogPolicy())
        for _ in range(600):
            await world.sweep(1)
            for _ in range(1_000):
                if world.link._writer._starting is None:
                    break
                await asyncio.sleep(0.001)
            if world.ends:
                world.ends[-1].close()
            await world.sweep(1)
            world.clock.now_s += 1.0
        assert 600 / side_process.LONGEST_PAUSE_S <= len(world.ends) <= 600 / side_process.LONGEST_PAUSE_S + 10

    run(scenario)


def test_a_writer_that_cannot_be_started_costs_only_the_log(run):
    async def scenario(world):
        world.cannot_start = True
        world.follow(LogPolicy())
        await world.sweep()
        fill(world.buffer, entry(1))
        world.cannot_start = False
        world.clock.now_s += side_process.FIRST_PAUSE_S
        await world.until_started(1)
        await world.sweep()
        assert [type(message) for message in world.received()] == [Opened, Rows]

    run(scenario)


def test_the_end_sends_the_rest(run):
    async def scenario(world):
        world.follow(LogPolicy())
        await world.until_started(1)
        fill(world.buffer, entry(1))
        await world.link.close()
        assert world.received()[-1] == rows_of(50_000.0, entry(1))
        assert world.ends[-1].recv(1) == b"", "and then it is told"
        assert world.link.counts() == (LogCount("churn", "3.1", 0),)

    run(scenario)
