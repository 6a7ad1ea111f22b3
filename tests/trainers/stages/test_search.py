"""Whole runs in this process that search first: the winner is an ordinary version, the trials stay with the run."""

import json
from dataclasses import replace

import pytest

from divisions import cli
from divisions.errors import TrainingError
from divisions.pipeline.definition import BoostingHyperparams
from divisions.registry_runs import find_run, report_of
from divisions.trials import ARTIFACT, TrialEnd, best_of
from tests.trainers.churn import raw_frame
from tests.trainers.place import Place
from trainers.training import kinds
from trainers.training.compute import InProcess
from trainers.training.scoreboard import Heard

DAY = "2025-01-13"
OWN = BoostingHyperparams(epochs=8, learning_rate=0.2)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    place = Place(tmp_path_factory.mktemp("place"))
    place.write(DAY, raw_frame(600))
    return place


@pytest.fixture(scope="module")
def searched(place):
    """What a run with four trials has said, and its report."""
    outcome = place.run(DAY, hyperparams=OWN, trials=4)
    return place.progress, report_of(place.registry, find_run(place.registry, outcome.run_id)), outcome


def test_the_best_trial_is_trained_and_registered(place, searched):
    progress, report, outcome = searched
    assert progress.done[1:3] == ["Search, 4 trials", "Train"]
    (version,) = report.versions
    assert (version.version, version.validation_status) == (outcome.version, "passed")
    best = best_of(report.trials)
    assert report.run.tags["trials_best"] == str(best.number)
    assert report.run.tags["trials_ends"] == "4 finished"
    # The registered training is that of the winner: the same hyperparameters and, with the same seed, the same loss.
    assert {name: json.loads(report.run.params[name]) for name in best.params} == best.params
    assert (report.run.params["trials"], report.run.params["kind"]) == ("4", "gradient_boosting")
    assert min(report.curves["valid_loss"]) == pytest.approx(best.valid_loss, abs=1e-12)
    assert outcome.metrics["auc"] > 0.8


def test_each_trial_is_kept_with_what_it_tried(place, searched):
    _, report, _ = searched
    assert [trial.number for trial in report.trials] == [1, 2, 3, 4]
    assert report.trials[0].params["learning_rate"] == OWN.learning_rate
    assert len({json.dumps(trial.params) for trial in report.trials}) == 4
    assert all(trial.end is TrialEnd.FINISHED and trial.epochs == 8 for trial in report.trials)
    # MLflow shows the table, too.
    logged = json.loads(report.run.tags.get("mlflow.loggedArtifacts", "null")) or json.loads(
        place.registry._client.get_run(report.run.run_id).data.tags["mlflow.loggedArtifacts"]
    )
    assert logged == [{"path": ARTIFACT, "type": "table"}]


def test_the_run_shows_its_trials(place, searched, monkeypatch, capsys):
    _, report, _ = searched
    monkeypatch.setenv("DIVISIONS_HOME", str(place.settings.home))
    assert cli.execute(["runs", "show", report.run.run_id]) == 0
    lines = capsys.readouterr().out.splitlines()
    best = best_of(report.trials)
    assert f"Trials:      4: 4 finished; the best is trial {best.number}" in lines
    header = next(index for index, line in enumerate(lines) if line.startswith("TRIAL"))
    assert lines[header].split()[:6] == ["TRIAL", "VALID_LOSS", "VALID_AUC", "EPOCHS", "END", "learning_rate"]
    assert lines[header + 1].split()[:5] == [
        f"{best.number}*", f"{best.valid_loss:.4g}", f"{best.valid_auc:.4g}", "8", "finished",
    ]  # fmt: skip
    assert cli.execute(["runs", "show", report.run.run_id, "--output", "json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert [trial["number"] for trial in document["trials"]] == [1, 2, 3, 4]


def test_a_trial_that_fails_is_told_and_the_others_go_on(place, monkeypatch):
    real = kinds.train

    def fail_once(schema, data, hyperparams, *arguments, **options):
        if hyperparams == OWN:
            raise TrainingError("the loss is no longer finite in epoch 2", remedy="lower it")
        return real(schema, data, hyperparams, *arguments, **options)

    monkeypatch.setattr("trainers.training.kinds.train", fail_once)
    outcome = place.run(DAY, hyperparams=OWN, trials=3)
    (told,) = [line for line in place.progress.notices if "failed" in line]
    assert told.startswith("trial 1 of 3 failed: the loss is no longer finite in epoch 2; the others go on (it had ")
    report = report_of(place.registry, find_run(place.registry, outcome.run_id))
    assert report.trials[0].end is TrialEnd.FAILED
    best = best_of(report.trials)
    assert best.number in {2, 3}
    assert float(report.run.params["l2"]) == best.params["l2"]


def test_an_interrupt_registers_nothing_and_keeps_what_was_tried(place):
    before = place.registry.list_versions()

    class Interrupted(InProcess):
        def search(self, task, resources, board):
            board.began(1)
            board.heard(1, Heard(2, 0.4, 0.8, False))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        place.run(DAY, hyperparams=OWN, trials=2, compute=Interrupted())
    assert place.registry.list_versions() == before
    run = find_run(place.registry, "latest")
    assert run.status == "KILLED"
    trials = report_of(place.registry, run).trials
    assert [(trial.end, trial.valid_loss) for trial in trials] == [
        (TrialEnd.OUT_OF_TIME, 0.4), (TrialEnd.NOT_BEGUN, None),
    ]  # fmt: skip


def test_when_all_fail_one_line_says_so_and_nothing_is_registered(place, monkeypatch):
    before = place.registry.list_versions()

    def fail(*_arguments, **_options):
        raise TrainingError("the labels are odd", remedy="mend them")

    monkeypatch.setattr("trainers.training.kinds.train", fail)
    with pytest.raises(TrainingError, match="all 3 trials failed; the first of them: the labels are odd") as caught:
        place.run(DAY, hyperparams=OWN, trials=3)
    assert caught.value.remedy
    assert place.progress.failed == ["Search, 3 trials"]
    assert place.registry.list_versions() == before
    run = find_run(place.registry, "latest")
    report = report_of(place.registry, run)
    assert run.status == "FAILED"
    assert [trial.reason for trial in report.trials] == ["the labels are odd"] * 3


def test_the_budget_ends_a_search_and_the_best_of_those_that_were_tried_wins(place):
    """The clock stands still until the second trial tells of its first epoch."""
    seconds = iter([0.0, 0.0, *[1.0] * 8, 2.0, 99.0])
    outcome = place.run(DAY, hyperparams=OWN, trials=3, budget_s=50.0, compute=InProcess(lambda: next(seconds)))
    report = report_of(place.registry, find_run(place.registry, outcome.run_id))
    assert [trial.end for trial in report.trials] == [TrialEnd.FINISHED, TrialEnd.OUT_OF_TIME, TrialEnd.NOT_BEGUN]
    assert report.trials[1].epochs == 1
    assert report.run.tags["trials_ends"] == "1 finished, 1 out of time, 1 not begun"


def test_one_trial_is_a_plain_run(place):
    outcome = place.run(DAY, hyperparams=replace(OWN, seed=1), trials=1)
    assert not [name for name in place.progress.done if name.startswith("Search")]
    report = report_of(place.registry, find_run(place.registry, outcome.run_id))
    assert report.trials == ()
    assert "trials" not in report.run.params
    assert "trials" not in report.run.tags
