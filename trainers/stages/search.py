"""Hyperparameters that are searched before the training: trials on its validation rows, never on the hold-out."""

from __future__ import annotations

from dataclasses import asdict, replace

from divisions.errors import RegistryError
from divisions.pipeline.definition import Pipeline
from divisions.progress import step
from divisions.registry_run import RegistryRun
from divisions.traces.steps import TrialSpans
from divisions.trials import ARTIFACT, TAG, TAG_BEST, TAG_ENDS, Trial, best_of, to_table, told_ends, told_params
from trainers.data.preparation import Prepared
from trainers.export.lineage import run_params
from trainers.stages.parts import Parts
from trainers.training.compute import SearchTask, TrainingTask
from trainers.training.scoreboard import Scoreboard, told_score, winner_of
from trainers.training.search_space import candidates
from trainers.training.training_rows import training_data


def start_params(pipeline: Pipeline) -> dict[str, object]:
    """The parameters that a run has from its start. Those that are searched come with the winner: MLflow keeps the
    first value of each."""
    params = run_params(pipeline)
    if pipeline.training.trials == 1:
        return params
    open_ones = asdict(pipeline.training.hyperparams)
    return {name: value for name, value in params.items() if name not in open_ones}


def search(parts: Parts, pipeline: Pipeline, prepared: Prepared, registry_run: RegistryRun) -> Pipeline:
    """The pipeline with the hyperparameters of the best trial. With one trial, as it is.

    Raises:
        TrainingError: no trial has a result.
    """
    training, seed = pipeline.training, pipeline.training.hyperparams.seed
    if training.trials == 1:
        return pipeline
    data = prepared.rows or training_data(prepared, seed)
    tried = candidates(training.hyperparams, training.trials)
    task = TrainingTask(pipeline.name, prepared.table.schema, data, training.hyperparams)
    with step(parts.progress, parts.clock, f"Search, {training.trials} trials") as current:
        board = Scoreboard(tried, parts.progress.notice, TrialSpans(parts.traces) if parts.traces else None)
        try:
            parts.compute.search(SearchTask(task, tried, training.budget_s), training.resources, board)
        finally:
            trials = board.close()
            _keep(parts, trials, registry_run)
        best = winner_of(trials, training.budget_s)
        current.detail = f"{told_ends(trials)}; trial {best.number} is the best: {told_score(best)}"
    parts.progress.notice(f"the best trial is trained: {told_params(best.params)}")
    found = replace(pipeline, training=replace(training, hyperparams=tried[best.number - 1]))
    registry_run.log_params(run_params(found))
    return found


def _keep(parts: Parts, trials: tuple[Trial, ...], registry_run: RegistryRun) -> None:
    """Keeps the table with the run, also of a search that failed. A registry that takes no files must not end it."""
    best = best_of(trials)
    tags = {TAG: str(len(trials)), TAG_ENDS: told_ends(trials)} | ({TAG_BEST: str(best.number)} if best else {})
    try:
        registry_run.log_texts({ARTIFACT: to_table(trials)})
        registry_run.set_tags({**tags, "mlflow.loggedArtifacts": f'[{{"path": "{ARTIFACT}", "type": "table"}}]'})
    except RegistryError as error:
        parts.progress.notice(f"the registry does not keep the table of trials: {error.message}")
