"""The house from a real controller: every section is there, is sent to those who lack it, and stays within its size."""

from __future__ import annotations

import asyncio
from pathlib import Path

import msgspec

from divisions.clock import ManualClock
from divisions.house import SECTIONS, House, Link
from divisions.settings import Settings
from divisions.status import ControllerStatus, NodeStatus
from divisions.versions import RegisteredVersion, RunRecord, ValidationStatus
from router.control.house_keeper import HouseKeeper
from router.control.inventory_keeper import InventoryKeeper, sources
from tests.router.rollout_world import World, spec

NODE = NodeStatus("node", "10.0.0.7", "host-7", "alive")


def nodes(status: ControllerStatus) -> tuple[NodeStatus, ...]:
    return (NODE,)


def document(sections: dict[str, tuple[str, bytes]]) -> House:
    text = b",".join(b'"%s":%s' % (name.encode(), data) for name, (_, data) in sections.items())
    return msgspec.json.decode(b"{" + text + b"}", type=House)


def stamps(sections: dict[str, tuple[str, bytes]]) -> dict[str, str]:
    return {name: stamp for name, (stamp, _) in sections.items()}


def begun(folder: Path, found=None) -> tuple[World, HouseKeeper]:
    world = World(folder)
    world.deploy_first()
    inventory = InventoryKeeper(found or {}, world.clock)
    for name, (read, _) in (found or {}).items():
        asyncio.run(inventory.take(name, read))
    return world, HouseKeeper(world.controller, inventory, nodes, world.clock, (Link("Ray", "http://r"),), ("live",))


def test_a_new_home_gives_every_section_and_nothing_is_made_up(tmp_path):
    _, keeper = begun(tmp_path)
    sections = keeper.lacking({})
    assert set(sections) == set(SECTIONS)
    house = document(sections)
    assert house.live is not None
    assert house.live.requests_per_s is not None
    assert 250 < house.live.requests_per_s < 350
    assert (house.live.models, house.live.active_pipelines) == (None, None), "nobody has read the registry yet"
    assert house.registry is not None
    assert house.registry.versions is None
    assert house.about is not None
    assert (house.about.nodes, house.about.links, house.about.public) == (1, (Link("Ray", "http://r"),), ("live",))
    assert house.pods is not None
    assert {pod.node for pod in house.pods.replicas} == {"host-7"}
    assert house.rollouts is not None
    assert [line.phase for line in house.rollouts] == ["PROMOTED"]
    assert house.drift is not None
    assert house.drift.endpoints[0].state == "unknown"


def test_only_what_has_changed_is_sent_again(tmp_path):
    world, keeper = begun(tmp_path)
    first = keeper.lacking({})
    assert keeper.lacking(stamps(first)) == {}, "within the same second nothing is made"
    world.second()
    news = keeper.lacking(stamps(first))
    assert "live" in news
    assert not {"registry", "runs", "pods", "rollouts", "about", "history", "curves", "drift"} & set(news)
    assert set(keeper.lacking({})) == set(SECTIONS), "one who has nothing gets all"
    world.controller.start_rollout(spec("3.2"))
    world.seconds(6)
    assert {"rollouts", "curves", "history", "stages"} <= set(keeper.lacking(stamps(first)))


def test_what_a_source_has_told_is_in_the_tables(tmp_path):
    settings = Settings(tmp_path / "home")
    settings.home.mkdir()
    _, keeper = begun(tmp_path, sources(settings, ManualClock()))
    house = document(keeper.lacking({}))
    assert house.live is not None
    assert (house.live.models, house.live.pending_versions, house.live.active_pipelines) == (0, 0, 0)
    assert house.registry is not None
    assert house.registry.versions == ()
    assert house.sources is not None
    assert {source.state for source in house.sources} == {"ok"}


def test_a_source_that_fails_is_told_and_its_tables_are_unknown(tmp_path):
    def read():
        raise OSError("https://user:hunter2@mlflow does not answer")

    _, keeper = begun(tmp_path, {"registry": (read, 1.0)})
    house = document(keeper.lacking({}))
    assert house.sources is not None
    registry = next(source for source in house.sources if source.name == "registry")
    assert (registry.state, registry.read_at_s, registry.reason) == ("away", None, "https://…@mlflow does not answer")
    assert house.registry is not None
    assert house.registry.versions is None


def test_fifty_models_and_thousands_of_runs_stay_small(tmp_path):
    text = "x" * 300
    versions = tuple(
        RegisteredVersion(
            f"model-{number % 50}", f"1.{number}", number, f"{number:032}", Path("/b"), "a" * 64,
            ValidationStatus.PASSED, {f"metric-{each}": 0.123456789 for each in range(40)}, message=text,
        )
        for number in range(5_000)
    )  # fmt: skip
    runs = tuple(
        RunRecord(f"{number:032}", text, "p", "FINISHED", 1.0, 2.0, {"gates": "auc > 0.8"}, {"auc": 0.9}, {})
        for number in range(1_000)
    )
    curves = {run.run_id: {"loss": [(float(each), 0.123456789) for each in range(5_000)]} for run in runs[:8]}
    facts = {"registered": versions, "latest_runs": runs, "curves": curves}
    _, keeper = begun(tmp_path, {"all": (lambda: facts, 1.0)})
    sections = keeper.lacking({})
    assert sum(len(data) for _, data in sections.values()) < 400_000
    house = document(sections)
    assert house.registry is not None
    assert (house.registry.total, house.registry.models, house.registry.left_out) == (5_000, 50, 4_800)


def test_a_name_that_cannot_be_encoded_takes_no_other_section_with_it(tmp_path, caplog):
    run = RunRecord("r" * 32, "\udc80", "p", "FINISHED", 1.0, 2.0, {}, {}, {})
    _, keeper = begun(tmp_path, {"all": (lambda: {"latest_runs": (run,)}, 1.0)})
    assert set(SECTIONS) - set(keeper.lacking({})) == {"runs"}
    assert "runs" in caplog.text
