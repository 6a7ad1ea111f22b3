"""What ``divisions run`` advises at its end."""

from pathlib import Path

import pytest

from divisions import cli
from divisions.commands.default_pipeline import PIPELINE
from trainers import start
from trainers.run import RunOutcome

WATCH = "Watch its rollout with: divisions rollout watch churn-predictor"
START = "Roll it out with: divisions rollout start churn-predictor --version 3.2"


def advice(monkeypatch, capsys, rollout: str, pipeline: Path) -> list[str]:
    outcome = RunOutcome("r", "churn-predictor", "3.2", 2, "passed", {"auc": 0.9}, "b", "s", "d", rollout)
    monkeypatch.setattr(start, "start", lambda *_: outcome)
    assert cli.execute(("run", str(pipeline))) == 0
    first, *rest = capsys.readouterr().out.splitlines()
    assert first == "churn-predictor 3.2 passed, auc 0.9000"
    return rest


def test_who_interrupts_a_run_is_told_what_became_of_it(monkeypatch, capsys):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(start, "start", interrupted)
    assert cli.execute(("run", "p.yaml")) == 130
    assert capsys.readouterr().err.startswith("interrupted: the run has ended; `divisions runs list` shows it")


@pytest.mark.parametrize(
    ("rollout", "pipeline", "told"),
    [
        ("PENDING", PIPELINE, [WATCH]),
        ("PROMOTED", PIPELINE, []),
        ("", PIPELINE, [START]),
        ("", Path("my files/p.yaml"), [f"{START} --pipeline 'my files/p.yaml'"]),
    ],
)
def test_only_a_rollout_that_goes_on_is_to_be_watched(monkeypatch, capsys, rollout, pipeline, told):
    assert advice(monkeypatch, capsys, rollout, pipeline) == told
