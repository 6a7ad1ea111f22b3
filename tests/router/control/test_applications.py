"""What runs is made equal to what should run, and the registry is told; both go on after failures."""

import asyncio

import msgspec

from divisions.control import ReplicaAddress
from divisions.errors import BundleError
from router.control.applications import FOREIGN, ApplicationState, Reconciler
from router.control.registry_projection import Projector
from router.control.replica_register import FORGOTTEN_AFTER_S, LOST_AFTER_S, ReplicaRegister
from tests.router.control_doubles import FakeApplications, FakeProjection
from tests.router.rollout_world import version

V1, V2 = version("3.1"), version("3.2")


def reconcile(reconciler, *versions):
    return asyncio.run(reconciler.reconcile({wanted.app_name: wanted for wanted in versions}))


def test_what_is_missing_is_started_once():
    applications = FakeApplications()
    reconciler = Reconciler(applications, set())
    reconcile(reconciler, V1)
    reconcile(reconciler, V1, V2)
    assert applications.started == [V1.app_name, V2.app_name]


def test_what_is_no_longer_wanted_is_stopped_and_strangers_are_left_alone():
    applications = FakeApplications()
    applications.states["divisions-gateway"] = ApplicationState("RUNNING")
    reconciler = Reconciler(applications, set())
    reconcile(reconciler, V1, V2)
    assert reconcile(reconciler, V2) == [V1.app_name]
    assert set(applications.states) == {"divisions-gateway", V2.app_name}


def test_an_application_of_others_with_the_name_of_ours_is_neither_used_nor_stopped():
    applications = FakeApplications()
    applications.states[V1.app_name] = ApplicationState(FOREIGN)
    reconciler = Reconciler(applications, {V1.app_name})
    assert reconcile(reconciler, V1) == []
    assert "somebody else runs an application" in reconciler.failures[V1.app_name]
    assert reconcile(reconciler) == []
    assert applications.started == applications.stopped == []


def test_after_a_restart_running_versions_are_taken_over_and_leftovers_stopped():
    applications = FakeApplications()
    reconcile(Reconciler(applications, set()), V1, V2)
    reconcile(Reconciler(applications, {V1.app_name, V2.app_name}), V2)
    assert applications.started == [V1.app_name, V2.app_name]
    assert applications.stopped == [V1.app_name]


def test_another_spec_under_the_same_name_replaces_what_runs():
    applications = FakeApplications()
    reconciler = Reconciler(applications, set())
    reconcile(reconciler, V1)
    changed = msgspec.structs.replace(V1, num_cpus=2.0)
    reconcile(reconciler, changed)
    reconcile(reconciler, changed)
    reconcile(reconciler, changed)
    assert applications.stopped == [V1.app_name]
    assert applications.started == [V1.app_name, V1.app_name]


def test_another_number_of_replicas_resizes_what_runs_and_is_tried_again():
    applications = FakeApplications()
    reconciler = Reconciler(applications, set())
    reconcile(reconciler, V1)
    assert applications.sizes == []
    applications.is_busy = True
    reconcile(reconciler, msgspec.structs.replace(V1, replicas=5))
    assert applications.sizes == []
    applications.is_busy = False
    for _ in range(2):
        reconcile(reconciler, msgspec.structs.replace(V1, replicas=5))
    assert applications.sizes == [(V1.app_name, 5)]
    assert applications.stopped == []


def test_after_a_restart_serve_is_told_the_journals_number_once():
    applications = FakeApplications()
    reconcile(Reconciler(applications, set()), V1)
    reconciler = Reconciler(applications, {V1.app_name})
    for _ in range(2):
        reconcile(reconciler, msgspec.structs.replace(V1, replicas=3))
    assert applications.sizes == [(V1.app_name, 3)]
    assert applications.stopped == []


def test_the_failed_remains_of_an_earlier_attempt_are_cleared_first():
    applications = FakeApplications()
    applications.states[V1.app_name] = ApplicationState("DEPLOY_FAILED", "old")
    reconciler = Reconciler(applications, {V1.app_name})
    reconcile(reconciler, V1)
    assert reconciler.failures == {}
    reconcile(reconciler, V1)
    assert applications.states[V1.app_name].status == "RUNNING"


