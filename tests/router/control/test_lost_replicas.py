"""Replicas whose channels broke: lost for all only if they are silent as well."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from router.control.lost_replicas import GRACE_S, SILENT_S, LostReplicas


def decided_at(heard_s: list[float], reported_s: float) -> float | None:
    """When the replica is taken as lost; None if it is found alive. Heartbeats come at ``heard_s``."""
    replicas = LostReplicas()
    beats = sorted(heard_s)
    now_s = reported_s
    while True:
        while beats and beats[0] <= now_s:
            replicas.heard("r", beats.pop(0))
        lost, wait_s = replicas.judge(["r"], reported_s, now_s)
        if lost:
            return now_s
        if not wait_s:
            return None
        now_s += wait_s


@given(st.floats(0.0, 1.0), st.floats(0.0, 30.0))
def test_a_node_that_dies_is_lost_to_all_within_two_seconds(since_beat_s, idle_s):
    """Its channels break at once, or after `divisions.silence.LOST_AFTER_S` of silence."""
    died_s = 100.0
    for reported_s in (died_s, died_s + 1.2 + idle_s):
        at_s = decided_at([died_s - since_beat_s], reported_s)
        assert at_s is not None
        assert at_s <= reported_s + SILENT_S + 1e-6
        assert at_s >= reported_s + GRACE_S


@given(st.floats(0.0, 0.99))
def test_a_gateway_that_is_cut_off_costs_nobody_else_a_replica(phase_s):
    assert decided_at([99.0 + phase_s, 100.0 + phase_s, 101.0 + phase_s], 100.0) is None


def test_heartbeats_that_wait_behind_the_report_count():
    """The controller was stopped for ten seconds; the report is read first."""
    assert decided_at([90.0, 100.0 + GRACE_S / 2], 100.0) is None


def test_one_that_this_controller_has_never_heard_is_not_judged():
    assert LostReplicas().judge(["r"], 100.0, 200.0) == ([], 0.0)


def test_it_waits_for_the_slowest():
    replicas = LostReplicas()
    replicas.heard("a", 90.0)
    replicas.heard("b", 99.9)
    assert replicas.judge(["a", "b"], 100.0, 100.0 + GRACE_S) == (["a"], 99.9 + SILENT_S - (100.0 + GRACE_S))


def test_old_ones_are_forgotten():
    replicas = LostReplicas()
    replicas.heard("a", 0.0)
    replicas.prune(59.0)
    assert replicas.judge(["a"], 59.0, 61.0)[0] == ["a"]
    replicas.prune(61.0)
    assert replicas.judge(["a"], 59.0, 61.0) == ([], 0.0)
