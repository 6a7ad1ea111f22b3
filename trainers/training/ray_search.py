"""A search on Ray Tune: trials side by side, and the worse ones stopped early by ASHA.

    candidate ──► trial, an actor of Tune's ──heard──► scheduler (ASHA) ──► go on, or stop
                                                  └──► scoreboard ──► the run

Tune's controller runs in a thread, so that Ctrl-C reaches this process's own handler: Tune would swallow it. The thread
stops all trials when the budget is over or the run is interrupted, and kills those that do not stop in 5 s.

Tune writes its state beside the configuration of each trial. So a trial's configuration is its number; settings and
rows come through the object store.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

import ray
import torch
from ray import tune
from ray.exceptions import RayError, RayTaskError
from ray.tune.execution import class_cache
from ray.tune.schedulers import ASHAScheduler

from divisions.artifacts.work_store import open_work_store
from divisions.errors import DivisionsError, TrainingError
from divisions.pipeline.definition import AnyHyperparams
from divisions.schema import FeatureSchema
from divisions.settings import PRIVATE_UMASK, Settings, node_home
from trainers.data.preparation import StoredRows
from trainers.data.working_folder import working_folder
from trainers.training.capacity import BYTES_PER_GB, Allotment
from trainers.training.model import use_threads
from trainers.training.priority import lower_priority
from trainers.training.ray_deaths import death_of, first_line
from trainers.training.ray_lost_trials import TrialLostError, error_of, outlive_lost_trials
from trainers.training.ray_messages import LOG, RayMessages
from trainers.training.ray_session import NODE_LABEL
from trainers.training.scoreboard import Heard, Scoreboard
from trainers.training.search_space import REDUCTION, first_rung
from trainers.training.training_rows import fetched_rows
from trainers.training.trial import run_trial

ENDING_S = 60.0
"""How long Tune may take to stop all trials. It gives them 5 s, then kills them."""
_POLL_S = 0.5
_NUMBER = "number"

class_cache.ENV_VARS_TO_PROPAGATE.difference_update(
    ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SECURITY_TOKEN", "AWS_SESSION_TOKEN")
)
"""Tune would write the driver's secrets into the runtime environment of each trial, which Ray keeps and lists."""


@dataclass(frozen=True, slots=True)
class SearchJob:
    """What each trial gets. Trial n trains with the n-th of the candidates."""

    settings: Settings
    schema: FeatureSchema
    rows: StoredRows
    candidates: tuple[AnyHyperparams, ...]
    num_threads: int
    device: str


@dataclass(frozen=True, slots=True)
class Room:
    """Where trials run: what each of them gets, how many may run at once, and the only node that they may be on; empty
    means any."""

    allotment: Allotment
    num_places: int
    only_node: str = ""


def search(job: SearchJob, room: Room, budget_s: float, board: Scoreboard, messages: RayMessages) -> None:
    """Blocks until all trials have ended or the budget is over; then no trial runs any more.

    Args:
        job: the trials.
        room: where they run.
        budget_s: how long the search may take.
        board: hears of the trials.
        messages: keeps Tune's own texts.

    Raises:
        TrainingError: Tune itself failed, or did not come to an end.
        KeyboardInterrupt: the run was interrupted.
    """
    outlive_lost_trials()
    end = _End(time.monotonic() + budget_s)
    num_epochs = job.candidates[0].epochs
    rung = first_rung(num_epochs)
    with working_folder() as folder, _kept_log(messages):
        tuner = tune.Tuner(
            tune.with_resources(tune.with_parameters(_trial, job=ray.put(job)), _resources(room)),
            param_space={_NUMBER: tune.grid_search(list(range(1, len(job.candidates) + 1)))},
            tune_config=tune.TuneConfig(
                metric="valid_loss",
                mode="min",
                # The last epoch is no rung: a trial that comes so far has finished.
                scheduler=ASHAScheduler(
                    time_attr="epoch", max_t=num_epochs + 1, grace_period=rung, reduction_factor=REDUCTION
                ),
                max_concurrent_trials=room.num_places,
                reuse_actors=True,  # else each trial imports PyTorch anew
            ),
            run_config=tune.RunConfig(
                name="search",
                storage_path=str(folder),
                stop=end,
                callbacks=[_Listener(board)],
                verbose=0,
            ),
        )
        _fit(tuner, end)


