"""A gateway with a real controller behind its control routes, on a thread of its own: for callers that block."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import msgspec
import numpy as np
import uvloop

from divisions.access.requests import Actor, TokenCommand
from divisions.access.tokens import AccessList
from divisions.clock import SystemClock
from divisions.control import AccessPolicy, RolloutCommand, RolloutSpec
from divisions.online_store import OnlineRow
from divisions.online_writer import OnlineStoreWriter
from router.control.house_keeper import HouseKeeper
from router.control.inventory_keeper import InventoryKeeper
from router.control.ray_controller import parsed
from router.control.token_desk import TokenDesk
from router.control.token_file import TokenFile
from tests.router import rollout_world
from tests.router.gateway_world import world

TOKEN = "secret"


def filled_score(rows_NF: np.ndarray) -> np.ndarray:
    """As a real graph, it fills in what is missing, and answers with a probability."""
    return np.tanh(np.abs(np.nan_to_num(rows_NF).sum(axis=1))).astype(np.float32)


class Control:
    """The control part of a `ControllerLink`, over a controller in this process. Each command takes a second."""

    def __init__(self, folder: Path) -> None:
        self._world = rollout_world.World(folder)
        self._tokens = TokenDesk(TokenFile(folder), SystemClock(), lambda access: None)
        self._world.deploy_first()
        controller, clock = self._world.controller, SystemClock()
        self._house = HouseKeeper(controller, InventoryKeeper({}, clock), lambda status: (), clock)

    async def start_rollout(self, spec_json: bytes, force: bool, actor: Actor) -> bytes:
        return self._answer(
            self._world.controller.start_rollout(parsed(spec_json, RolloutSpec), force=force, actor=actor)
        )

    async def manage_tokens(self, command: TokenCommand, actor: Actor) -> bytes:
        return msgspec.json.encode(self._tokens.carry_out(command, actor))

    async def command(self, command_json: bytes, actor: Actor) -> bytes:
        return self._answer(self._world.controller.command(parsed(command_json, RolloutCommand), actor))

    async def status(self) -> bytes:
        return msgspec.json.encode(self._world.controller.status())

    async def house(self, known: Mapping[str, str]) -> bytes:
        return msgspec.msgpack.encode(self._house.lacking(known))

    async def drift(self, endpoint: str) -> bytes:
        return msgspec.json.encode(self._world.controller.drift(endpoint))

    def _answer(self, status: object) -> bytes:
        data = msgspec.json.encode(status)
        self._world.clock.advance(1.0)
        self._world.controller.tick()
        return data


@contextlib.contextmanager
def served_api(
    folder: Path, access: AccessList | None = None, make_control: Callable[[Path], Control] = Control
) -> Iterator[str]:
    """The URL of a gateway that serves ``churn``, while entered. Its event streams are closed: they never end. With a
    list of tokens, ``churn`` asks for keys."""
    loop = uvloop.new_event_loop()
    ready = threading.Event()
    found: list[str] = []
    over = asyncio.Event()

    async def serve() -> None:
        async with world() as it:
            control = make_control(folder)
            it.link.start_rollout, it.link.command, it.link.status, it.link.manage_tokens, it.link.house = (
                control.start_rollout, control.command, control.status, control.manage_tokens, control.house
            )  # fmt: skip
            policy = AccessPolicy(require_key=access is not None)
            await it.route([await it.replica("3.1", filled_score, max_batch=256)], access=policy)
            if access is not None:
                it.link.publish(msgspec.structs.replace(it.link.table, access=access))
            await it.know_training_data()
            row = OnlineRow("c-1", 1.0, {"minutes": 70, "plan": "gold", "abroad": None})
            OnlineStoreWriter(it.folder / "online.db", "churn").upsert([row])
            it.gateway._feed.close()
            found.append(f"http://127.0.0.1:{it.port}")
            ready.set()
            await over.wait()

    def run() -> None:
        try:
            loop.run_until_complete(serve())
        finally:
            ready.set()
            loop.close()

    thread = threading.Thread(target=run)
    thread.start()
    ready.wait(60)
    try:
        (url,) = found
        yield url
    finally:
        if found:
            loop.call_soon_threadsafe(over.set)
        thread.join(120)
