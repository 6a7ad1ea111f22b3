"""Rows of ``divisions status``: what each replica is, and how often it was replaced."""

import pytest

from divisions.analysis_spec import AnalysisSpec
from divisions.control import Placement, ReplicaAddress
from router.control import routing
from router.control.replica_register import LOST_AFTER_S, ReplicaRegister
from router.rollouts import canary, records
from tests.router.rollout_world import spec, version

V = version("3.1")


def registered(*names, silent_s=0.0):
    register = ReplicaRegister()
    for name in names:
        register.heartbeat(ReplicaAddress(name, V.app_name, "node", "/r.sock", "10.0.0.1:7000", 8, started_at_s=100.0))
    register.tick(0.0)
    for second in range(1, int(silent_s) + 1):
        register.tick(float(second))
    return register


def rows(register, wanted=True):
    return routing.replica_statuses([], {V.app_name: V} if wanted else {}, register, 160.0)


@pytest.mark.parametrize(("replicas", "restarts"), [(1, 0), (2, 0), (3, 1), (5, 3)])
def test_replicas_beyond_those_that_are_wanted_are_restarts(replicas, restarts):
    found = rows(registered(*map(str, range(replicas))))
    assert {row.restarts for row in found} == {restarts}


def test_a_row_says_where_and_for_how_long():
    (row,) = rows(registered("a"))
    assert (row.name, row.ready, row.status, row.node, row.ip) == ("a", True, "Running", "node", "10.0.0.1")
    assert (row.age_s, row.version, row.role, row.weight_bp) == (60.0, "3.1", "warm", 0)


def test_a_replica_that_nobody_wants_is_terminating_and_gone_when_silent():
    (row,) = rows(registered("a"), wanted=False)
    assert (row.status, row.role, row.version, row.restarts) == ("Terminating", "idle", "3.1", 0)
    assert rows(registered("a", silent_s=LOST_AFTER_S + 1), wanted=False) == ()
    (lost,) = rows(registered("a", silent_s=LOST_AFTER_S + 1))
    assert (lost.ready, lost.status) == (False, "Lost")


@pytest.mark.parametrize(("num_gateways", "wanted"), [(0, 1), (1, 1), (4, 4)])
def test_a_version_that_gateways_run_wants_one_engine_in_each(num_gateways, wanted):
    hosted = version("3.1", placement=Placement.IN_PROCESS)
    assert routing.capacity(hosted, ReplicaRegister(), num_gateways).wanted == wanted
    assert routing.capacity(V, registered("a"), num_gateways) == routing.Capacity(1, 2)
    assert routing.hosted({"b": hosted, "a": V}) == (hosted,)


def test_a_version_that_never_had_a_replica_says_why_and_has_no_traffic():
    other = version("3.2")
    known, failing = routing.replica_statuses(
        [], {V.app_name: V, other.app_name: other}, registered("a"), 160.0, {other.app_name: "no such file"}
    )
    assert known.status == "Running"
    assert (failing.name, failing.ready, failing.status, failing.reason) == (
        other.app_name, False, "Failing", "no such file",
    )  # fmt: skip
    assert (failing.restarts, failing.age_s, failing.weight_bp, failing.pid, failing.node) == (0, 0.0, 0, 0, "")


@pytest.mark.parametrize(("reasons", "told"), [({}, routing._SILENT), ({V.app_name: "out of memory"}, "out of memory")])
def test_a_replica_that_is_lost_says_why_as_far_as_it_is_known(reasons, told):
    register = registered("a", silent_s=LOST_AFTER_S + 1)
    (lost,) = routing.replica_statuses([], {V.app_name: V}, register, 160.0, reasons)
    assert lost.reason == told
    (ready,) = routing.replica_statuses([], {V.app_name: V}, registered("a"), 160.0, reasons)
    assert ready.reason == ""


@pytest.mark.parametrize(
    ("state", "is_compared"), [(canary.Stepping(0, canary.Timer(0.0)), True), (canary.Promoted(), False)]
)
def test_gateways_warm_replicas_up_as_long_as_versions_are_compared(state, is_compared):
    analysis = AnalysisSpec(warmup_s=7.0, warmup_requests=11)
    first = records.begun(None, spec("3.1"), salt="s", is_direct=False, at_s=1.0, now_s=1.0)
    first = records.moved(first, canary.Promoted(), 2.0, "serves")
    begun = records.begun(first, spec("3.2", analysis=analysis), salt="s", is_direct=False, at_s=5.0, now_s=5.0)
    (route,) = routing.endpoints({"churn": records.moved(begun, state, 6.0, "")}, ReplicaRegister())
    assert (route.warmup_s, route.warmup_requests) == ((7.0, 11) if is_compared else (0.0, 0))
