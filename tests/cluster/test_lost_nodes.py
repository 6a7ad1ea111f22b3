"""A gateway whose other nodes die, are cut off, and come back; over the encrypted channel, under load."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import time
from pathlib import Path

import msgspec
import numpy as np
import psutil
import pytest
import uvloop

from divisions.certificates.names import Role
from divisions.control import ReplicaAddress
from tests.cluster.network import Host, Network
from tests.router.gateway_world import SCHEMA, World, features, minutes_score, world

SCRIPT = Path(__file__).with_name("replica_process.py")
PORT = 7_000
TOKEN = "shared"
PER_HOST = 2
DEADLINE_MS = 8_000
SOON_S = 30.0
"""The product needs 2 s; the machine that tests may stall. A request that is really lost fails after any deadline."""


class Load:
    """Requests at a steady pace on connections of their own; every answer must be right."""

    def __init__(self, it: World) -> None:
        self.failures: list[str] = []
        self.answered = 0
        self._it = it
        self._asked: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        while True:
            asked = asyncio.create_task(self._ask())
            self._asked.add(asked)
            asked.add_done_callback(self._asked.discard)
            await asyncio.sleep(0.01)

    async def _ask(self) -> None:
        reply = await self._it.predict({"features": features(9.0)})
        if reply.status != 200 or abs(reply.json["churn_probability"] - 0.009) > 1e-6:
            self.failures.append(f"{reply.status} {reply.body!r}")
        self.answered += 1

    async def settle(self) -> None:
        while self._asked:
            await asyncio.sleep(0.01)


@contextlib.asynccontextmanager
async def load(it: World):
    load = Load(it)
    running = asyncio.create_task(load.run())
    try:
        yield load
    finally:
        running.cancel()
        await load.settle()


def slow_score(rows: np.ndarray) -> np.ndarray:
    """A replica that is busy so long that requests go to other nodes as well, although it comes first."""
    time.sleep(0.03)
    return minutes_score(rows)


def start_replicas(it: World, host: Host) -> list[ReplicaAddress]:
    """Starts replicas on a host; they listen a moment later."""
    addresses = []
    for number in range(PER_HOST):
        replica_id = f"churn-predictor-v3.1#{host.name}{number}"
        secret = msgspec.msgpack.encode(it.credentials(Role.REPLICA, replica_id))
        host.disk(f"/root/{number}.credentials").write_bytes(secret)
        arguments = (host.address, str(PORT + number), TOKEN, str(SCHEMA.num_columns))
        host.spawn(sys.executable, str(SCRIPT), f"/root/{number}.credentials", *arguments)
        tcp = f"{host.address}:{PORT + number}"
        addresses.append(ReplicaAddress(replica_id, "churn-predictor-v3.1", host.name, "", tcp, 8))
    return addresses


def ready(it: World) -> int:
    return it.gateway.dispatcher.endpoints["churn"].stable.ready_channels


async def until(is_so, what: str, within_s: float) -> float:
    began_s = time.monotonic()
    while not is_so():
        assert time.monotonic() - began_s < within_s, what
        await asyncio.sleep(0.01)
    return time.monotonic() - began_s


def attempts_at(host: Host) -> int:
    """Connections to a host that this process waits for."""
    connections = psutil.Process().net_connections("tcp")
    return sum(each.status == "SYN_SENT" and each.raddr.ip == host.address for each in connections if each.raddr)


@pytest.fixture
def hosts(network: Network):
    hosts = [network.host("one"), network.host("two")]
    yield hosts
    network.mend_all()
    for host in hosts:
        host.run("pkill", "-f", SCRIPT.name, check=False)  # sees only the host's own processes


def play(scenario) -> None:
    uvloop.run(asyncio.wait_for(scenario(), 240))


def test_hosts_that_are_cut_off_or_die_cost_no_request_and_come_back(hosts):
    one, two = hosts

    async def scenario():
        async with world(channel_token=TOKEN.encode(), request_timeout_ms=DEADLINE_MS) as it:
            near = await it.replica("3.1", slow_score)
            far = start_replicas(it, one) + start_replicas(it, two)
            await it.route([near, *far], channels=1)
            await until(lambda: ready(it) == 5, "the gateway connects", 60.0)
            async with load(it) as asked:
                await asyncio.sleep(0.5)

                one.cut()
                gone_s = await until(lambda: ready(it) == 3, "replicas of a host that is silent are left out", SOON_S)
                await until(lambda: len(it.link.lost) == PER_HOST, "the controller is told", SOON_S)
                for _ in range(30):
                    await asyncio.sleep(0.1)
                    assert attempts_at(one) <= PER_HOST, "attempts pile up"
                one.mend()
                back_s = await until(lambda: ready(it) == 5, "a host that is back is used", SOON_S)

                it.link.lost.clear()
                two.kill()
                died_s = await until(lambda: ready(it) == 3, "replicas of a host that has died are left out", SOON_S)
                await until(lambda: len(it.link.lost) == PER_HOST, "the controller is told", SOON_S)

                one.cut()
                await until(lambda: ready(it) == 1, "the gateway uses its own node", SOON_S)
                await asyncio.sleep(0.5)
                one.mend()
                two.start()
                start_replicas(it, two)
                await until(lambda: ready(it) == 5, "both come back", 60.0)
            print(f"left out after {gone_s:.2f} s (silent), {died_s:.2f} s (dead); back {back_s:.2f} s after the cable")
            assert asked.failures == []
            assert asked.answered > 100

    play(scenario)


def test_a_gateway_that_has_only_other_nodes_finds_the_one_that_is_left(hosts):
    one, two = hosts

    async def scenario():
        async with world(channel_token=TOKEN.encode(), request_timeout_ms=DEADLINE_MS) as it:
            await it.route(start_replicas(it, one) + start_replicas(it, two), channels=0)
            await until(lambda: ready(it) == 4, "the gateway connects", 60.0)
            async with load(it) as asked:
                await asyncio.sleep(0.5)
                two.cut()
                await until(lambda: ready(it) == 2, "the silent host is left out", SOON_S)
                await asyncio.sleep(1.0)
            assert asked.failures == []

    play(scenario)


def test_a_gateway_without_its_controller_serves_on_and_stops_a_canary_that_fails(hosts):
    """The controller is away when hosts die, and the canary's replicas fail as well."""
    one, _ = hosts

    async def scenario():
        async with world(channel_token=TOKEN.encode(), request_timeout_ms=DEADLINE_MS) as it:

            def fail(rows):
                if rows.any():  # what warms it up is zeros
                    raise RuntimeError("broken")
                return minutes_score(rows)

            near = await it.replica("3.1", slow_score)
            canary = await it.replica("3.2", fail)
            far = start_replicas(it, one)
            await it.route([near, *far], [canary], canary_bp=5_000, channels=2)
            await until(lambda: ready(it) == 3, "the gateway connects", 60.0)
            it.link.is_away = True
            async with load(it) as asked:
                state = it.gateway.dispatcher.endpoints["churn"].state
                await until(lambda: state.monitor.breaker.is_tripped, "the breaker stops the canary", 60.0)
                one.cut()
                await until(lambda: ready(it) == 1, "the gateway uses its own node", SOON_S)
            assert asked.failures == []

    play(scenario)
