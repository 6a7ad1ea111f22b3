"""Operators' commands: for which generation, by whom, and what a rollback goes back to."""

from __future__ import annotations

import asyncio

import pytest

from divisions.control import RolloutCommand
from divisions.errors import ConflictError, MalformedRequestError, StaleGenerationError, UnknownVersionError
from router.control.event_log import MAX_BYTES, EventFile
from router.control.registry_projection import FIRST_RETRY_S, LAST_RETRY_S, Projector
from router.rollouts import canary
from router.rollouts.canary import Phase
from router.rollouts.messages import RolloutEvent
from tests.router.rollout_world import spec, version


def record(world):
    return world.controller._endpoints.records["churn"]


def command(world, name, **changes):
    return world.controller.command(RolloutCommand("churn", name, **changes))


def test_a_command_is_for_the_generation_that_its_caller_saw(world):
    world.controller.start_rollout(spec("3.2"))
    world.until("STEP")
    generation = record(world).generation
    for other in (generation - 1, generation + 1, 0):
        with pytest.raises(StaleGenerationError, match=f"is at generation {generation}, not {other}"):
            command(world, "pause", generation=other)
    command(world, "pause", generation=generation)
    assert canary.phase(record(world).rollout.state) is Phase.HOLD


def test_who_commands_is_remembered(world):
    world.controller.start_rollout(spec("3.2"))
    world.until("STEP")
    command(world, "pause", who="ann")
    assert record(world).rollout.state.reason == "paused by ann"
    command(world, "abort", who="bob")
    assert record(world).rollout.rollback_reason == "aborted by bob"


def test_an_unknown_command_or_endpoint_is_refused(world):
    with pytest.raises(MalformedRequestError, match="unknown command 'stop'"):
        command(world, "stop")
    with pytest.raises(UnknownVersionError) as caught:
        world.controller.command(RolloutCommand("other", "pause"))
    assert caught.value.remedy == "endpoints: churn"


def test_a_rollback_to_another_version_than_stable_does_not_end_what_runs(world):
    world.controller.start_rollout(spec("3.2"))
    world.until("STEP")
    with pytest.raises(UnknownVersionError, match=r"version 9\.9 was never deployed to churn"):
        command(world, "rollback", to="9.9")
    assert canary.phase(record(world).rollout.state) is Phase.STEP


@pytest.mark.parametrize("to", [None, "3.1"])
def test_a_rollback_of_what_runs_goes_to_stable(world, to):
    world.controller.start_rollout(spec("3.2"))
    world.until("STEP")
    command(world, "rollback", to=to, who="ann")
    assert canary.phase(record(world).rollout.state) is Phase.ROLLING_BACK
    assert record(world).rollout.rollback_reason == "rolled back by ann"


def test_a_rollback_afterwards_goes_to_the_version_before_or_the_one_that_is_named(world):
    for label in ("3.2", "3.3"):
        world.controller.start_rollout(spec(label))
        world.until("STEP")
        command(world, "promote")
    with pytest.raises(ConflictError, match=r"version 3\.3 serves churn already"):
        command(world, "rollback", to="3.3")
    with pytest.raises(UnknownVersionError, match=r"version 9\.9 was never deployed to churn") as caught:
        command(world, "rollback", to="9.9")
    assert "known versions: 3.1, 3.2, 3.3" in str(caught.value)
    command(world, "rollback")
    assert record(world).rollout.spec.version.version == "3.2"
    assert record(world).rollout.is_direct
    assert record(world).rollout.spec.steps_bp == (10_000,)
    world.until("PROMOTED")
    command(world, "rollback", to="3.1")
    assert record(world).rollout.spec.version.version == "3.1"


def test_without_an_earlier_version_there_is_no_way_back(world):
    with pytest.raises(UnknownVersionError, match="no earlier version is known for churn"):
        command(world, "rollback")


class Registry:
    def __init__(self) -> None:
        self.fails = True
        self.told: list[str] = []

    def set_production(self, told) -> None:
        if self.fails:
            raise OSError("no")
        self.told.append(told.version)


def test_a_registry_that_fails_is_asked_again_after_growing_pauses():
    registry = Registry()
    projector = Projector(registry)
    production = {"m": version("3.1")}
    now_s, pause_s = 100.0, FIRST_RETRY_S
    pauses = []
    for _ in range(9):
        assert not asyncio.run(projector.project(production, now_s))
        registry.fails = False
        assert not asyncio.run(projector.project(production, now_s + pause_s - 0.01))
        registry.fails = True
        now_s += pause_s
        pauses.append(pause_s)
        pause_s = min(2 * pause_s, LAST_RETRY_S)
    assert pauses == [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0, 60.0]
    registry.fails = False
    assert asyncio.run(projector.project(production, now_s))
    assert asyncio.run(projector.project(production, now_s))
    assert registry.told == ["3.1"]
    registry.fails = True
    assert not asyncio.run(projector.project({"m": version("3.2")}, now_s))
    registry.fails = False
    assert asyncio.run(projector.project({"m": version("3.2")}, now_s + FIRST_RETRY_S)), "pauses begin anew"


@pytest.mark.parametrize(("size", "is_moved"), [(MAX_BYTES - 1, False), (MAX_BYTES, True)])
def test_the_log_of_events_has_one_older_file(tmp_path, size, is_moved):
    path = tmp_path / "logs" / "rollouts.jsonl"
    path.parent.mkdir()
    with path.open("wb") as file:
        file.truncate(size)
    EventFile(path).emit(RolloutEvent(1.0, "churn", "step", 1, 1, "STEP", 2_000, "3.1", "3.2", "words"))
    assert MAX_BYTES == 10 * 1024 * 1024, "as the module says"
    assert path.with_suffix(".1.jsonl").exists() is is_moved
    assert (path.stat().st_size > size) is not is_moved