def test_an_application_that_is_going_is_waited_for():
    applications = FakeApplications()
    applications.states[V1.app_name] = ApplicationState("DELETING")
    reconciler = Reconciler(applications, {V1.app_name})
    reconcile(reconciler, V1)
    assert applications.started == applications.stopped == []


def test_failures_are_reported_until_the_version_is_given_up():
    applications = FakeApplications()
    applications.refusals[V2.app_name] = BundleError("the bundle is damaged")
    reconciler = Reconciler(applications, set())
    reconcile(reconciler, V1, V2)
    assert reconciler.failures == {V2.app_name: "deploy: the bundle is damaged"}
    applications.states[V1.app_name] = ApplicationState("DEPLOY_FAILED", "no memory")
    reconcile(reconciler, V1)
    assert reconciler.failures == {V1.app_name: "deploy: no memory"}


def test_the_reason_of_each_application_that_does_not_run_is_known_and_forgotten_when_it_does():
    applications = FakeApplications()
    reconciler = Reconciler(applications, set())
    reconcile(reconciler, V1, V2)
    assert reconciler.reasons == {}
    applications.states[V1.app_name] = ApplicationState("DEPLOYING", "the bundle is not there")
    applications.states[V2.app_name] = ApplicationState("DEPLOY_FAILED", "no memory")
    reconcile(reconciler, V1, V2)
    assert reconciler.reasons == {V1.app_name: "the bundle is not there", V2.app_name: "no memory"}
    assert reconciler.failures == {V2.app_name: "deploy: no memory"}
    for name in applications.states:
        applications.states[name] = ApplicationState("RUNNING")
    reconcile(reconciler, V1, V2)
    assert reconciler.reasons == reconciler.failures == {}


def test_the_registry_is_told_again_after_a_failure_with_growing_pauses():
    projection = FakeProjection(failures=2)
    projector = Projector(projection)
    production = {V1.model: V1}
    told = [asyncio.run(projector.project(production, now_s)) for now_s in (0.0, 0.5, 1.0, 2.0, 3.0)]
    assert told == [False, False, False, False, True]
    assert projection.production == {V1.model: "3.1"}


def test_the_registry_is_told_once_per_change():
    projection = FakeProjection()
    projector = Projector(projection)
    asyncio.run(projector.project({V1.model: V1}, 0.0))
    projection.production.clear()
    asyncio.run(projector.project({V1.model: V1}, 1.0))
    assert projection.production == {}
    asyncio.run(projector.project({V1.model: V2}, 2.0))
    assert projection.production == {V1.model: "3.2"}


def address(number, pid=1):
    return ReplicaAddress(f"m-v1#{number}", "m-v1", "n", f"/{number}", "", 8, pid)


def test_a_replica_is_news_when_it_comes_moves_or_comes_back():
    register = ReplicaRegister()
    assert register.heartbeat(address(1))
    assert not register.heartbeat(address(1))
    assert register.heartbeat(address(1, pid=2))
    for second in range(10):
        register.tick(float(second))
    assert register.ready("m-v1") == ()
    assert register.heartbeat(address(1, pid=2))
    assert register.ready("m-v1") == (address(1, pid=2),)


def test_a_silent_replica_is_lost_but_routed_to_while_there_is_no_other():
    register = ReplicaRegister()
    register.heartbeat(address(1))
    register.heartbeat(address(2))
    lost = []
    for second in range(int(LOST_AFTER_S) + 3):
        register.heartbeat(address(2))
        lost.append(register.tick(float(second)))
    assert sum(lost) == 1
    assert register.routable("m-v1") == (address(2),)
    for second in range(20, 20 + int(LOST_AFTER_S) + 3):
        register.tick(float(second))
    assert register.ready("m-v1") == ()
    assert register.routable("m-v1") == (address(1), address(2))
    for second in range(40, 40 + int(FORGOTTEN_AFTER_S) + 2):
        register.tick(float(second))
    assert register.routable("m-v1") == ()


def test_a_controller_that_was_stopped_for_an_hour_loses_nobody():
    register = ReplicaRegister()
    register.heartbeat(address(1))
    register.tick(0.0)
    assert not register.tick(3_600.0)
    assert register.ready("m-v1") == (address(1),)
