"""What a worker leaves for a run that is started again: of trees, one checkpoint with the whole model."""

from types import SimpleNamespace

import numpy as np
import torch

from divisions.artifacts.work_store import open_work_store
from divisions.pipeline.definition import BoostingHyperparams
from divisions.settings import Settings
from tests.trainers.churn import SCHEMA, rows_and_labels, training_data
from trainers.training import kinds, ray_worker
from trainers.training.capacity import Allotment
from trainers.training.checkpoints import Checkpoints
from trainers.training.device_use import DeviceUse
from trainers.training.loop import told_epochs
from trainers.training.ray_worker import Job, Place, RunLog, StoredTask, learn
from trainers.training.training_rows import store_rows

HYPERPARAMS = BoostingHyperparams(epochs=30, learning_rate=0.2, patience=3)
ONE = Allotment(1.0, 0.0, None, 0.0, 1)


class LogHandle:
    """The handle of a `RunLog` that is in this process."""

    def __init__(self):
        self.log = RunLog()

    def __getattr__(self, name):
        return SimpleNamespace(remote=getattr(self.log, name))


def test_trees_are_one_checkpoint_that_holds_the_model_and_its_epochs(tmp_path, monkeypatch):
    monkeypatch.setattr(ray_worker, "ray", SimpleNamespace(get=lambda value: value))
    monkeypatch.setattr(ray_worker, "lower_priority", lambda: None)
    monkeypatch.setattr(ray_worker.os, "umask", lambda mask: 0)
    settings = Settings(home=tmp_path / "home")
    store = open_work_store(settings)
    stored = store_rows(training_data(), store, "churn", tmp_path / "rows")
    task = StoredTask(settings, SCHEMA, stored, HYPERPARAMS)
    handle = LogHandle()
    learn(Job(task, task.folder(ONE), handle, num_threads=1), Place(torch.device("cpu")))
    checkpoints = Checkpoints(store, task.folder(ONE))
    assert handle.log.error() is None
    assert len(checkpoints.names()) == 1
    newest = checkpoints.newest()
    assert newest.epoch == HYPERPARAMS.epochs - 1  # a run that goes on takes it, and trains no more
    state = checkpoints.load(newest)
    *epochs, use = handle.log.since(0)
    assert told_epochs(state) == [(one.epoch, one.metrics) for one in epochs]
    assert use == DeviceUse("CPU", "")
    assert len(told_epochs(state)) < HYPERPARAMS.epochs
    expected = kinds.train(SCHEMA, training_data(), HYPERPARAMS, lambda *_: None)
    rows, _ = rows_and_labels(50, seed=8)
    restored = kinds.restore(SCHEMA, HYPERPARAMS, state)
    np.testing.assert_array_equal(restored.logits(rows), expected.logits(rows))
