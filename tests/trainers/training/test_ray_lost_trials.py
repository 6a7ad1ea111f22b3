"""Errors of Ray that Ray Tune does not know end one trial, not the search."""

import pickle
from types import SimpleNamespace

import pytest
from ray.air.execution._internal.actor_manager import RayActorManager
from ray.exceptions import NodeDiedError, OutOfMemoryError, RayActorError, RayTaskError

from trainers.training.ray_deaths import death_of
from trainers.training.ray_lost_trials import TrialLostError, as_death, outlive_lost_trials

KILLED = "1 worker(s) were killed due to the node running low on memory. (pid=7, ip=10.0.0.1)"


def told(error):
    """What Tune's manager tells of a task that failed: first of its actor, then of the task."""
    outlive_lost_trials()
    outlive_lost_trials()  # a second search of the process
    heard = []
    actor = SimpleNamespace(actor_id=1, _on_error=lambda _, told: heard.append(told))
    task = SimpleNamespace(_tracked_actor=actor, _on_error=lambda _, told: heard.append(told))
    manager = RayActorManager.__new__(RayActorManager)
    manager._failed_actor_ids = set()
    manager._cleanup_actor = lambda tracked_actor: heard.append("cleaned up")
    manager._actor_task_failed(tracked_actor_task=task, exception=error)
    return heard


@pytest.mark.parametrize(
    ("error", "what"),
    [
        (OutOfMemoryError(KILLED), "process 7 on 10.0.0.1 was stopped, as its machine ran out of memory"),
        (NodeDiedError("it left"), "the machine of a process has left the cluster"),
    ],
)
def test_a_process_that_ray_stopped_is_a_death_of_its_trial(error, what):
    cleaned, of_actor, of_task = told(error)
    assert cleaned == "cleaned up"
    assert of_actor is of_task
    written = pickle.loads(pickle.dumps(of_task))
    assert isinstance(written, TrialLostError)
    assert (written.kind, str(written)) == (type(error).__name__, str(error))
    assert death_of(written.kind, str(written)).what == what


def test_errors_that_tune_knows_stay_as_they_are():
    died = RayActorError(error_msg="it died")
    assert told(died) == ["cleaned up", died, died]
    raised = RayTaskError("train", "a traceback", ValueError("no"))
    assert told(raised) == [raised]
    assert as_death(ValueError("no")).args == ("no",)
