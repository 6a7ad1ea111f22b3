"""Replicas by their heartbeats: ready, lost, forgotten; and never lost because the controller was away."""

import msgspec
import pytest

from divisions.control import ReplicaAddress
from router.control.replica_register import FORGOTTEN_AFTER_S, LOST_AFTER_S, MAX_GAP_S, ReplicaRegister

A = ReplicaAddress("a", "m-v1", "here", "/a.sock", "", 8)
B = ReplicaAddress("b", "m-v1", "here", "/b.sock", "", 8)
OTHER = ReplicaAddress("c", "m-v2", "here", "/c.sock", "", 8)


def silent(register, seconds):
    """Ticks once a second without heartbeats; returns how often a replica was lost."""
    start_s = register._ticked_s or 0.0
    return sum(register.tick(start_s + second) for second in range(1, seconds + 1))


@pytest.fixture
def register():
    register = ReplicaRegister()
    for address in (B, A, OTHER):
        register.heartbeat(address)
    register.tick(0.0)
    return register


def test_replicas_of_a_version_are_in_a_fixed_order(register):
    assert register.ready("m-v1") == (A, B)
    assert register.known() == (A, B, OTHER)
    assert register.ready("none") == ()


def test_only_a_heartbeat_that_changes_the_routes_is_a_change(register):
    assert not register.heartbeat(A)
    assert register.heartbeat(msgspec.structs.replace(A, unix_path="/moved.sock"))
    assert register.heartbeat(ReplicaAddress("new", "m-v1", "here", "/n.sock", "", 8))
    silent(register, 7)
    assert register.heartbeat(A), "it was lost, and is back"


def test_a_replica_is_lost_after_three_heartbeats_and_that_is_told_once(register):
    assert silent(register, int(LOST_AFTER_S)) == 0
    assert register.is_ready("a")
    assert silent(register, 1) == 1
    assert not register.is_ready("a")
    assert silent(register, 3) == 0
    assert register.ready("m-v1") == ()


def test_lost_replicas_are_routed_to_while_no_other_answers(register):
    silent(register, 7)
    assert register.routable("m-v1") == (A, B)
    register.heartbeat(B)
    assert register.routable("m-v1") == (B,)


def test_a_replica_is_forgotten_after_a_minute(register):
    silent(register, int(FORGOTTEN_AFTER_S))
    assert register.known() == (A, B, OTHER)
    silent(register, 1)
    assert register.known() == register.routable("m-v1") == ()


def test_a_controller_that_was_stopped_loses_nobody(register):
    assert not register.tick(1_000.0)
    assert not register.tick(1_000.0 + LOST_AFTER_S - MAX_GAP_S)
    assert register.ready("m-v1") == (A, B)
    assert not any(register.tick(500.0 - second) for second in range(20)), "a clock that steps back ages no replica"
    assert register.ready("m-v1") == (A, B)


def test_the_first_tick_ages_no_replica():
    register = ReplicaRegister()
    register.heartbeat(A)
    for second in range(7):
        register.tick(100.0 + second)
    assert register.is_ready("a")
    register.tick(107.0)
    assert not register.is_ready("a")


def test_an_application_that_was_stopped_is_dropped_with_its_count(register):
    register.heartbeat(ReplicaAddress("a2", "m-v1", "here", "/a2.sock", "", 8))
    assert register.num_ever("m-v1") == 3
    register.forget("m-v1")
    assert register.known() == (OTHER,)
    assert register.num_ever("m-v1") == 0
    assert register.num_ever("m-v2") == 1


def test_a_replica_that_gateways_have_lost_is_not_ready_until_its_next_heartbeat(register):
    assert register.lose("a")
    assert not register.is_ready("a")
    assert register.ready("m-v1") == (B,)
    assert not register.lose("a"), "nothing changes any more"
    assert not register.lose("unknown")
    assert register.heartbeat(A), "it is back"
    assert register.ready("m-v1") == (A, B)


def test_the_last_replica_is_routed_to_even_if_it_was_lost(register):
    assert register.lose("a")
    assert register.lose("b")
    assert register.routable("m-v1") == (A, B)


def address(number):
    return ReplicaAddress(f"m-v1#{number}", "m-v1", "n", f"/{number}", "", 8)


def test_a_replica_that_leaves_is_neither_ready_nor_routed_to_whatever_it_still_sends():
    register = ReplicaRegister()
    for number in (1, 2):
        register.heartbeat(address(number))
    assert register.leave("m-v1#1")
    assert not register.leave("m-v1#1")
    assert not register.leave("m-v1#9")
    assert not register.heartbeat(address(1))
    assert register.ready("m-v1") == register.routable("m-v1") == (address(2),)
    assert register.is_leaving("m-v1#1")
    register.leave("m-v1#2")
    assert register.routable("m-v1") == ()


def test_a_replica_that_left_counts_as_no_restart():
    register = ReplicaRegister()
    for number in (1, 2, 3):
        register.heartbeat(address(number))
    register.leave("m-v1#3")
    assert register.num_ever("m-v1") == 2
