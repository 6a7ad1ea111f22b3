"""What is read for the page: runs with curves, deployments with steps. What cannot change is read once."""

from __future__ import annotations

import msgspec
import pytest

from deploy.shipping.deployments import DeploymentJournal
from deploy.shipping.release import Ending, Release, Step
from divisions.clock import ManualClock
from divisions.errors import RegistryError
from divisions.run_log import log_path
from divisions.versions import REGISTERED_FROM, RunRecord
from router.control.house_sources import MOST_STEPS, DeploymentReader, RunReader
from router.house.tables import MOST_CURVES, MOST_RUNS

RELEASE = Release("m", "3.2", "churn", "bundle:ab", "ab", "churn", "cd")


class Registry:
    """Runs in memory; counts what it is asked for."""

    def __init__(self) -> None:
        self.runs = [
            RunRecord(f"run-{number}", "n", "p", "FINISHED", 9.0 - number, 10.0, {}, {"loss": 0.1, "auc": 0.9}, {})
            for number in range(10)
        ]
        self.asked: list[tuple[str, str]] = []
        self.is_away = False

    def list_runs(self, pipeline, most):
        if self.is_away:
            raise RegistryError("the registry is away")
        assert (pipeline, most) == (None, MOST_RUNS)
        return list(self.runs)

    def metric_history(self, run_id, name):
        self.asked.append((run_id, name))
        return [(2, 0.3), (1, 0.5), (2, 0.2), (3, float("nan"))] if name == "loss" else [(0, 0.9)]


def test_runs_come_with_curves_in_order_and_those_that_ended_are_read_once(tmp_path):
    registry = Registry()
    registry.runs[0] = msgspec.structs.replace(registry.runs[0], ended_at_s=0.0, status="RUNNING")
    reader = RunReader(registry, tmp_path)
    found = reader()
    assert len(found["latest_runs"]) == 10
    assert found["curves"]["run-0"] == {"loss": [(1, 0.5), (2, 0.2)]}, "one value is no curve; of a step, the last"
    assert len(found["curves"]) == MOST_CURVES
    assert found["run_steps"] == ()
    registry.asked.clear()
    assert reader()["curves"] == found["curves"]
    assert {run_id for run_id, _ in registry.asked} == {"run-0"}, "only the one that goes on"


def test_the_steps_are_not_those_of_a_registration_of_an_old_bundle(tmp_path):
    registry = Registry()
    registry.runs[0] = msgspec.structs.replace(registry.runs[0], tags={REGISTERED_FROM: "3.1"})
    path = log_path(tmp_path, "run-1")
    path.parent.mkdir(parents=True)
    path.write_text("2026-11-27 02:00:01 Train ...\n")
    assert [step.name for step in RunReader(registry, tmp_path)()["run_steps"]] == ["Train"]


def test_the_steps_are_those_of_the_newest_runs_log(tmp_path):
    path = log_path(tmp_path, "run-0")
    path.parent.mkdir(parents=True)
    path.write_bytes(b"\xff" * 100_000 + b"\n2026-11-27 02:00:01 Train ...\n")
    (step,) = RunReader(Registry(), tmp_path)()["run_steps"]
    assert (step.name, step.ended_s) == ("Train", None)


def test_a_registry_that_is_away_is_the_keepers_to_tell(tmp_path):
    registry = Registry()
    registry.is_away = True
    with pytest.raises(RegistryError):
        RunReader(registry, tmp_path)()


def test_a_home_without_deployments_has_none_and_gets_no_file(tmp_path):
    assert DeploymentReader(tmp_path)() == {"deployments": ()}
    assert list(tmp_path.iterdir()) == []


def test_a_deployment_is_under_way_while_its_process_holds_the_lock(tmp_path):
    clock = ManualClock()
    journal, reader = DeploymentJournal(tmp_path, clock), DeploymentReader(tmp_path)
    with journal.locked("local"):
        number, _ = journal.begin("local", RELEASE, "ann")
        journal.step_began(number, Step("push", "Push it"))
        (row,) = reader()["deployments"]
        assert (row.is_under_way, row.ending, row.who, row.steps[0].title, row.steps[0].ended_s) == (
            True, "", "ann", "Push it", None
        )  # fmt: skip
    (row,) = reader()["deployments"]
    assert row.is_under_way is False, "the process is gone, and the file has not changed"
    with journal.locked("local"):
        journal.step_ended(number, Step("push", "Push it"), error="https://u:hunter2@registry refuses")
        journal.end(number, Ending.PROMOTED)
        (row,) = reader()["deployments"]
        assert (row.is_under_way, row.ending, row.steps[0].error) == (False, "promoted", "https://…@registry refuses")


def test_of_unfinished_deployments_only_the_newest_can_be_under_way(tmp_path):
    journal = DeploymentJournal(tmp_path, ManualClock())
    first, _ = journal.begin("local", RELEASE, "ann")
    other = Release("m", "3.3", "churn", "bundle:cd", "cd", "churn", "cd")
    with journal.locked("local"):
        second, _ = journal.begin("local", other, "ann")
        for number in range(MOST_STEPS + 5):
            journal.step_began(second, Step(f"s{number}", "step"))
        newest, oldest = DeploymentReader(tmp_path)()["deployments"]
    assert (newest.number, newest.is_under_way, len(newest.steps), newest.steps[-1].name) == (
        second, True, MOST_STEPS, f"s{MOST_STEPS + 4}"
    )  # fmt: skip
    assert (oldest.number, oldest.is_under_way) == (first, False)
