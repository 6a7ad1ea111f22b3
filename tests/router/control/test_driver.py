"""What the driver does around a transition: acknowledgements, kept versions, salts, queues, lost journals."""

from __future__ import annotations

import msgspec
import pytest

from divisions.control import RolloutCommand
from divisions.reports import SaltScores
from router.journal.journal import Kind, kind_of
from router.rollouts import canary
from router.rollouts.canary import Phase
from router.rollouts.records import Queued
from tests.router.rollout_world import ANALYSIS, spec, version


def record(world):
    return world.controller._endpoints.records["churn"]


@pytest.mark.parametrize(
    ("phase", "was_held", "kind"),
    [
        (Phase.WARMING, False, Kind.STARTED),
        (Phase.SHADOW, False, Kind.SHADOWED),
        (Phase.STEP, False, Kind.STEP_INTENT),
        (Phase.BAKE, False, Kind.STEP_INTENT),
        (Phase.HOLD, False, Kind.HELD),
        (Phase.ROLLING_BACK, False, Kind.ROLLBACK_INTENT),
        (Phase.ROLLING_BACK, True, Kind.ROLLBACK_INTENT),
        (Phase.DRAINING, False, Kind.ROLLBACK_APPLIED),
        (Phase.ROLLED_BACK, False, Kind.DRAINED),
        (Phase.PROMOTED, True, Kind.PROMOTED),
        (Phase.PENDING, True, Kind.RESUMED),
        (Phase.WARMING, True, Kind.RESUMED),
        (Phase.SHADOW, True, Kind.RESUMED),
        (Phase.STEP, True, Kind.RESUMED),
        (Phase.BAKE, True, Kind.RESUMED),
    ],
)
def test_the_journals_word_for_each_transition(phase, was_held, kind):
    assert kind_of(phase, was_held=was_held) is kind


def test_weights_are_acknowledged_when_every_living_gateway_has_their_table(world):
    world.controller.start_rollout(spec("3.2"))
    world.until("STEP")
    driver = world.controller._driver
    driver._unacknowledged["churn"] = 50
    before = len(world.journal.entries("churn"))
    for gateways in ({"a": 49}, {"a": 50, "b": 49}):
        driver.acknowledge("churn", gateways)
        assert driver._unacknowledged == {"churn": 50}
    driver.acknowledge("churn", {"a": 50, "b": 51})
    assert driver._unacknowledged == {}
    last = world.journal.entries("churn")[-1]
    assert (last.kind, last.epoch, last.note) == (Kind.STEP_APPLIED, 50, "2 gateways have epoch 50")
    driver.acknowledge("churn", {"a": 99})
    assert len(world.journal.entries("churn")) == before + 1, "once"


def test_a_promotion_remembers_the_version_before_and_until_when_it_is_kept(world):
    world.controller.start_rollout(spec("3.2"))
    world.until("STEP")
    now_s = world.clock.wall_s()
    world.controller.command(RolloutCommand("churn", "promote"))
    (kept,) = record(world).retiring
    assert (kept.version.version, kept.until_s) == ("3.1", now_s + ANALYSIS.keep_stable_s)
    assert record(world).previous == "3.1"
    world.seconds(int(ANALYSIS.keep_stable_s) + 2)
    assert record(world).retiring == ()
    assert any(entry.kind is Kind.RETIRED for entry in world.journal.entries("churn"))
    assert "3.1 is no longer kept warm" in [entry.note for entry in world.journal.entries("churn")]


def test_a_rollout_that_is_over_starts_the_one_that_waits(world):
    world.controller.start_rollout(spec("3.2"))
    world.until("STEP")
    number = record(world).rollout.number
    world.controller.start_rollout(spec("3.3"))
    assert record(world).queued == Queued(spec("3.3"))
    assert canary.phase(record(world).rollout.state) is Phase.ROLLING_BACK
    assert record(world).rollout.rollback_reason == "superseded by 3.3"
    world.seconds(15)
    assert record(world).rollout.spec.version.version == "3.3"
    assert record(world).rollout.number > number
    assert record(world).queued is None
    assert record(world).latched == (), "it made way, and was not bad"


def test_rollbacks_are_counted_by_guard(world):
    world.controller.start_rollout(spec("3.2"))
    world.until("STEP")
    world.controller.command(RolloutCommand("churn", "abort"))
    assert world.controller._driver.rollbacks == {("churn", "operator"): 1}
    world.seconds(15)
    assert world.controller._driver.rollbacks == {("churn", "operator"): 1}, "its further phases are no rollbacks"
    assert len(record(world).latched) == 1


@pytest.mark.parametrize("is_told", [True, False])
def test_the_first_weight_chooses_the_salt_that_gateways_found_best(world, is_told):
    world.controller.start_rollout(spec("3.2"))
    started = record(world).rollout
    base = started.salt
    weights = 3
    if is_told:
        even, skew = [400, 200, 40, 4], [900, 800, 160, 16]
        rows = [skew * weights] * 256
        rows[7] = [200, 100, 20, 2, 500, 250, 50, 5, 970, 485, 97, 10]
        rows[9] = even * weights
        told = SaltScores(base, (1_000, 500, 100, 10), (1_000, 500, 100, 10), tuple(map(tuple, rows)))
        world.controller._monitor._salts["churn"] = {"g": told}
    world.until("STEP")
    chosen = record(world).rollout
    assert chosen.salt == (f"{base}.7" if is_told else base)
    assert len(chosen.gaps) == (weights if is_told else 0)


def test_gateways_ahead_of_the_journal_end_what_is_under_way_and_are_followed(world):
    world.controller.start_rollout(spec("3.2"))
    world.until("STEP")
    driver, store = world.controller._driver, world.controller._store
    known = world.journal.epoch
    driver.distrust_journal(known + 500)
    assert canary.phase(record(world).rollout.state) is Phase.ROLLING_BACK
    assert f"gateways have table {known + 500:,}" in record(world).rollout.rollback_reason
    assert store.epoch > known + 500
    assert record(world).latched == (), "that is no fault of the version"
    assert driver.rollbacks == {("churn", "journal"): 1}


def test_a_stable_endpoint_is_left_alone_by_a_lost_journal(world):
    before = record(world)
    world.controller._driver.distrust_journal(10_000)
    assert record(world) == before


def test_a_deployment_that_failed_ends_its_own_rollout_alone(world):
    world.controller.start_rollout(spec("3.2"))
    world.controller._driver.deploy_failures = {version("9.9").app_name: "deploy: no"}
    world.controller._driver.tick("churn", world.clock.monotonic_s())
    assert canary.phase(record(world).rollout.state) is not Phase.ROLLING_BACK
    world.controller._driver.deploy_failures = {version("3.2").app_name: "deploy: no"}
    for _ in range(2):
        world.controller._driver.tick("churn", world.clock.monotonic_s())
    assert record(world).rollout.rollback_reason == "deploy: no"


def test_time_alone_is_not_written(world):
    world.controller.start_rollout(spec("3.2", analysis=msgspec.structs.replace(ANALYSIS, min_dwell_s=50)))
    world.until("STEP")
    world.seconds(2)
    before, generation = len(world.journal.entries("churn")), record(world).generation
    world.seconds(5)
    assert len(world.journal.entries("churn")) == before
    assert record(world).generation == generation
    assert record(world).rollout.state.timer.elapsed_s > 3
