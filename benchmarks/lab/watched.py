"""A process of the lab with a real controller, and a gateway below it as the product starts it.

    python -m benchmarks.lab.watched VERSION.json REPLICA.json

`router.control.controller` keeps rollouts, drift and the house, on a journal in the home; only Ray is missing around
it. The version is rolled out, and the replica of that address is its only one. The process prints ``ready`` when the
gateway serves it; it ends when its standard input does.
"""

from __future__ import annotations

import asyncio
import secrets
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec

from benchmarks.harness.bench_bundle import ENDPOINT
from divisions.bundle import read_reference
from divisions.clock import SystemClock
from divisions.control import ReplicaAddress, RolloutSpec, VersionSpec
from divisions.reports import GatewayReport
from divisions.settings import Settings, load_settings
from divisions.status import ControllerStatus, NodeStatus
from router.control.controller import Controller
from router.control.house_keeper import HouseKeeper
from router.control.inventory_keeper import InventoryKeeper, sources
from router.evidence.drift import InputBins, parse_bins
from router.gateway.bridge import Argument
from router.gateway.child import GatewayChild
from router.journal.journal import Journal
from router.journal.opening import database_of

TICK_S = 1.0
READY_S = 60.0


class Desk:
    """What the controller's actor does in the product: it answers the gateway's calls, and lets the seconds pass.

    Args:
        settings: of the home.
        replica: the only one; it is heard of every second.
    """

    def __init__(self, settings: Settings, replica: ReplicaAddress) -> None:
        clock = SystemClock()
        self._replica = replica
        journal = Journal(database_of(settings))
        self.controller = Controller(
            journal, clock, lambda: secrets.token_hex(8), allow_faults=False, read_bins=_read_bins
        )
        self.controller.start()
        self._inventory = InventoryKeeper(sources(settings, clock), clock)
        self._house = HouseKeeper(self.controller, self._inventory, _nodes, clock)

    async def run(self) -> None:
        """Ticks, and reads the registry and the rest in the background, as the actor's loops do; for ever."""
        reading = asyncio.create_task(self._inventory.run())
        try:
            while True:
                self.controller.register_replica(self._replica)
                self.controller.tick()
                await asyncio.sleep(TICK_S)
        finally:
            reading.cancel()

    async def call(self, method: str, arguments: tuple[Argument, ...], timeout_s: float) -> bytes:
        answers: dict[str, Callable[..., Awaitable[bytes]]] = {
            "poll_table": self._poll_table,
            "report": self._report,
            "status": self._status,
            "house": self._house_sections,
            "drift": self._drift,
        }
        if method not in answers:
            raise RuntimeError(f"the lab's controller has no {method}")
        async with asyncio.timeout(timeout_s):
            return await answers[method](*arguments)

    async def _poll_table(self, known_epoch: int, timeout_s: float, known_access: bytes) -> bytes:
        return msgspec.msgpack.encode(await self.controller.poll_table(known_epoch, timeout_s, known_access.decode()))

    async def _report(self, report: bytes) -> bytes:
        return self.controller.take_report(msgspec.msgpack.decode(report, type=GatewayReport))

    async def _status(self) -> bytes:
        status = self.controller.status()
        inventory = self._inventory.inventory(self.controller.cluster)
        return msgspec.json.encode(msgspec.structs.replace(status, nodes=_nodes(status), inventory=inventory))

    async def _house_sections(self, known: bytes) -> bytes:
        return msgspec.msgpack.encode(self._house.lacking(msgspec.json.decode(known, type=dict[str, str])))

    async def _drift(self, endpoint: bytes) -> bytes:
        return msgspec.json.encode(self.controller.drift(endpoint.decode()))


def _read_bins(version: VersionSpec) -> InputBins:
    return parse_bins(read_reference(Path(version.bundle_path), version.bundle_sha256))


def _nodes(status: ControllerStatus) -> tuple[NodeStatus, ...]:
    del status
    return (NodeStatus("here", "127.0.0.1", "lab", "alive"),)


async def serve(version: VersionSpec, replica: ReplicaAddress) -> None:
    """Prints ``ready`` when the gateway serves the version; ends when standard input does."""
    settings = load_settings()
    desk = Desk(settings, replica)
    loop = asyncio.get_running_loop()

    async def call(method: str, arguments: tuple[Argument, ...], timeout_s: float) -> bytes:
        """From the thread of the gateway's parent, as the actor is in another process."""
        asked: Any = asyncio.run_coroutine_threadsafe(desk.call(method, arguments, timeout_s), loop)
        return bytes(await asyncio.wrap_future(asked))

    child = GatewayChild(replica.node_id, call)
    running = asyncio.create_task(desk.run())
    try:
        desk.controller.start_rollout(RolloutSpec(ENDPOINT, version))
        await asyncio.to_thread(child.start_and_wait)
        async with asyncio.timeout(READY_S):
            while [each.phase for each in desk.controller.status().rollouts] != ["PROMOTED"]:
                await asyncio.sleep(0.05)
        print("ready", flush=True)
        await asyncio.to_thread(sys.stdin.read)
    finally:
        running.cancel()
        child.stop()
        await asyncio.to_thread(child.join)


def main() -> int:
    version, replica = (Path(path).read_bytes() for path in sys.argv[1:])
    asyncio.run(
        serve(msgspec.json.decode(version, type=VersionSpec), msgspec.json.decode(replica, type=ReplicaAddress))
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
