"""A home with raw data, and whole runs in this process: all but Ray and the gateway is real."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from pathlib import Path

import msgspec

from divisions.artifacts.local import local_bundle
from divisions.clock import ManualClock
from divisions.errors import OnlineStoreError
from divisions.online_store import OnlineStoreReader, online_store_path
from divisions.pipeline.definition import (
    DRIFT_GATE,
    Comparison,
    DataPrep,
    Deployment,
    Gate,
    Model,
    ModelKind,
    Pipeline,
    Serving,
    Training,
    Validation,
)
from divisions.registry import Registry
from divisions.settings import Settings
from tests.trainers.churn import FEATURES, HYPERPARAMS
from trainers.run import PipelineRun, RunRequest
from trainers.training.compute import InProcess


def artifact(registry, run_id, name):
    """The text of a file of a run's validation."""
    return Path(registry._client.download_artifacts(run_id, f"validation/{name}")).read_text()


def details(registry, run_id):
    return msgspec.json.decode(artifact(registry, run_id, "details.json"))


AUC_GATE = Gate("auc", Comparison.GREATER, 0.7)


class RecordingProgress:
    """A `Progress` that keeps what it is told."""

    def __init__(self):
        self.done, self.failed, self.notices, self.epochs = [], [], [], 0

    def step_started(self, name): ...

    def step_finished(self, name, seconds, detail):
        self.done.append(name.split(" of ")[0])

    def step_failed(self, name, seconds):
        self.failed.append(name.split(" of ")[0])

    def epoch_finished(self, epoch, num_epochs, metrics):
        self.epochs += 1

    def notice(self, text):
        self.notices.append(text)


class Place:
    """One home with its raw data."""

    def __init__(self, folder, epochs=12):
        self.folder = folder
        self.epochs = epochs
        self.settings = Settings(home=folder / "home")
        self.registry = Registry(self.settings.home)
        self.progress = RecordingProgress()
        self.clock = ManualClock()

    def folder_of(self, version):
        """The bundle's folder on this machine."""
        return local_bundle(self.settings.home, version.bundle_path)

    def write(self, day, frame):
        partition = self.folder / "raw" / f"partition={day}"
        partition.mkdir(parents=True, exist_ok=True)
        frame.to_parquet(partition / "events.parquet")

    def run(
        self,
        day,
        gates=(AUC_GATE, DRIFT_GATE),
        gateway_url="",
        serving=None,
        features=FEATURES,
        on_unknown=None,
        hyperparams=None,
        trials=1,
        budget_s=1800.0,
        compute=None,
    ):
        self.progress = RecordingProgress()
        pipeline = Pipeline(
            name="customer-churn-v3",
            data_prep=DataPrep(input=f"{self.folder}/raw/partition=${{today}}"),
            deployment=Deployment(endpoint="churn"),
            training=Training(
                hyperparams=hyperparams or replace(HYPERPARAMS, epochs=self.epochs, learning_rate=0.01),
                trials=trials,
                budget_s=budget_s,
            ),
            validation=Validation(gates=gates, on_unknown=on_unknown),
            features=features,
            model=Model(major=3, kind=hyperparams.kind if hyperparams else ModelKind.MLP),
            serving=serving or Serving(),
        )
        request = RunRequest(
            pipeline, "pipeline: customer-churn-v3", dt.date.fromisoformat(day), gateway_url=gateway_url
        )
        run = PipelineRun(self.settings, self.registry, compute or InProcess(), self.progress, self.clock)
        return run.run(request)

    def stored(self, customer):
        try:
            return OnlineStoreReader(online_store_path(self.settings.home), "churn").get(customer)
        except OnlineStoreError:  # nobody is stored
            return None
