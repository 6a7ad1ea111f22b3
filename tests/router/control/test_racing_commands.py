"""Thirty-two operators at once over HTTP: one wins, the others are told, and history is linear."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from divisions.control import RolloutCommand
from tests.router import rollout_world
from tests.router.gateway_world import post, world

COMMANDS = ("promote", "abort", "rollback", "pause")


async def race(it, cluster, *headers: str) -> list[int]:
    """Sends 32 commands at once; returns the statuses."""

    async def command(data: bytes, actor: object) -> bytes:
        await asyncio.sleep(0)  # so that all of them are on their way before the first is carried out
        return msgspec.json.encode(cluster.controller.command(msgspec.json.decode(data, type=RolloutCommand)))

    it.link.command = command
    requests = [
        post({}, "Authorization: Bearer secret", *headers, path=f"/api/v2/rollouts/churn/{COMMANDS[number % 4]}")
        for number in range(32)
    ]
    replies = await asyncio.gather(*[it.raw(request) for request in requests])
    return [reply.status for (reply,) in replies]


@pytest.fixture
def cluster(tmp_path):
    it = rollout_world.World(tmp_path)
    it.deploy_first()
    it.controller.start_rollout(rollout_world.spec("3.2"))
    it.until("STEP")
    return it


def test_of_32_commands_for_one_generation_one_wins_and_31_are_stale(run, cluster):
    async def scenario():
        async with world() as it:
            return await race(it, cluster, f'If-Match: "{cluster.status().generation}"')

    before = len(cluster.journal.entries("churn"))
    statuses = run(scenario())
    assert sorted(statuses) == [200] + [412] * 31
    entries = cluster.journal.entries("churn")
    assert len(entries) - before <= 2  # The winner's transition, and perhaps the decision before it.
    assert_linear(cluster)


def test_of_32_commands_for_whatever_there_is_the_losers_conflict(run, cluster):
    async def scenario():
        async with world() as it:
            return await race(it, cluster)

    statuses = run(scenario())
    assert set(statuses) <= {200, 409}
    assert statuses.count(409) >= 20
    assert_linear(cluster)
    cluster.seconds(40)
    assert cluster.status().phase in {"PROMOTED", "ROLLED_BACK"}
    assert_linear(cluster)


def test_all_of_an_old_generation_lose(run, cluster):
    async def scenario():
        async with world() as it:
            return await race(it, cluster, "If-Match: 1")

    before = cluster.status()
    assert set(run(scenario())) == {412}
    assert cluster.status() == before


def assert_linear(cluster):
    generations = [entry.generation for entry in cluster.journal.entries("churn")]
    assert generations == sorted(generations)
    assert generations[-1] == cluster.status().generation
    assert len(cluster.controller.table.endpoints) == 1
    assert sum(route.weight_bp for route in cluster.controller.table.endpoints[0].versions) == 10_000
