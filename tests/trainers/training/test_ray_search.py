"""The parts of a search on Ray Tune that need no cluster; `tests/e2e/test_trainers.py` has the rest."""

import pickle
import signal
import threading
import time

import pytest
from ray.exceptions import RayActorError, RayTaskError
from ray.tune.execution import class_cache
from ray.tune.experiment.trial import Trial

from divisions.errors import TrainingError
from trainers.training.capacity import Allotment
from trainers.training.ray_lost_trials import TrialLostError, outlive_lost_trials
from trainers.training.ray_search import Room, _End, _fit, _resources, reason_of


def test_all_trials_stop_at_the_deadline_or_when_the_run_is_interrupted():
    assert _End(time.monotonic() - 1.0).stop_all()
    end = _End(time.monotonic() + 1e6)
    assert not end.stop_all()
    assert not end("a trial", {"valid_loss": 9.0})
    end.is_over = True
    assert end.stop_all()
    assert pickle.loads(pickle.dumps(end)).stop_all(), "Tune writes it to its files"


class Tuner:
    """Stands for Ray Tune's: it takes a while to stop its trials when it is told to."""

    def __init__(self, end, begin):
        self.end = end
        self.begin = begin
        self.has_stopped = False

    def fit(self):
        self.begin()
        while not self.end.stop_all():
            threading.Event().wait(0.01)
        threading.Event().wait(0.2)
        self.has_stopped = True


def test_an_interrupt_waits_until_all_trials_have_stopped():
    before = signal.getsignal(signal.SIGINT)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    end = _End(time.monotonic() + 60.0)
    tuner = Tuner(end, lambda: signal.raise_signal(signal.SIGINT))
    try:
        with pytest.raises(KeyboardInterrupt):
            _fit(tuner, end)
    finally:
        signal.signal(signal.SIGINT, before)
    assert tuner.has_stopped


def test_a_search_ends_with_its_budget_and_with_the_failure_of_tune():
    end = _End(time.monotonic() - 1.0)
    tuner = Tuner(end, lambda: None)
    _fit(tuner, end)
    assert tuner.has_stopped
    with pytest.raises(TrainingError, match="the search ended: ZeroDivisionError: division by zero"):
        _fit(Tuner(end, lambda: 1 / 0), end)


def test_a_trial_gets_what_the_stage_gets_on_the_only_node():
    wanted = _resources(Room(Allotment(2.0, 0.5, "T4", 4.0, 1), 3, "a-node"))
    assert wanted.bundles == [{"CPU": 2.0, "GPU": 0.5, "memory": 4 * 1024**3, "accelerator_type:T4": 0.001}]
    assert wanted._kwargs == {"bundle_label_selector": [{"ray.io/node-id": "a-node"}]}
    anywhere = _resources(Room(Allotment(1.0, 0.0, None, 0.0, 1), 3))
    assert (anywhere.bundles, anywhere._kwargs) == ([{"CPU": 1.0}], {})


def test_the_keys_of_the_account_are_not_written_into_the_environment_of_trials():
    assert not [name for name in class_cache.ENV_VARS_TO_PROPAGATE if name.startswith("AWS_")]


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (RayTaskError("train", "a traceback", TrainingError("it diverged", remedy="no")), "it diverged"),
        (RayTaskError("train", "a traceback", ValueError("odd\nlines")), "ValueError: odd"),
        (RayActorError(error_msg="(pid=7, ip=10.0.0.1)"), "process 7 on 10.0.0.1 was killed, or it crashed"),
        (
            TrialLostError("OutOfMemoryError", "(pid=7, ip=10.0.0.1)"),
            "process 7 on 10.0.0.1 was stopped, as its machine ran out of memory",
        ),
    ],
)
def test_the_reason_of_a_failure_is_one_line(monkeypatch, error, reason):
    outlive_lost_trials()
    monkeypatch.setattr(Trial, "local_path", "")  # it would write files
    trial = Trial("churn", stub=True)
    assert reason_of(trial) == "see ray-messages.log"
    trial.handle_error(error)
    assert reason_of(trial) == reason
    assert trial.run_metadata.num_failures == 1, "Tune handles it, too"
    assert reason_of(trial) == "see ray-messages.log", "it is told once"
