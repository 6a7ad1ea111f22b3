"""Channels of one version as the table changes: opened, taken over, retired and closed; and who takes turns."""

from __future__ import annotations

import math

from divisions.control import ReplicaAddress
from tests.router.dispatch_world import DispatchWorld, FakeReplica, settle


def address(name: str, unix_path: str = "") -> ReplicaAddress:
    return ReplicaAddress(name, "app", "here", unix_path, "", 8)


def test_channels_follow_the_table(run, tmp_path):
    async def scenario():
        it = DispatchWorld(stable_s=())
        pool = it.endpoint.stable
        first, second = (address(name, str(tmp_path / name)) for name in "ab")
        pool.set_replicas([first, second])
        before = dict(pool.channels)
        assert sorted(before) == ["a", "b"]
        pool.set_replicas([first, address("b", str(tmp_path / "moved"))])
        assert pool.channels["a"] is before["a"]
        assert pool.channels["b"] is not before["b"], "another path is another process"
        await settle()
        assert before["b"]._task.cancelled(), "or it would connect again for ever"
        moved = pool.channels["b"]
        pool.set_replicas([first])
        assert sorted(pool.channels) == ["a"]
        await settle()
        assert (moved._task.cancelled(), before["a"]._task.cancelled()) == (True, False)
        pool.set_replicas([])
        assert pool.channels == {}
        assert pool.ready_channels == 0

    run(scenario())


def test_a_replica_that_leaves_gets_no_more_work_and_finishes_its_batch(run):
    async def scenario():
        it = DispatchWorld(stable_s=(math.inf, math.inf))
        await settle()
        pool = it.endpoint.stable
        answer = it.submit("c")
        await settle()
        pool.set_replicas([])
        assert not pool.is_idle
        busy = next(replica for replica in it.stable if replica.batches)
        later = it.submit("d")
        await settle()
        assert [sum(replica.batches) for replica in it.stable].count(1) == 1
        busy.answer()
        await settle()
        assert answer.outcome == "ok"
        assert later.outcome == "pending"
        pool.queue.drain()
        assert pool.is_idle

    run(scenario())


def test_free_replicas_take_turns_and_near_ones_come_first(run):
    async def scenario():
        it = DispatchWorld(stable_s=(0.0, 0.0, 0.0))
        await settle()
        pool = it.endpoint.stable
        remote, near, _ = pool.channels.values()
        pool.free.drop(remote)
        remote.is_local = False
        pool.free.add(remote)
        for number in range(4):
            it.submit(f"c-{number}")
            await it.run(0.005)
        assert [len(replica.batches) for replica in it.stable] == [0, 2, 2]
        near.is_ready = False
        for number in range(4):
            it.submit(f"d-{number}")
            await it.run(0.005)
        assert len(it.stable[1].batches) == 2
        assert sum(len(replica.batches) for replica in it.stable) == 8

    run(scenario())


def test_answers_of_a_warming_replica_are_left_out_of_the_judgement(run):
    async def scenario():
        it = DispatchWorld(stable_s=(0.0,))
        pool = it.endpoint.stable
        pool.warmup.warmup_s, pool.warmup.warmup_requests = 10.0, 2
        it.submit("first")
        await it.run(0.005)
        it.stable.append(it.add_replica(pool, 0.0))
        await settle()
        for number in range(8):
            it.submit(f"c-{number}")
            await it.run(0.005)
        assert len(it.stable[1].batches) == 4
        assert it.counted()["3.1"] == (9 - 2, 0)
        pool.tally.take(1 << 40)
        pool.tally.settle(1 << 40)
        assert pool.tally.totals.requests == {"2xx": 9}

    run(scenario())


def test_an_engine_of_this_process_is_used_once_and_closed_when_it_is_replaced(run):
    async def scenario():
        it = DispatchWorld(stable_s=())
        pool = it.endpoint.stable
        engines = [FakeReplica(lambda: it.now_s, math.inf) for _ in range(2)]
        pool.set_hosted((address("a"), engines[0]))
        pool.set_hosted((address("a"), engines[0]))
        await settle()
        (first,) = pool.channels.values()
        assert pool.ready_channels == 1
        answer = it.submit("c")
        await settle()
        pool.set_hosted((address("a"), engines[1]))
        await settle()
        assert first.is_ready, "what is in flight is waited for"
        engines[0].answer()
        await settle()
        assert answer.outcome == "ok"
        assert not first.is_ready
        (second,) = pool.channels.values()
        pool.set_hosted(None)
        assert not second.is_ready
        assert pool.channels == {}

    run(scenario())


def test_a_closed_pool_ends_what_is_in_flight_and_what_it_had_retired(run):
    async def scenario():
        it = DispatchWorld(stable_s=(math.inf, math.inf), canary_s=(0.0,), canary_bp=1)
        await settle()
        pool = it.endpoint.stable
        retired, kept = pool.channels.values()
        answers = []
        for key in ("c", "d"):
            answers.append(it.submit(key))
            await settle()
        pool.channels = {"kept": kept}
        pool._retire(retired)
        pool.close()
        await settle()
        assert [channel.is_ready for channel in (kept, retired)] == [False, False]
        assert [channel.in_flight for channel in (kept, retired)] == [{}, {}]
        assert not pool._retiring
        assert [answer.outcome for answer in answers] == ["pending"] * 2, "they wait for another replica"

    run(scenario())


def test_a_replica_that_broke_and_came_back_takes_one_turn_not_two(run):
    async def scenario():
        it = DispatchWorld(stable_s=(math.inf,))
        await settle()
        pool = it.endpoint.stable
        (channel,) = pool.channels.values()
        for _ in range(3):
            pool.channel_broke(channel, ())
            pool.channel_ready(channel)
        it.submit("a")
        await settle()
        it.submit("b")
        await settle()
        assert it.stable[0].batches == [1], "the second waits until the replica is free"

    run(scenario())
