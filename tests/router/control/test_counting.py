"""What a cluster has beside its rollouts, counted."""

from __future__ import annotations

from pathlib import Path

import msgspec

from divisions.inventory import GpuNode, PipelineState, RunCount, VersionCount
from divisions.pipeline.trigger import CatchUp
from divisions.schedule.state import Ended, Entry, Outcome, Phase, Schedule, ScheduledRun
from divisions.versions import RegisteredVersion, ValidationStatus
from router.control import counting
from router.scaling.placement import Cluster, Node


def version(number: int, status: str = "passed", archived: bool = False, *aliases: str) -> RegisteredVersion:
    return RegisteredVersion(
        model="churn",
        version=f"3.{number}",
        registry_version=number,
        run_id="r",
        bundle_path=Path(),
        bundle_sha256="b",
        metrics={},
        validation_status=ValidationStatus(status),
        is_archived=archived,
        aliases=aliases,
        created_at_s=0.0,
    )


def test_a_version_counts_once_in_the_first_state_that_holds():
    found = [
        version(6, "pending"),
        version(5, "failed"),
        version(4, "passed", False, "staging"),
        version(3, "passed", False, "production"),
        version(2, "passed", True),
        version(1, "passed", True),
        version(0, "passed"),
    ]
    assert {(each.state, each.count) for each in counting.versions(found)} == {
        ("pending", 1),
        ("failed", 1),
        ("staging", 1),
        ("production", 1),
        ("archived", 2),
        ("passed", 1),
    }
    assert counting.versions([]) == ()
    assert counting.versions(found)[0] == VersionCount("churn", "archived", 2)


def test_runs_are_sorted_by_pipeline_and_status():
    counts = {("b", "FAILED"): 1, ("a", "RUNNING"): 2, ("a", "FINISHED"): 3}
    assert counting.runs(counts) == (
        RunCount("a", "FINISHED", 3),
        RunCount("a", "RUNNING", 2),
        RunCount("b", "FAILED", 1),
    )


ENTRY = Entry("churn", "/p.yaml", "0 2 * * *", "UTC", CatchUp.LAST, 0.0)


def state(**changes) -> PipelineState:
    return counting.pipelines(Schedule((msgspec.structs.replace(ENTRY, **changes),)), 1_000.0)[0]


def test_a_pipeline_is_active_unless_it_is_paused_or_faulty():
    assert state() == PipelineState("churn", is_active=True, is_running=False, lag_s=0.0, has_failed=False)
    assert not state(is_paused=True).is_active
    assert not state(fault="line 3: no such key").is_active


def test_what_is_overdue_is_the_oldest_run_that_has_not_begun():
    begun = ScheduledRun("j", 100.0, Phase.STARTED)
    assert state(run=begun) == PipelineState("churn", is_active=True, is_running=True, lag_s=0.0, has_failed=False)
    assert state(run=begun, waiting_s=(400.0, 700.0)).lag_s == 600.0
    taken = ScheduledRun("j", 100.0, Phase.SUBMITTED)
    assert (state(run=taken, waiting_s=(400.0,)).lag_s, state(run=taken).is_running) == (900.0, False)
    assert state(waiting_s=(2_000.0,)).lag_s == 0.0, "the clock went back"


def test_a_paused_pipeline_says_so():
    paused = state(is_paused=True)
    assert (paused.is_paused, paused.is_active) == (True, False)
    faulty = state(fault="no such file")
    assert (faulty.is_paused, faulty.is_active) == (False, False)


def test_a_pipeline_has_failed_if_its_last_run_did():
    outcomes = {outcome: state(last=Ended(0.0, outcome)).has_failed for outcome in Outcome}
    assert outcomes == {
        Outcome.SUCCEEDED: False,
        Outcome.FAILED: True,
        Outcome.LOST: True,
        Outcome.SKIPPED: False,
    }


def test_gpus_are_those_of_nodes_that_have_some():
    nodes = (Node("a", {"CPU": 4.0}, {"CPU": 1.0}), Node("b", {"GPU": 2.0}, {"GPU": 0.5}), Node("c", {"GPU": 1.0}, {}))
    assert counting.gpus(Cluster(nodes)) == (GpuNode("b", 2.0, 1.5), GpuNode("c", 1.0, 1.0))
    assert counting.gpus(None) == ()