def _fit(tuner: tune.Tuner, end: _End) -> None:
    failures: list[Exception] = []
    has_ended = threading.Event()  # a `join` that Ctrl-C interrupts takes its thread for ended

    def fit() -> None:
        try:
            tuner.fit()
        except Exception as error:  # noqa: BLE001 - the run's thread raises it
            failures.append(error)
        finally:
            has_ended.set()

    thread = threading.Thread(target=fit, name="search", daemon=True)
    try:
        thread.start()
        while not has_ended.wait(_POLL_S) and time.monotonic() < end.deadline_s + ENDING_S:
            pass
    except BaseException:  # Ctrl-C
        end.is_over = True
        if thread.ident is not None:  # it has begun
            has_ended.wait(ENDING_S)
        raise
    if not has_ended.is_set():
        raise TrainingError(
            f"the search did not end within {ENDING_S:.0f} s after its budget", remedy="see `divisions status`"
        )
    for failure in failures:
        raise TrainingError(
            f"the search ended: {type(failure).__name__}: {first_line(str(failure))}", remedy="run it again"
        ) from failure


def _resources(room: Room) -> tune.PlacementGroupFactory:
    allotment = room.allotment
    bundle: dict[str, float] = {"CPU": allotment.num_cpus}
    if allotment.num_gpus:
        bundle["GPU"] = allotment.num_gpus
    if allotment.memory_gb:
        bundle["memory"] = int(allotment.memory_gb * BYTES_PER_GB)
    if allotment.accelerator_type:
        bundle[f"accelerator_type:{allotment.accelerator_type}"] = 0.001
    selector = {"bundle_label_selector": [{NODE_LABEL: room.only_node}]} if room.only_node else {}
    return tune.PlacementGroupFactory([bundle], **selector)


def _trial(config: dict[str, Any], job: Any) -> None:
    """The function that each trial runs."""
    given: SearchJob = ray.get(job) if isinstance(job, ray.ObjectRef) else job
    lower_priority()
    os.umask(PRIVATE_UMASK)
    use_threads(given.num_threads)
    store = open_work_store(given.settings)
    with fetched_rows(given.rows, store, node_home(given.settings.home) / "training" / "rows") as data:
        hyperparams = given.candidates[config[_NUMBER] - 1]
        run_trial(given.schema, data, hyperparams, lambda news: tune.report(asdict(news)), torch.device(given.device))


class _End(tune.Stopper):  # type: ignore[misc]
    """When all trials have to stop. Tune copies it to its files, so it holds plain values only."""

    def __init__(self, deadline_s: float) -> None:
        self.deadline_s = deadline_s
        self.is_over = False

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        return False

    def stop_all(self) -> bool:
        return self.is_over or time.monotonic() >= self.deadline_s


class _Listener(tune.Callback):  # type: ignore[misc]
    """Passes on what Tune hears, from Tune's thread."""

    def __init__(self, board: Scoreboard) -> None:
        self._board = board

    def __getstate__(self) -> dict[str, Any]:
        return {}  # Tune writes its callbacks into its files. Nobody reads them again.

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        self._board.began(trial.config[_NUMBER])

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        news = Heard(result["epoch"], result["valid_loss"], result["valid_auc"], result["is_last"])
        self._board.heard(trial.config[_NUMBER], news)

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        self._board.ended(trial.config[_NUMBER])

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        self._board.failed(trial.config[_NUMBER], reason_of(trial))


def reason_of(trial: Any) -> str:
    """One line of what is known of a trial's failure."""
    error = error_of(trial)
    if error is None:
        return f"see {LOG}"
    cause = error.cause if isinstance(error, RayTaskError) else error
    if isinstance(cause, DivisionsError):
        return cause.message
    if isinstance(cause, TrialLostError):
        return death_of(cause.kind, str(cause)).what
    if isinstance(cause, RayError):
        return death_of(type(cause).__name__, str(cause)).what
    return f"{type(cause).__name__}: {first_line(str(cause))}"


@contextmanager
def _kept_log(messages: RayMessages) -> Iterator[None]:
    """Tune's log goes to the file of Ray's messages, not to the terminal: the listener tells what matters of it."""
    handler = _Kept(messages)
    loggers = [logging.getLogger(name) for name in ("ray.tune", "ray.train", "ray.air")]
    before = [each.propagate for each in loggers]
    for each in loggers:
        each.addHandler(handler)
        each.propagate = False
    try:
        yield
    finally:
        for each, propagates in zip(loggers, before, strict=True):
            each.removeHandler(handler)
            each.propagate = propagates


class _Kept(logging.Handler):
    def __init__(self, messages: RayMessages) -> None:
        super().__init__(logging.INFO)
        self._messages = messages

    def emit(self, record: logging.LogRecord) -> None:
        self._messages.keep(self.format(record))
