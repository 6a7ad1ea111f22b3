"""After a restart: how long a table waits for replicas, and what a second of the controller does."""

from __future__ import annotations

import itertools

import pytest

from divisions.control import ReplicaAddress
from router.control.publisher import PARTIAL_RECOVERY_S, RECOVERY_S
from router.control.replica_register import FORGOTTEN_AFTER_S, LOST_AFTER_S, MAX_GAP_S, ReplicaRegister
from router.control.ticker import SNAPSHOT_S
from tests.router.rollout_world import spec, version

APP = version("3.1").app_name


def address(name: str) -> ReplicaAddress:
    return ReplicaAddress(name, APP, "node", "/r.sock", "", 8, started_at_s=0.0)


@pytest.mark.parametrize(
    ("replicas", "waited_s", "is_published"),
    [
        (2, 0.0, True),
        (1, PARTIAL_RECOVERY_S - 0.1, False),
        (1, PARTIAL_RECOVERY_S, True),
        (0, RECOVERY_S - 0.1, False),
        (0, RECOVERY_S, True),
    ],
)
def test_a_table_waits_for_all_replicas_then_for_one_and_then_no_longer(world, replicas, waited_s, is_published):
    publisher = world.controller._publisher
    publisher._register._entries.clear()
    for number in range(replicas):
        publisher._register.heartbeat(address(f"r-{number}"))
    publisher._started_s = world.clock.monotonic_s() - waited_s
    publisher.recover()
    epoch = publisher._store.epoch
    publisher.publish(is_forced=True)
    assert (publisher._store.epoch > epoch) is is_published
    assert publisher.is_recovering is not is_published


@pytest.mark.parametrize(("silent_s", "is_lost"), [(LOST_AFTER_S, False), (LOST_AFTER_S + 0.1, True)])
def test_a_replica_is_lost_after_exactly_three_heartbeats(silent_s, is_lost):
    register = ReplicaRegister()
    register.heartbeat(address("a"))
    register.tick(0.0)
    told = [register.tick(now_s) for now_s in (1.5, 3.0, 4.5, 6.0)]
    told += [register.tick(silent_s)] if silent_s > 6.0 else []
    assert any(told) is is_lost
    assert register.is_ready("a") is not is_lost


@pytest.mark.parametrize(("silent_s", "is_known"), [(FORGOTTEN_AFTER_S, True), (FORGOTTEN_AFTER_S + 1.5, False)])
def test_a_replica_is_forgotten_after_exactly_a_minute(silent_s, is_known):
    register = ReplicaRegister()
    register.heartbeat(address("a"))
    register.tick(0.0)
    for number in range(1, int(silent_s / MAX_GAP_S) + 1):
        register.tick(number * MAX_GAP_S)
    assert bool(register.known()) is is_known


def test_a_long_gap_counts_as_one_and_a_half_seconds():
    register = ReplicaRegister()
    register.heartbeat(address("a"))
    for number in range(5):
        assert not register.tick(number * 1_000.0)
    assert register.tick(5_000.0)


def test_evidence_is_saved_every_ten_seconds_of_the_controllers_clock(world):
    world.controller.start_rollout(spec("3.2"))
    world.until("STEP")
    saved = []
    analyses = world.controller._analyses
    original = analyses.save
    analyses.save = lambda record: (saved.append(world.clock.monotonic_s()), original(record))
    world.seconds(35)
    gaps = [later - earlier for earlier, later in itertools.pairwise(saved)]
    assert len(saved) >= 3
    assert set(gaps) == {SNAPSHOT_S} == {10.0}
