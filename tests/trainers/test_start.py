"""The start of a run: what is told before anything heavy happens."""

import sys

import pytest

from divisions.errors import NotRunningError, UsageError
from divisions.settings import Settings
from tests.trainers.place import RecordingProgress
from trainers.start import StartOptions, start

OURS = f"{sys.version_info[0]}.{sys.version_info[1]}"


def notices(tmp_path, trigger="", prep="", training=""):
    file = tmp_path / "churn.yaml"
    stages = f"  data_prep:\n    input: data\n{prep}  deployment:\n    endpoint: /api/v2/predict/churn\n{training}"
    file.write_text(f"pipeline: churn\n{trigger}stages:\n{stages}")
    progress = RecordingProgress()
    with pytest.raises(NotRunningError):
        start(StartOptions(file), Settings(home=tmp_path / "home"), progress)
    return progress.notices


@pytest.mark.parametrize(("trigger", "told"), [('trigger: "schedule: 0 2 * * *"\n', 1), ("", 0)])
def test_a_trigger_that_nothing_obeys_is_told(tmp_path, trigger, told):
    found = [one for one in notices(tmp_path, trigger) if "'schedule: 0 2 * * *' starts no runs" in one]
    assert len(found) == told


def test_a_stage_that_asks_for_another_python_is_told(tmp_path):
    other = "    runtime: python:3.99-cpu\n"
    ours = f"    runtime: python:{OURS}-cpu\n"
    assert notices(tmp_path) == notices(tmp_path, prep=ours, training=f"  training:\n{ours}") == []
    assert notices(tmp_path, prep=other) == [
        f"data_prep asks for Python 3.99; it runs with {OURS}, as everything of this installation"
    ]
    (both,) = notices(tmp_path, prep=other, training=f"  training:\n{other}")
    assert both.startswith("data_prep asks for Python 3.99, training asks for Python 3.99; ")


@pytest.mark.parametrize(
    "options", [{"trials": 0}, {"trials": 1_001}, {"budget": "5m"}, {"trials": 3, "budget": "soon"}]
)
def test_trials_that_cannot_be_are_refused_before_anything_happens(tmp_path, options):
    file = tmp_path / "churn.yaml"
    file.write_text(
        "pipeline: churn\nstages:\n  data_prep: {input: data}\n  deployment: {endpoint: /api/v2/predict/churn}\n"
    )
    with pytest.raises(UsageError):
        start(StartOptions(file, **options), Settings(home=tmp_path / "home"), RecordingProgress())
    assert not (tmp_path / "home").exists()
