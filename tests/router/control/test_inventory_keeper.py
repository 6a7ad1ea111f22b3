"""The inventory is kept in the background: what hangs or fails costs nobody else, and is said to be unreachable."""

from __future__ import annotations

import asyncio
import dataclasses
import threading

import pytest

from divisions.clock import ManualClock, SystemClock
from divisions.inventory import FeatureFreshness, Inventory, VersionCount
from divisions.online_store import OnlineRow, online_store_path
from divisions.online_writer import OnlineStoreWriter
from divisions.settings import Settings
from router.control.inventory_keeper import SILENT_S, InventoryKeeper, probe_artifacts, read_plans, sources

COUNT = (VersionCount("churn", "passed", 1),)


class Source:
    def __init__(self):
        self.facts = {"versions": COUNT}
        self.fault: Exception | None = None

    def __call__(self):
        if self.fault is not None:
            raise self.fault
        return self.facts


@pytest.mark.parametrize("fault", [OSError("no disk"), ValueError("a client's own"), RuntimeError()])
def test_what_a_source_told_last_stands_and_it_is_said_not_to_answer(fault, caplog):
    async def scenario():
        registry = Source()
        keeper = InventoryKeeper({"registry": (registry, 1.0)}, ManualClock())
        assert keeper.inventory(None) == Inventory(), "nothing is known yet, and nothing is wrong"
        await keeper.take("registry", registry)
        registry.fault = fault
        for _ in range(3):
            await keeper.take("registry", registry)
        assert keeper.inventory(None) == Inventory(versions=COUNT, unreachable=("registry",))
        registry.fault = None
        await keeper.take("registry", registry)
        assert keeper.inventory(None) == Inventory(versions=COUNT)

    asyncio.run(scenario())
    assert len(caplog.records) == 1, "the log has a reason once"


def test_a_source_that_hangs_keeps_no_other_waiting():
    async def scenario():
        clock, gate = ManualClock(), threading.Event()
        seen = asyncio.Event()
        loop = asyncio.get_running_loop()

        def artifacts():
            gate.wait()
            return {}

        def registry():
            loop.call_soon_threadsafe(seen.set)
            return {"versions": COUNT}

        keeper = InventoryKeeper({"artifacts": (artifacts, 0.0), "registry": (registry, 0.001)}, clock)
        running = asyncio.create_task(keeper.run())
        try:
            for _ in range(3):
                await seen.wait()
                seen.clear()
            clock.advance(SILENT_S + 1)
            while keeper.inventory(None).unreachable != ("artifacts",):  # until the registry has told again
                await asyncio.sleep(0)
            assert keeper.inventory(None).versions == COUNT
        finally:
            running.cancel()
            gate.set()
            await asyncio.gather(running, return_exceptions=True)

    asyncio.run(asyncio.wait_for(scenario(), 60))


def test_a_new_home_has_an_empty_inventory(tmp_path):
    found = sources(Settings(tmp_path), SystemClock())
    keeper = InventoryKeeper(found, SystemClock())
    assert {source.state for source in keeper.reach()} == {"waiting"}
    for name, (read, every_s) in found.items():
        assert every_s > 0
        asyncio.run(keeper.take(name, read))
    assert keeper.inventory(None) == Inventory()
    assert {source.state for source in keeper.reach()} == {"ok"}
    assert (keeper.fact("registered"), keeper.fact("nothing")) == ((), None)


def test_plans_are_counted_and_other_files_are_not(tmp_path):
    for name, size in (("plan-a.bin", 10), ("plan-b.bin", 5), ("timing-a.bin", 100), ("lock-a", 0)):
        (tmp_path / name).write_bytes(b"x" * size)
    assert read_plans(tmp_path) == {"plans": 2, "plan_bytes": 15}


def test_stored_features_are_as_new_as_their_newest_event(tmp_path):
    OnlineStoreWriter(online_store_path(tmp_path), "churn").upsert([OnlineRow("c", 70.0, {}), OnlineRow("d", 90.0, {})])
    read, _ = sources(Settings(tmp_path), SystemClock())["features"]
    assert read() == {"features": (FeatureFreshness("churn", 90.0),)}
    shared = dataclasses.replace(Settings(tmp_path), online_store="redis://127.0.0.1:1")
    assert "features" not in sources(shared, SystemClock()), "gateways tell of that one"


def test_a_folder_of_bundles_that_is_not_mounted_is_not_reached(tmp_path):
    there = dataclasses.replace(Settings(tmp_path), artifacts=str(tmp_path))
    assert probe_artifacts(there) == {}
    with pytest.raises(OSError, match="gone"):
        probe_artifacts(dataclasses.replace(there, artifacts=str(tmp_path / "gone")))
    registry = dataclasses.replace(there, artifacts="oci://registry.example/bundles")
    assert probe_artifacts(registry) == {}
    with pytest.raises(OSError, match="absent"):
        probe_artifacts(Settings(tmp_path / "absent"))
